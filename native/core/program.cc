#include "program.h"

#include <cmath>

#include "error.h"
#include "extents.h"
#include "order.h"

namespace fpdt {
namespace {

constexpr double kLargest = 9007199254740992.0;  // 2^53
const char* const kTierNames[] = {"device", "host", "disk"};

template <class... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
  std::ostringstream text;
  text.precision(17);
  (text << ... << parts);
  throw Error("program", text.str());
}

bool is_whole(double value) { return value >= 0 && value < kLargest && value == std::floor(value); }

// Compressed rows: starts[0] = 0, ascending, the last one the number of items.
void check_rows(const char* name, const std::vector<uint32_t>& starts, uint32_t length, size_t items) {
  if (starts.size() != size_t{length} + 1) refuse(name, " has ", starts.size(), " items; a program of ", length, " entries needs ", length + 1.0);
  if (starts.front() != 0) refuse(name, "[0] is ", starts.front(), "; it must be 0");
  for (uint32_t i = 0; i < length; i++)
    if (starts[i + 1] < starts[i]) refuse(name, "[", i + 1, "] is ", starts[i + 1], ", less than the item before it");
  if (starts.back() != items) refuse(name, " ends at ", starts.back(), "; there are ", items, " items");
}

template <class Array>
void check_length(const char* name, const Array& array, size_t wanted) {
  if (array.size() != wanted) refuse(name, " has ", array.size(), " items; it needs ", wanted);
}

void check_operand(const Program& p, uint32_t entry, uint32_t operand) {
  const uint32_t i = p.operand_start[entry] + operand;
  const uint8_t tier = p.operand_tier[i];
  if (tier == kNoTier) return;
  if (tier >= kTiers) refuse(entry_name(p, entry), ": tier ", int{tier}, " of operand ", operand, " is not one of 0 .. 2 or 255 (absent)");
  const double offset = p.operand_offset[i], bytes = p.operand_bytes[i], arena = p.arena_bytes[tier];
  if (!is_whole(offset) || !is_whole(bytes)) refuse(entry_name(p, entry), ": offset ", offset, " and bytes ", bytes, " of operand ", operand, " must be whole numbers from 0");
  if (offset + bytes > arena) {
    refuse(entry_name(p, entry), ": operand ", operand, " ends at byte ", offset + bytes, " of the ", kTierNames[tier], " arena, which has ", arena);
  }
}

// Operand `operand` is there, on `tier`, and holds at least the bytes that the numbers of the op say it touches.
void check_extent(const Program& p, uint32_t entry, uint32_t operand, Tier tier, const Extent& extent) {
  const uint32_t i = p.operand_start[entry] + operand;
  if (p.operand_tier[i] == kNoTier) {
    if (!extent.optional) refuse(entry_name(p, entry), ": operand ", operand, " is absent and not optional");
    return;
  }
  if (p.operand_tier[i] != static_cast<uint8_t>(tier)) {
    refuse(entry_name(p, entry), ": operand ", operand, " lies on the ", kTierNames[p.operand_tier[i]], " tier; it must lie on the ", kTierNames[static_cast<int>(tier)], " tier");
  }
  if (p.operand_bytes[i] < extent.bytes) refuse(entry_name(p, entry), ": operand ", operand, " has ", p.operand_bytes[i], " bytes; its numbers say ", extent.bytes);
}

void check_stream(const Program& p, uint32_t entry, StreamKind wanted) {
  if (p.stream[entry] != static_cast<uint8_t>(wanted)) {
    refuse(entry_name(p, entry), ": stream ", int{p.stream[entry]}, " cannot run it; it belongs on stream ", static_cast<int>(wanted));
  }
}

void check_count(const Program& p, uint32_t entry, size_t wanted) {
  if (p.operands(entry) != wanted) refuse(entry_name(p, entry), ": ", p.operands(entry), " operands; it takes ", wanted);
}

void check_kernel(const Program& p, uint32_t entry) {
  const KernelInfo* info = find_kernel(p.code[entry]);
  if (!info) refuse(entry_name(p, entry), ": code ", p.code[entry], " is neither a kernel nor a copy nor a collective");
  check_stream(p, entry, StreamKind::compute);
  check_count(p, entry, info->operands + 1u);
  const std::vector<Extent> extents = kernel_extents(*info, p.numbers(entry));
  for (uint32_t operand = 0; operand < extents.size(); operand++) check_extent(p, entry, operand, Tier::device, extents[operand]);
  check_extent(p, entry, info->operands, Tier::device, {0, true});  // the workspace: its kernel checks the size it needs
}

void check_copy(const Program& p, uint32_t entry, StreamKind stream, Tier from, Tier to) {
  check_stream(p, entry, stream);
  check_count(p, entry, 2);
  if (p.numbers(entry).size()) refuse(entry_name(p, entry), ": a copy takes no numbers, got ", p.numbers(entry).size());
  const double bytes = p.operand_bytes[p.operand_start[entry]];
  check_extent(p, entry, 0, from, {0});
  check_extent(p, entry, 1, to, {bytes});
  if (p.operand_bytes[p.operand_start[entry] + 1] != bytes) {
    refuse(entry_name(p, entry), ": copies ", bytes, " bytes to an operand of ", p.operand_bytes[p.operand_start[entry] + 1]);
  }
}

void check_collective(const Program& p, uint32_t entry) {
  check_stream(p, entry, StreamKind::collective);
  const std::vector<Extent> extents = collective_extents(p.code[entry], p.ranks, p.numbers(entry));
  check_count(p, entry, extents.size());
  for (uint32_t operand = 0; operand < extents.size(); operand++) check_extent(p, entry, operand, Tier::device, extents[operand]);
}

void check_entry(const Program& p, uint32_t entry) {
  for (uint32_t operand = 0; operand < p.operands(entry); operand++) check_operand(p, entry, operand);
  for (uint32_t wait : p.waits(entry))
    if (wait >= entry) refuse(entry_name(p, entry), ": waits for entry ", wait, ", which does not come before it");
  try {
    switch (p.code[entry]) {
      case opcode::offload: return check_copy(p, entry, StreamKind::offload, Tier::device, Tier::host);
      case opcode::fetch: return check_copy(p, entry, StreamKind::fetch, Tier::host, Tier::device);
      case opcode::spill: return check_copy(p, entry, StreamKind::spill, Tier::host, Tier::disk);
      case opcode::load: return check_copy(p, entry, StreamKind::load, Tier::disk, Tier::host);
      default: return is_collective(p.code[entry]) ? check_collective(p, entry) : check_kernel(p, entry);
    }
  } catch (const Error& error) {
    if (error.code() != "shape") throw;
    throw Error("shape", entry_name(p, entry) + ": " + error.what());
  }
}

}  // namespace

const char* op_name(uint16_t code) {
  switch (code) {
    case opcode::offload: return "offload";
    case opcode::fetch: return "fetch";
    case opcode::spill: return "spill";
    case opcode::load: return "load";
    case opcode::allToAll: return "allToAll";
    case opcode::gather: return "gather";
    case opcode::reduceScatter: return "reduceScatter";
    case opcode::allReduce: return "allReduce";
  }
  const KernelInfo* info = find_kernel(code);
  return info ? info->name : "unknown";
}

const char* stream_name(StreamKind stream) {
  switch (stream) {
    case StreamKind::compute: return "compute";
    case StreamKind::fetch: return "fetch";
    case StreamKind::offload: return "offload";
    case StreamKind::collective: return "collective";
    case StreamKind::load: return "load";
    case StreamKind::spill: return "spill";
  }
  return "unknown";
}

std::string entry_name(const Program& program, uint32_t entry) {
  return "entry " + std::to_string(entry) + " (" + op_name(program.code[entry]) + ", op " + std::to_string(program.op[entry]) + ")";
}

void validate(const Program& p) {
  if (p.ranks < 1 || p.ranks > kMostRanks) refuse("ranks is ", p.ranks, "; one process holds 1 .. ", kMostRanks);
  check_length("op", p.op, p.length);
  check_length("code", p.code, p.length);
  check_length("stream", p.stream, p.length);
  check_length("operandOffset", p.operand_offset, p.operand_tier.size());
  check_length("operandBytes", p.operand_bytes, p.operand_tier.size());
  check_rows("operandStart", p.operand_start, p.length, p.operand_tier.size());
  check_rows("parameterStart", p.parameter_start, p.length, p.parameters.size());
  check_rows("waitStart", p.wait_start, p.length, p.wait_entry.size());
  for (int tier = 0; tier < kTiers; tier++)
    if (!is_whole(p.arena_bytes[tier])) refuse("arenaBytes.", kTierNames[tier], " is ", p.arena_bytes[tier], "; it must be a whole number from 0");
  for (uint32_t entry = 0; entry < p.length; entry++) check_entry(p, entry);
  check_order(p);
}

}  // namespace fpdt
