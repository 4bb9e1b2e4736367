#include "order.h"

#include <algorithm>
#include <map>

#include "error.h"
#include "extents.h"

namespace fpdt {
namespace {

// Of every stream, one above the last entry that has ended (or has used some bytes); 0 = none. Streams run in order.
using Clock = std::array<uint32_t, kStreams>;

void learn(Clock& clock, const Clock& other) {
  for (int s = 0; s < kStreams; s++) clock[s] = std::max(clock[s], other[s]);
}

// Last users of a stretch of bytes. Who wrote before the writer, or read, has been found to end before it.
struct Users {
  Clock readers{};
  uint32_t writer = 0;  // one above the entry; 0 = none
};

// Stretches by first byte; each reaches to the next. A write makes its bytes one stretch again.
using Stretches = std::map<uint64_t, Users>;

// The stretch that begins at `at`, made if there is none.
Stretches::iterator cut(Stretches& arena, uint64_t at) {
  const auto next = arena.lower_bound(at);
  if (next != arena.end() && next->first == at) return next;
  return arena.emplace_hint(next, at, std::prev(next)->second);
}

bool writes(const Program& p, uint32_t entry, uint32_t operand) {
  switch (p.code[entry]) {
    case opcode::allToAll: return (operand == 0) == (p.numbers(entry)[3] == 1);  // direction: the parts toHeads, the local toTokens
    case opcode::allReduce: return true;
    case opcode::gather:
    case opcode::reduceScatter:
    case opcode::offload:
    case opcode::fetch:
    case opcode::spill:
    case opcode::load: return operand == 1;
  }
  const KernelInfo& info = *find_kernel(p.code[entry]);
  const auto workspace = static_cast<uint32_t>(info.operands);
  return operand < static_cast<uint32_t>(info.written) || operand == workspace;
}

[[noreturn]] void refuse(const Program& p, uint32_t entry, uint32_t operand, uint32_t other) {
  std::ostringstream text;
  text << entry_name(p, entry) << ": operand " << operand;
  if (other == entry) {
    text << " overlaps another one of the same entry, and one of the two is written";
  } else {
    text << " overlaps one of " << entry_name(p, other) << ", one of the two is written, and no wait orders the entries";
  }
  throw Error("program", text.str());
}

}  // namespace

void check_order(const Program& p) {
  std::array<Stretches, kTiers> arenas;
  for (Stretches& arena : arenas) arena[0] = {};
  std::vector<Clock> after(p.length);  // what has ended once an entry has
  Clock last{};
  for (uint32_t entry = 0; entry < p.length; entry++) {
    const uint8_t stream = p.stream[entry];
    Clock ended{};
    if (last[stream]) learn(ended, after[last[stream] - 1]);
    for (uint32_t wait : p.waits(entry)) learn(ended, after[wait]);

    for (uint32_t operand = 0; operand < p.operands(entry); operand++) {
      const uint32_t i = p.operand_start[entry] + operand;
      if (p.operand_tier[i] == kNoTier || p.operand_bytes[i] == 0) continue;
      const bool written = writes(p, entry, operand);
      const auto begin = static_cast<uint64_t>(p.operand_offset[i]), bytes = static_cast<uint64_t>(p.operand_bytes[i]);
      Stretches& arena = arenas[p.operand_tier[i]];
      const auto first = cut(arena, begin), end = cut(arena, begin + bytes);
      for (auto stretch = first; stretch != end; ++stretch) {
        Users& users = stretch->second;
        // An entry has not ended before itself: its own operands come under the same rule.
        if (users.writer && users.writer > ended[p.stream[users.writer - 1]]) refuse(p, entry, operand, users.writer - 1);
        if (written) {
          for (int s = 0; s < kStreams; s++)
            if (users.readers[s] > ended[s]) refuse(p, entry, operand, users.readers[s] - 1);
        } else {
          users.readers[stream] = entry + 1;
        }
      }
      if (written) {
        first->second = {.writer = entry + 1};
        arena.erase(std::next(first), end);
      }
    }
    ended[stream] = last[stream] = entry + 1;
    after[entry] = ended;
  }
}

}  // namespace fpdt
