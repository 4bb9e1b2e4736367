// What nvcc's host objects register: fat binaries, kernels by the address of their host stub, variables by that of their shadow. PTX is loaded when the
// first kernel of it is launched on a device.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "../machine/machine.h"
#include "config.h"
#include "memory.h"

namespace emulator::runtime {

struct Binary {
  const void* wrapper;
  std::map<int, std::shared_ptr<Module>> loaded;   // by device where it has variables, else by -capability: nothing in it is a device's
};

struct Function {
  Binary* binary;
  std::string name;
  std::map<int, int> dynamic_shared;   // that a device was asked to allow
};

struct HostVariable {
  Binary* binary;
  std::string name;
  uint64_t bytes;
  bool constant;
};

struct PlacedVariable {
  uint64_t address;
  uint64_t bytes;
};

class Modules {
 public:
  Binary* add(const void* wrapper);
  void remove(Binary* binary);
  void add_function(Binary* binary, const void* stub, const std::string& name) { functions_[stub] = {binary, name, {}}; }
  void add_variable(Binary* binary, const void* shadow, const std::string& name, uint64_t bytes, bool constant) { variables_[shadow] = {binary, name, bytes, constant}; }

  Function* function(const void* stub);
  const HostVariable* variable(const void* shadow) const;

  // Throws Fault when the fat binary holds nothing for the device or the PTX cannot be read.
  std::shared_ptr<Module> load(Binary& binary, int device, const DeviceConfig& config, Memory& memory, std::vector<PlantedText>& texts);
  PlacedVariable place_of(const Binary& binary, int device, const std::string& name) const;
  // Modules are loaded anew at the next launch: other faults may be planted in their text.
  void unload(Memory& memory);

 private:
  std::map<const void*, Function> functions_;
  std::map<const void*, HostVariable> variables_;
  std::vector<std::unique_ptr<Binary>> binaries_;
  std::map<std::pair<const Binary*, int>, std::map<std::string, PlacedVariable>> placed_;
};

}  // namespace emulator::runtime
