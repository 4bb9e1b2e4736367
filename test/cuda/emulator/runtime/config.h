// What can be set: the machine that is emulated, the order in which its queues go, the checks, and planted faults. control.h says the JSON.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "json.h"

namespace emulator::runtime {

// How far what runs is behind what was asked for.
//   prompt  every op as soon as its stream and its events let it: the order of issue
//   lazy    nothing before a host wait (or a full queue) needs it, and then only what it needs
//   eager   some streams (drawn from the seed) as `prompt`, the others as `lazy`
//   random  after every call some ops of streams drawn at random; at a wait, whatever is ready until the wait is over
enum class Policy { prompt, lazy, eager, random };

struct DeviceConfig {
  std::string name = "Emulated GPU";
  int major = 8, minor = 0;
  uint64_t memory = uint64_t{2} << 30;
  int multiprocessors = 8;
  int shared_per_block = 48 << 10;
  int shared_per_block_optin = 163 << 10;
  int shared_per_multiprocessor = 164 << 10;
  bool peer = true;   // other devices may be given access
};

struct CheckSettings {
  bool order = true;          // ops on different streams that touch the same bytes with no order between them
  bool race = false;          // threads of a block (checks/race.h)
  bool banks = false;         // shared-memory bank conflicts are counted
  bool sectors = false;       // 32-byte sectors of global memory are counted
  bool initialised = false;   // reads of bytes nobody wrote
};

struct Config {
  uint64_t seed = 0;
  bool policy_chosen = false;   // else by the seed: 0 prompt, then lazy, eager, random in turn
  Policy policy = Policy::prompt;
  CheckSettings checks;
  int resident_blocks = 1;      // of one kernel, under way at a time
  uint64_t most_instructions = 0;   // of a block: see Options
  int driver = 13000;           // 0: no driver is installed
  std::vector<DeviceConfig> devices{1};

  Policy effective_policy() const { return policy_chosen ? policy : seed == 0 ? Policy::prompt : seed % 3 == 1 ? Policy::lazy : seed % 3 == 2 ? Policy::eager : Policy::random; }
};

// A fault planted in the host's calls: the nth (from 1) call of `call` does not do what it should.
struct PlantedCall {
  std::string call;
  uint64_t nth = 1;
  std::string what;   // drop, shorten, swap, late, fail
  uint64_t seen = 0;
  bool used = false;
};
// A change of a module's text when it is loaded: in kernels whose name matches, the nth match of `find` becomes `replace` (a format of std::regex_replace);
// or, where there is a `module`, that takes the place of the whole text of a module that has such a kernel.
struct PlantedText {
  std::string kernel, find, replace, module;
  uint64_t nth = 1;
  uint64_t applied = 0;
};

// Changes what `json` names and leaves the rest. Throws std::runtime_error naming what is not known.
void read_config(Config& config, const Json& json);
void read_plant(const Json& json, std::vector<PlantedCall>& calls, std::vector<PlantedText>& texts);

// Applies the planted changes to a module's PTX.
std::string edit(std::string ptx, std::vector<PlantedText>& texts);

}  // namespace emulator::runtime
