// 32-byte sectors of global memory that a warp instruction touches, against the fewest that hold as many different bytes.
#pragma once
#include "../machine/machine.h"
#include "sites.h"

namespace emulator {

class Sectors : public Observer {
 public:
  explicit Sectors(Sites& total) : total_(total) {}
  ~Sectors() override { total_.add(sites_); }
  void access(const Access&) override;
  static SiteCount count(const Access&);

 private:
  Sites& total_;
  SiteMap sites_;
};

}  // namespace emulator
