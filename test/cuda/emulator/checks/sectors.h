// 32-byte sectors of global memory that a warp instruction touches, against the fewest that hold as many different bytes.
#pragma once
#include "../machine/machine.h"
#include "sites.h"

namespace emulator {

class Sectors : public Observer {
 public:
  explicit Sectors(Sites& total) : total_(total) {}
  ~Sectors() override { total_.add(kernel_, sites_); }
  void begin_block(const KernelShape& kernel, uint64_t, uint32_t, uint32_t) override { kernel_ = kernel.name; }
  void access(const Access&) override;
  static SiteCount count(const Access&);

 private:
  Sites& total_;
  std::string kernel_;  // of the launch
  LineMap sites_;
};

}  // namespace emulator
