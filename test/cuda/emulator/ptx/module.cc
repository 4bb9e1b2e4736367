// Module::load: parse, decode every kernel, lay out variables.
#include "module.h"

#include <cstring>
#include <unordered_map>

#include "../machine/decode.h"
#include "syntax.h"

namespace emulator {
namespace {

class LoadedModule final : public Module {
 public:
  explicit LoadedModule(std::string_view ptx) : text_(ptx.substr(0, ptx.find('\0'))), parsed_(parse(text_)) {
    for (const auto& v : parsed_.variables) {
      if (v.space == "shared") continue;
      auto initial = v.initial;
      initial.resize(v.bytes);
      variables_.push_back({std::string(v.name), v.bytes, v.alignment, v.space == "const", std::move(initial)});
    }
    for (const auto& f : parsed_.functions) {
      if (!f.is_entry || !f.has_body) continue;
      kernels_[std::string(f.name)] = Decoder(parsed_, text_).decode(f);
      names_.push_back(std::string(f.name));
    }
  }
  const Kernel* find(std::string_view name) const override {
    const auto found = kernels_.find(std::string(name));
    return found == kernels_.end() ? nullptr : found->second.get();
  }
  std::vector<std::string> names() const override { return names_; }
  const KernelShape& shape(const Kernel& kernel) const override { return kernel.shape; }
  std::vector<Variable>& variables() override { return variables_; }

  // Every constant and every initial value that is the variable's address.
  void place(std::string_view variable, uint64_t address) override {
    for (auto& [name, kernel] : kernels_) {
      for (const auto& r : kernel->relocations) {
        if (r.variable != variable) continue;
        const uint64_t value = address + static_cast<uint64_t>(r.addend);
        for (int l = 0; l < kLanes; l++) std::memcpy(kernel->constant_base + r.offset + 8 * l, &value, 8);
      }
    }
    size_t n = 0;
    for (const auto& v : parsed_.variables) {
      if (v.space == "shared") continue;
      for (const auto& p : v.pointers) {
        if (p.name != variable) continue;
        const uint64_t value = address + static_cast<uint64_t>(p.addend);
        std::memcpy(variables_[n].initial.data() + p.at, &value, 8);
      }
      n++;
    }
  }

 private:
  std::string text_;
  ParsedModule parsed_;
  std::unordered_map<std::string, std::unique_ptr<Kernel>> kernels_;
  std::vector<std::string> names_;
  std::vector<Variable> variables_;
};

}  // namespace

std::unique_ptr<Module> Module::load(std::string_view ptx) { return std::make_unique<LoadedModule>(ptx); }

}  // namespace emulator
