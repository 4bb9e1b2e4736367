#include "program.h"

#include "arguments.h"

namespace fpdt::addon {
namespace {

template <class T>
std::vector<T> column(const Napi::Object& program, const char* name) {
  const Napi::Value value = program.Get(name);
  const std::span<const T> found = items<T>(value, name);
  return {found.begin(), found.end()};
}

}  // namespace

Program read_program(const Napi::Value& value) {
  const Napi::Object from = object(value, "program");
  Program program;
  program.ranks = static_cast<int>(integer(from.Get("ranks"), "ranks", 1, kMostRanks));
  program.length = static_cast<uint32_t>(integer(from.Get("length"), "length", 0, UINT32_MAX - 1));
  program.op = column<uint32_t>(from, "op");
  program.code = column<uint16_t>(from, "code");
  program.stream = column<uint8_t>(from, "stream");
  program.operand_start = column<uint32_t>(from, "operandStart");
  program.operand_tier = column<uint8_t>(from, "operandTier");
  program.operand_offset = column<double>(from, "operandOffset");
  program.operand_bytes = column<double>(from, "operandBytes");
  program.parameter_start = column<uint32_t>(from, "parameterStart");
  program.parameters = column<double>(from, "parameters");
  program.wait_start = column<uint32_t>(from, "waitStart");
  program.wait_entry = column<uint32_t>(from, "waitEntry");
  const Napi::Object arenas = object(from.Get("arenaBytes"), "arenaBytes");
  for (int t = 0; t < kTiers; t++) program.arena_bytes[t] = number(arenas.Get(tier_name(Tier(t))), "arenaBytes of each tier");
  return program;
}

Budgets read_budgets(const Napi::Value& value) {
  Budgets budgets;
  if (value.IsUndefined()) return budgets;
  const Napi::Object from = object(value, "budgets");
  for (int t = 0; t < kTiers; t++) {
    const Napi::Value bytes = from.Get(tier_name(Tier(t)));
    if (!bytes.IsUndefined() && !bytes.IsNull()) budgets[t] = number(bytes, "a budget");
  }
  return budgets;
}

}  // namespace fpdt::addon
