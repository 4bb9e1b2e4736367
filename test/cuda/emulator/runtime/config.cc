#include "config.h"

#include <regex>
#include <stdexcept>

namespace emulator::runtime {
namespace {

[[noreturn]] void unknown(const std::string& what, const std::string& name) { throw std::runtime_error("emulator: there is no " + what + " " + name); }

template <class Set>
void each_member(const Json& json, const std::string& what, Set set) {
  if (json.kind != Json::Kind::object) throw std::runtime_error("emulator: " + what + " must be an object");
  for (const auto& [name, value] : json.object) {
    if (!set(name, value)) unknown("member of " + what, name);
  }
}

DeviceConfig read_device(const Json& json) {
  DeviceConfig device;
  each_member(json, "devices", [&](const std::string& name, const Json& value) {
    if (name == "name") device.name = value.as_string(name);
    else if (name == "major") device.major = static_cast<int>(value.as_number(name));
    else if (name == "minor") device.minor = static_cast<int>(value.as_number(name));
    else if (name == "memory") device.memory = static_cast<uint64_t>(value.as_number(name));
    else if (name == "multiprocessors") device.multiprocessors = static_cast<int>(value.as_number(name));
    else if (name == "shared_per_block") device.shared_per_block = static_cast<int>(value.as_number(name));
    else if (name == "shared_per_block_optin") device.shared_per_block_optin = static_cast<int>(value.as_number(name));
    else if (name == "shared_per_multiprocessor") device.shared_per_multiprocessor = static_cast<int>(value.as_number(name));
    else if (name == "peer") device.peer = value.as_boolean(name);
    else return false;
    return true;
  });
  return device;
}

Policy read_policy(const std::string& name) {
  if (name == "prompt") return Policy::prompt;
  if (name == "lazy") return Policy::lazy;
  if (name == "eager") return Policy::eager;
  if (name == "random") return Policy::random;
  unknown("policy", name);
}

CheckSettings read_checks(const Json& json) {
  CheckSettings checks{.order = false};
  if (json.kind != Json::Kind::array) throw std::runtime_error("emulator: checks must be an array of names");
  for (const Json& entry : json.array) {
    const std::string& name = entry.as_string("checks");
    if (name == "order") checks.order = true;
    else if (name == "race") checks.race = true;
    else if (name == "banks") checks.banks = true;
    else if (name == "sectors") checks.sectors = true;
    else if (name == "initialised") checks.initialised = true;
    else unknown("check", name);
  }
  return checks;
}

// [begin, end) of the body of the entry that a directive names, in PTX text.
struct Body {
  std::string name;
  size_t begin, end;
};

std::vector<Body> bodies(const std::string& ptx) {
  static const std::regex entry(R"(\.(?:entry|func)\s+(?:\([^)]*\)\s*)?([\w$]+))");
  std::vector<Body> found;
  for (auto at = std::sregex_iterator(ptx.begin(), ptx.end(), entry); at != std::sregex_iterator(); ++at) {
    const size_t begin = ptx.find_first_of("{;", static_cast<size_t>(at->position()));
    if (begin == std::string::npos || ptx[begin] == ';') continue;   // a declaration
    int depth = 0;
    size_t end = begin;
    do {
      if (ptx[end] == '{') ++depth;
      if (ptx[end] == '}') --depth;
      ++end;
    } while (depth > 0 && end < ptx.size());
    found.push_back({(*at)[1], begin, end});
  }
  return found;
}

// nvcc makes a name of its own for the anonymous namespace of a file, from the file's path and text.
std::string with_names_of(const std::string& shipped, const std::string& text) {
  static const std::regex own(R"(_(?:GLOBAL__N|INTERNAL)__[0-9a-f]{8}_[0-9]+_\w+?_cu_[0-9a-f]{8})");
  std::smatch name;
  return std::regex_search(shipped, name, own) ? std::regex_replace(text, own, name.str()) : text;
}

}  // namespace

void read_config(Config& config, const Json& json) {
  each_member(json, "configure", [&](const std::string& name, const Json& value) {
    if (name == "seed") config.seed = static_cast<uint64_t>(value.as_number(name));
    else if (name == "policy") {
      config.policy_chosen = value.kind != Json::Kind::null;
      if (config.policy_chosen) config.policy = read_policy(value.as_string(name));
    } else if (name == "checks") config.checks = read_checks(value);
    else if (name == "resident_blocks") config.resident_blocks = static_cast<int>(value.as_number(name));
    else if (name == "most_instructions") config.most_instructions = static_cast<uint64_t>(value.as_number(name));
    else if (name == "driver") config.driver = static_cast<int>(value.as_number(name));
    else if (name == "devices") {
      config.devices.clear();
      if (value.kind == Json::Kind::number) config.devices.resize(static_cast<size_t>(value.number));
      for (const Json& device : value.array) config.devices.push_back(read_device(device));
    } else return false;
    return true;
  });
}

void read_plant(const Json& json, std::vector<PlantedCall>& calls, std::vector<PlantedText>& texts) {
  if (json.find("ptx")) {
    PlantedText text;
    each_member(json, "plant", [&](const std::string& name, const Json& value) {
      if (name == "ptx") text.kernel = value.as_string(name);
      else if (name == "find") text.find = value.as_string(name);
      else if (name == "replace") text.replace = value.as_string(name);
      else if (name == "nth") text.nth = static_cast<uint64_t>(value.as_number(name));
      else if (name == "module") text.module = value.as_string(name);
      else return false;
      return true;
    });
    texts.push_back(text);
    return;
  }
  PlantedCall call;
  each_member(json, "plant", [&](const std::string& name, const Json& value) {
    if (name == "call") call.call = value.as_string(name);
    else if (name == "nth") call.nth = static_cast<uint64_t>(value.as_number(name));
    else if (name == "what") call.what = value.as_string(name);
    else return false;
    return true;
  });
  if (call.what != "drop" && call.what != "shorten" && call.what != "swap" && call.what != "late" && call.what != "fail") unknown("fault", call.what);
  calls.push_back(call);
}

std::string edit(std::string ptx, std::vector<PlantedText>& texts) {
  for (PlantedText& text : texts) {
    const std::regex kernel(text.kernel), find(text.find);
    uint64_t seen = 0;
    for (const Body& body : bodies(ptx)) {
      if (!std::regex_search(body.name, kernel)) continue;
      if (!text.module.empty()) {
        ptx = with_names_of(ptx, text.module);
        ++text.applied;
        break;
      }
      const auto begin = ptx.cbegin() + static_cast<ptrdiff_t>(body.begin), end = ptx.cbegin() + static_cast<ptrdiff_t>(body.end);
      bool done = false;
      for (auto at = std::sregex_iterator(begin, end, find); at != std::sregex_iterator(); ++at) {
        if (++seen != text.nth) continue;
        const std::string replacement = at->format(text.replace);
        ptx.replace(body.begin + static_cast<size_t>(at->position()), static_cast<size_t>(at->length()), replacement);
        ++text.applied;
        done = true;
        break;
      }
      if (done) break;
    }
  }
  return ptx;
}

}  // namespace emulator::runtime
