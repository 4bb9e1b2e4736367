#include "control.h"

#include <cstdio>
#include <cstdlib>

#include "runtime.h"

namespace emulator {
namespace runtime {
namespace {

Json list(const std::vector<std::string>& lines) {
  Json json = Json::make_array();
  for (const std::string& line : lines) json.array.emplace_back(line);
  return json;
}
Json counts(const std::map<std::string, uint64_t>& counted) {
  Json json = Json::make_object();
  for (const auto& [name, count] : counted) json[name] = count;
  return json;
}
Json sites(const SiteMap& map) {
  Json json = Json::make_array();
  for (const auto& [site, count] : map) {
    Json row = Json::make_object();
    row["kernel"] = site.kernel;
    row["line"] = site.line;
    row["instructions"] = count.instructions;
    row["taken"] = count.taken;
    row["fewest"] = count.fewest;
    row["asynchronous"] = count.asynchronous;
    json.array.push_back(row);
  }
  return json;
}

Json report(Runtime& runtime, Lock& lock) {
  uint64_t pending = 0;
  for (const auto& stream : runtime.scheduler.streams()) pending += stream->queue.size();
  runtime.scheduler.run_all(lock);   // a GPU would do it, too, asked or not
  runtime.take_counts();
  Json json = Json::make_object();
  json["faults"] = list(runtime.faults);
  json["unordered"] = list(runtime.unordered);
  json["notes"] = list(runtime.notes);
  json["calls"] = counts(runtime.calls);
  json["launches"] = counts(runtime.launches);
  json["devices"] = Json::make_array();
  for (size_t i = 0; i < runtime.devices.size(); ++i) {
    Json device = Json::make_object();
    device["used"] = runtime.memory.used(static_cast<int>(i));
    device["peak"] = runtime.memory.peak(static_cast<int>(i));
    device["total"] = runtime.memory.total(static_cast<int>(i));
    json["devices"].array.push_back(device);
  }
  json["pinned"] = runtime.memory.pinned();
  json["pinned_peak"] = runtime.memory.pinned_peak();
  json["default_stream_ops"] = runtime.default_stream_ops;
  json["pageable_copies"] = runtime.pageable_copies;
  json["timed_waits"] = runtime.timed_waits;
  json["banks"] = sites(runtime.banks);
  json["sectors"] = sites(runtime.sectors);
  json["plants"] = Json::make_array();
  for (const PlantedCall& planted : runtime.planted_calls) {
    Json row = Json::make_object();
    row["call"] = planted.call;
    row["nth"] = planted.nth;
    row["what"] = planted.what;
    row["used"] = planted.used;
    json["plants"].array.push_back(row);
  }
  for (const PlantedText& planted : runtime.planted_texts) {
    Json row = Json::make_object();
    row["ptx"] = planted.kernel;
    row["find"] = planted.find;
    row["replace"] = planted.replace;
    row["nth"] = planted.nth;
    row["applied"] = planted.applied;
    json["plants"].array.push_back(row);
  }
  uint64_t live = 0;
  for (const auto& stream : runtime.scheduler.streams()) live += stream->live;
  json["streams"] = live;
  json["pending"] = pending;
  json["seed"] = runtime.config.seed;
  const Policy policy = runtime.config.effective_policy();
  json["policy"] = policy == Policy::prompt ? "prompt" : policy == Policy::lazy ? "lazy" : policy == Policy::eager ? "eager" : "random";
  return json;
}

void configure_and_plant(Runtime& runtime, const Json& json) {
  if (const Json* settings = json.find("configure")) {
    Config next = runtime.config;
    read_config(next, *settings);
    runtime.configure(next);
  }
  if (const Json* plants = json.find("plant")) {
    const size_t texts = runtime.planted_texts.size();
    for (const Json& plant : plants->array) read_plant(plant, runtime.planted_calls, runtime.planted_texts);
    if (runtime.planted_texts.size() != texts) runtime.modules.unload(runtime.memory);
  }
  for (const auto& [name, value] : json.object) {
    if (name != "configure" && name != "plant" && name != "report" && name != "reset") throw std::runtime_error("emulator: control has no command " + name);
  }
}

std::string& report_file() {
  static auto* file = new std::string;
  return *file;
}

}  // namespace

void configure_from_environment(Runtime& runtime, const std::string& text) {
  try {
    const Json json = Json::read(text);
    configure_and_plant(runtime, json);
    if (const Json* file = json.find("report")) {
      report_file() = file->as_string("report");
      std::atexit([] {
        Lock lock(Runtime::get().mutex);
        if (std::FILE* out = std::fopen(report_file().c_str(), "w")) {
          std::fputs(report(Runtime::get(), lock).write().c_str(), out);
          std::fclose(out);
        }
      });
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "emulator: FPDT_EMULATOR: %s\n", error.what());
    std::_Exit(2);
  }
}

}  // namespace runtime

std::string control(const std::string& text) {
  using namespace runtime;
  const Json json = Json::read(text);
  Runtime& state = Runtime::get();
  Lock lock(state.mutex);
  if (const Json* reset = json.find("reset"); reset && reset->as_boolean("reset")) state.reset(lock);
  if (json.find("plant")) state.scheduler.wait(lock, state.scheduler.tails(-1));   // modules may be unloaded
  configure_and_plant(state, json);
  if (const Json* wanted = json.find("report"); wanted && wanted->as_boolean("report")) return report(state, lock).write();
  return "{}";
}

}  // namespace emulator
