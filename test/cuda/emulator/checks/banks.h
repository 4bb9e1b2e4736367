// Passes that an access to shared memory takes. 32 banks of 4 bytes, word w in bank w % 32; a pass reads one word of each bank, for any number of
// lanes. Lanes of 8 bytes go in two halves of the warp, lanes of 16 bytes (and the row addresses of ldmatrix, 8 rows a matrix) in four quarters.
#pragma once
#include "../machine/machine.h"
#include "sites.h"

namespace emulator {

class Banks : public Observer {
 public:
  explicit Banks(Sites& total) : total_(total) {}
  ~Banks() override { total_.add(kernel_, sites_); }
  void begin_block(const KernelShape& kernel, uint64_t, uint32_t, uint32_t) override { kernel_ = kernel.name; }
  void access(const Access&) override;
  // Passes of one access, and the fewest that any placing of its lanes takes.
  static SiteCount count(const Access&);

 private:
  Sites& total_;
  std::string kernel_;  // of the launch
  LineMap sites_;
};

}  // namespace emulator
