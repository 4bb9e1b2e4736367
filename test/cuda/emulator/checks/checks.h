// The checks of a device, chosen by options: observers for its launches, and what they counted.
#pragma once
#include <functional>
#include <memory>

#include "../machine/machine.h"
#include "initialised.h"
#include "sites.h"

namespace emulator {

struct CheckOptions {
  bool races = false;         // between threads of a block and between blocks of a launch
  bool initialised = false;   // bytes read that nobody wrote
  bool banks = false;         // count passes of shared memory
  bool sectors = false;       // count sectors of global memory
  FindWritten written;        // for `initialised` of global memory
};

// Must outlive the launches that use it. Safe to use from several threads.
class Checks {
 public:
  explicit Checks(CheckOptions options) : options_(std::move(options)) {}
  // For Options::observe of one launch (a new one for each: blocks of different launches do not race); empty when nothing is to be checked.
  std::function<std::unique_ptr<Observer>()> launch();
  // Counts since the last call.
  SiteMap take_banks() { return banks_.take(); }
  SiteMap take_sectors() { return sectors_.take(); }

 private:
  CheckOptions options_;
  Sites banks_, sectors_;
};

}  // namespace emulator
