#include "modules.h"

#include <algorithm>
#include <cstring>

#include "fatbinary.h"

namespace emulator::runtime {

Binary* Modules::add(const void* wrapper) {
  binaries_.push_back(std::make_unique<Binary>(Binary{wrapper, {}}));
  return binaries_.back().get();
}

void Modules::remove(Binary* binary) {
  std::erase_if(functions_, [&](const auto& entry) { return entry.second.binary == binary; });
  std::erase_if(variables_, [&](const auto& entry) { return entry.second.binary == binary; });
  std::erase_if(placed_, [&](const auto& entry) { return entry.first.first == binary; });
  std::erase_if(binaries_, [&](const auto& entry) { return entry.get() == binary; });
}

Function* Modules::function(const void* stub) {
  const auto at = functions_.find(stub);
  return at == functions_.end() ? nullptr : &at->second;
}

const HostVariable* Modules::variable(const void* shadow) const {
  const auto at = variables_.find(shadow);
  return at == variables_.end() ? nullptr : &at->second;
}

std::shared_ptr<Module> Modules::load(Binary& binary, int device, const DeviceConfig& config, Memory& memory, std::vector<PlantedText>& texts) {
  const int capability = 10 * config.major + config.minor;
  for (const int key : {device, -capability}) {
    if (const auto at = binary.loaded.find(key); at != binary.loaded.end()) return at->second;
  }
  std::shared_ptr<Module> module = Module::load(edit(embedded_ptx(binary.wrapper, capability), texts));
  for (const Module::Variable& variable : module->variables()) {
    const Allocation* allocation = memory.allocate_device(device, std::max<uint64_t>(variable.bytes, 1), false);
    if (!allocation) throw Fault("launch", "no device memory for the variable " + variable.name);
    std::memset(allocation->region.backing, 0, variable.bytes);   // CUDA's variables begin as zero where they are not initialised
    std::memcpy(allocation->region.backing, variable.initial.data(), std::min<size_t>(variable.initial.size(), variable.bytes));
    module->place(variable.name, allocation->region.address);
    placed_[{&binary, device}][variable.name] = {allocation->region.address, variable.bytes};
  }
  binary.loaded[module->variables().empty() ? -capability : device] = module;
  return module;
}

PlacedVariable Modules::place_of(const Binary& binary, int device, const std::string& name) const {
  const auto at = placed_.find({&binary, device});
  if (at == placed_.end()) return {};
  const auto variable = at->second.find(name);
  return variable == at->second.end() ? PlacedVariable{} : variable->second;
}

void Modules::unload(Memory& memory) {
  for (const auto& [where, variables] : placed_) {
    for (const auto& [name, place] : variables) memory.release(place.address);
  }
  placed_.clear();
  for (const auto& binary : binaries_) binary->loaded.clear();
}

}  // namespace emulator::runtime
