// Liveness by backward data flow over basic blocks, then linear scan: a register's interval spans from the first to the last instruction where it is
// live, and a slot goes to the next interval as soon as the one before has ended.
//
// Lanes may stand at different instructions. That does no harm: each lane has its own element of a slot, and walks the same code as any other lane.
#include "registers.h"

#include <algorithm>
#include <array>
#include <bit>
#include <queue>

namespace emulator {
namespace {

struct BasicBlock {
  uint32_t begin, end;
  std::vector<uint32_t> next;
  std::vector<uint64_t> uses, kills, live_in, live_out;  // bitsets over registers
};

std::vector<BasicBlock> basic_blocks(std::span<const Flowing> code) {
  const uint32_t count = static_cast<uint32_t>(code.size());
  std::vector<char> leads(count + 1, 0);
  leads[0] = leads[count] = 1;
  for (uint32_t i = 0; i < count; i++) {
    const bool straight = code[i].next.size() == 1 && code[i].next[0] == i + 1;
    if (straight) continue;
    leads[i + 1] = 1;
    for (uint32_t to : code[i].next) leads[to] = 1;
  }
  std::vector<uint32_t> of(count + 1, 0);
  std::vector<BasicBlock> blocks;
  for (uint32_t i = 0; i < count; i++) {
    if (leads[i]) blocks.push_back({i, i, {}, {}, {}, {}, {}});
    of[i] = static_cast<uint32_t>(blocks.size() - 1);
    blocks.back().end = i + 1;
  }
  for (auto& block : blocks) {
    for (uint32_t to : code[block.end - 1].next) {
      if (to < count) block.next.push_back(of[to]);
    }
  }
  return blocks;
}

}  // namespace

Slots allocate(std::span<const Flowing> code, std::span<const RegisterClass> registers, std::span<const uint32_t> preset, uint32_t reserved) {
  const size_t words = (registers.size() + 63) / 64;
  auto blocks = basic_blocks(code);
  const auto test = [](const std::vector<uint64_t>& set, uint32_t r) { return (set[r / 64] >> (r % 64) & 1) != 0; };
  const auto put = [](std::vector<uint64_t>& set, uint32_t r) { set[r / 64] |= uint64_t{1} << (r % 64); };
  for (auto& block : blocks) {
    block.uses.assign(words, 0), block.kills.assign(words, 0), block.live_in.assign(words, 0), block.live_out.assign(words, 0);
    for (uint32_t i = block.begin; i < block.end; i++) {
      for (uint32_t r : code[i].uses) {
        if (!test(block.kills, r)) put(block.uses, r);
      }
      for (uint32_t r : code[i].definitions) {
        if (!code[i].conditional) put(block.kills, r);
        else if (!test(block.kills, r)) put(block.uses, r);
      }
    }
  }
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t b = blocks.size(); b-- > 0;) {
      auto& block = blocks[b];
      for (uint32_t to : block.next) {
        for (size_t w = 0; w < words; w++) block.live_out[w] |= blocks[to].live_in[w];
      }
      for (size_t w = 0; w < words; w++) {
        const uint64_t in = block.uses[w] | (block.live_out[w] & ~block.kills[w]);
        changed |= in != block.live_in[w];
        block.live_in[w] = in;
      }
    }
  }
  // Intervals, in instructions: [first, last].
  std::vector<int64_t> first(registers.size(), INT64_MAX), last(registers.size(), -1);
  const auto extend = [&](uint32_t r, int64_t at) { first[r] = std::min(first[r], at), last[r] = std::max(last[r], at); };
  for (auto& block : blocks) {
    for (size_t w = 0; w < words; w++) {
      for (uint64_t set = block.live_in[w]; set; set &= set - 1) extend(static_cast<uint32_t>(w * 64 + std::countr_zero(set)), block.begin);
      for (uint64_t set = block.live_out[w]; set; set &= set - 1) extend(static_cast<uint32_t>(w * 64 + std::countr_zero(set)), block.end);
    }
    for (uint32_t i = block.begin; i < block.end; i++) {
      for (uint32_t r : code[i].uses) extend(r, i);
      for (uint32_t r : code[i].definitions) extend(r, i);
    }
  }
  for (uint32_t r : preset) extend(r, -1);
  std::vector<uint32_t> order;
  for (uint32_t r = 0; r < registers.size(); r++) {
    if (last[r] >= first[r]) order.push_back(r);
  }
  std::sort(order.begin(), order.end(), [&](uint32_t x, uint32_t y) { return first[x] != first[y] ? first[x] < first[y] : x < y; });
  // A slot is free again after the instruction of its last use: an instruction never writes one of its own sources by accident, as functions that read a
  // lane after they wrote another one (shfl, mma) would see it.
  std::array<std::vector<uint32_t>, 3> free_slots;
  std::array<uint32_t, 3> made{};
  using Ending = std::pair<int64_t, uint32_t>;
  std::priority_queue<Ending, std::vector<Ending>, std::greater<>> active;
  std::vector<uint32_t> slot(registers.size(), 0);
  for (uint32_t r : order) {
    while (!active.empty() && active.top().first < first[r]) {
      const uint32_t gone = active.top().second;
      active.pop();
      free_slots[static_cast<int>(registers[gone])].push_back(slot[gone]);
    }
    const int kind = static_cast<int>(registers[r]);
    if (free_slots[kind].empty()) {
      slot[r] = made[kind]++;
    } else {
      slot[r] = free_slots[kind].back();
      free_slots[kind].pop_back();
    }
    active.push({last[r], r});
  }
  const std::array<uint32_t, 3> size{4, 128, 256};
  std::array<uint32_t, 3> base{};
  uint32_t at = (reserved + 255) / 256 * 256;
  for (int kind = 2; kind >= 0; kind--) base[kind] = at, at += made[kind] * size[kind];
  Slots slots{std::vector<uint32_t>(registers.size(), 0), (at + 255) / 256 * 256};
  for (uint32_t r : order) slots.offset[r] = base[static_cast<int>(registers[r])] + slot[r] * size[static_cast<int>(registers[r])];
  return slots;
}

}  // namespace emulator
