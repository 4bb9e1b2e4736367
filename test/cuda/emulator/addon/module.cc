// emulator.node: load PTX and launch its kernels on the memory of typed arrays, and control the stand-in runtime that lies in the same library.
// Everything typed is in ../index.ts; here numbers and bytes go across.
#include <napi.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "../checks/checks.h"
#include "../machine/machine.h"
#include "../runtime/control.h"

namespace emulator {
namespace {

// A fault of the device becomes an Error with `kind`; all else has kind "error".
template <class F>
auto guarded(Napi::Env env, F&& f) {
  const auto failed = [&](const std::string& kind, const char* message) {
    Napi::Error error = Napi::Error::New(env, message);
    error.Set("kind", Napi::String::New(env, kind));
    return error;
  };
  try {
    return f();
  } catch (const Fault& fault) {
    throw failed(fault.kind, fault.what());
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::exception& error) {
    throw failed("error", error.what());
  }
}

std::span<std::byte> bytes(const Napi::Value& value) {
  if (!value.IsTypedArray()) throw std::invalid_argument("memory must be a typed array");
  const auto array = value.As<Napi::TypedArray>();
  return {static_cast<std::byte*>(array.ArrayBuffer().Data()) + array.ByteOffset(), array.ByteLength()};
}

uint64_t address(const Napi::Value& value) {
  bool lossless = false;
  const uint64_t result = value.As<Napi::BigInt>().Uint64Value(&lossless);
  if (!lossless) throw std::invalid_argument("an address is a bigint of 64 bits");
  return result;
}

Dim3 dim3(const Napi::Value& value) {
  const auto array = value.As<Napi::Array>();
  const auto at = [&](uint32_t i) { return array.Get(i).As<Napi::Number>().Uint32Value(); };
  return {at(0), at(1), at(2)};
}

// Few regions that do not overlap: ordered by address.
class Regions : public AddressSpace {
 public:
  void add(const Region& region) {
    regions_.insert(std::upper_bound(regions_.begin(), regions_.end(), region, [](const Region& a, const Region& b) { return a.address < b.address; }), region);
  }
  const Region* find(uint64_t address) const override {
    auto after = std::upper_bound(regions_.begin(), regions_.end(), address, [](uint64_t a, const Region& b) { return a < b.address; });
    if (after == regions_.begin()) return nullptr;
    const Region& region = *--after;
    return address - region.address < region.bytes ? &region : nullptr;
  }

 private:
  std::vector<Region> regions_;
};

// A module, and memory for its variables: at addresses of their own, far above those that index.ts gives to typed arrays.
class ModuleObject : public Napi::ObjectWrap<ModuleObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Module", {InstanceMethod<&ModuleObject::kernels>("kernels"), InstanceMethod<&ModuleObject::launch>("launch")});
  }

  explicit ModuleObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ModuleObject>(info) {
    guarded(info.Env(), [&] {
      module_ = Module::load(info[0].As<Napi::String>().Utf8Value());
      uint64_t next = uint64_t{1} << 44;
      for (const Module::Variable& variable : module_->variables()) {
        variables_.emplace_back(variable.bytes);
        std::copy_n(variable.initial.begin(), std::min<size_t>(variable.initial.size(), variable.bytes), variables_.back().begin());
        regions_.add({next, variable.bytes, variables_.back().data(), !variable.constant});
        module_->place(variable.name, next);
        next += (variable.bytes + 0xfffff) & ~uint64_t{0xfffff};
      }
    });
  }

 private:
  Napi::Value kernels(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    return guarded(env, [&]() -> Napi::Value {
      Napi::Array rows = Napi::Array::New(env);
      for (const std::string& name : module_->names()) {
        const Kernel* kernel = module_->find(name);
        if (!kernel) continue;
        const KernelShape& shape = module_->shape(*kernel);
        Napi::Object row = Napi::Object::New(env);
        const auto numbers = [&](const std::vector<uint32_t>& values) {
          Napi::Array array = Napi::Array::New(env, values.size());
          for (uint32_t i = 0; i < values.size(); ++i) array[i] = Napi::Number::New(env, values[i]);
          return array;
        };
        row.Set("name", name);
        row.Set("offsets", numbers(shape.offsets));
        row.Set("sizes", numbers(shape.sizes));
        row.Set("parameterBytes", static_cast<double>(shape.parameter_bytes));
        row.Set("staticSharedBytes", static_cast<double>(shape.static_shared_bytes));
        row.Set("mostThreads", static_cast<double>(shape.most_threads));
        rows[rows.Length()] = row;
      }
      return rows;
    });
  }

  // ({kernel, grid, block, shared, parameters, regions: {address, memory, writable, written}[], seed, residentBlocks, mostInstructions, races, ...})
  Napi::Value launch(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    return guarded(env, [&]() -> Napi::Value {
      const auto request = info[0].As<Napi::Object>();
      const auto number = [&](const char* name) { return request.Get(name).As<Napi::Number>().DoubleValue(); };
      const auto flag = [&](const char* name) { return request.Get(name).ToBoolean().Value(); };

      const std::string name = request.Get("kernel").As<Napi::String>().Utf8Value();
      const Kernel* kernel = module_->find(name);
      if (!kernel) throw std::invalid_argument("the module has no kernel " + name);

      Regions memory = regions_;
      struct Allocation {
        uint64_t begin, bytes;
        std::shared_ptr<WrittenBytes> written;
      };
      std::vector<Allocation> allocations;
      const auto list = request.Get("regions").As<Napi::Array>();
      for (uint32_t i = 0; i < list.Length(); ++i) {
        const auto item = list.Get(i).As<Napi::Object>();
        const std::span<std::byte> backing = bytes(item.Get("memory"));
        const uint64_t begin = address(item.Get("address"));
        memory.add({begin, backing.size(), backing.data(), item.Get("writable").ToBoolean().Value()});
        allocations.push_back({begin, backing.size(), std::make_shared<WrittenBytes>(backing.size())});
        if (item.Get("written").ToBoolean().Value()) allocations.back().written->mark(0, backing.size());
      }

      const Napi::Value chosen = request.Get("parameters");
      const std::span<const std::byte> parameters = bytes(chosen);
      const LaunchConfig config{dim3(request.Get("grid")), dim3(request.Get("block")), static_cast<uint32_t>(number("shared"))};
      Checks checks({.races = flag("races"), .initialised = flag("initialised"), .banks = flag("banks"), .sectors = flag("sectors"), .written = [&](uint64_t at) -> Written {
                       for (const Allocation& a : allocations) {
                         if (at - a.begin < a.bytes) return {a.written.get(), a.begin};
                       }
                       return {};
                     }});
      Options options;
      options.seed = static_cast<uint64_t>(number("seed"));
      options.resident_blocks = static_cast<int>(number("residentBlocks"));
      options.most_instructions = static_cast<uint64_t>(number("mostInstructions"));
      options.observe = checks.launch();
      emulator::launch(*module_, *kernel, config, parameters, memory, options);

      Napi::Object report = Napi::Object::New(env);
      report.Set("banks", counts(env, checks.take_banks()));
      report.Set("sectors", counts(env, checks.take_sectors()));
      return report;
    });
  }

  static Napi::Array counts(Napi::Env env, const SiteMap& sites) {
    Napi::Array rows = Napi::Array::New(env);
    for (const auto& [site, count] : sites) {
      Napi::Object row = Napi::Object::New(env);
      row.Set("kernel", site.kernel);
      row.Set("line", static_cast<double>(site.line));
      row.Set("instructions", static_cast<double>(count.instructions));
      row.Set("taken", static_cast<double>(count.taken));
      row.Set("fewest", static_cast<double>(count.fewest));
      rows[rows.Length()] = row;
    }
    return rows;
  }

  std::unique_ptr<Module> module_;
  std::vector<std::vector<std::byte>> variables_;
  Regions regions_;
};

Napi::Value control_text(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value { return Napi::String::New(info.Env(), control(info[0].As<Napi::String>().Utf8Value())); });
}

Napi::Object define(Napi::Env env, Napi::Object exports) {
  exports.Set("Module", ModuleObject::define(env));
  exports.Set("control", Napi::Function::New<control_text>(env));
  return exports;
}

NODE_API_MODULE(emulator, define)

}  // namespace
}  // namespace emulator
