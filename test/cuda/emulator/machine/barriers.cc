#include "barriers.h"

#include "lanes.h"

namespace emulator {
namespace {

void open(RunningBlock& block, Barrier& barrier) {
  if (block.observer) {
    std::vector<uint32_t> threads;
    for (const auto& arrival : barrier.arrivals) {
      for (int l = 0; l < kLanes; l++) {
        if (arrival.lanes >> l & 1) threads.push_back(arrival.warp * kLanes + static_cast<uint32_t>(l));
      }
    }
    block.observer->barrier(threads);
  }
  for (const auto& arrival : barrier.arrivals) {
    Warp& w = block.warps[arrival.warp];
    for (auto& g : w.groups) {
      if (g.state != Group::barrier || (g.lanes & arrival.lanes) == 0) continue;
      const Instruction& i = block.kernel->code[g.pc - 1];
      g.state = Group::ready;
      const auto kind = static_cast<BarrierKind>(i.variant);
      if (kind == BarrierKind::red_popc) {
        auto* d = result<uint32_t>(w, i.d);
        for (int l = 0; l < kLanes; l++) {
          if (g.lanes >> l & 1) d[l] = barrier.holds;
        }
      } else if (kind == BarrierKind::red_and || kind == BarrierKind::red_or) {
        const bool holds = kind == BarrierKind::red_or ? barrier.holds > 0 : barrier.holds == barrier.asked;
        write_predicate(w, i.d, g.lanes, holds ? ~Mask{0} : 0);
      }
    }
    w.parked = false;
  }
  barrier = {};
}

bool complete(const RunningBlock& block, const Barrier& barrier) {
  if (barrier.arrivals.empty()) return false;
  if (barrier.expected != 0) return barrier.arrived >= barrier.expected;
  uint32_t live = 0, arrived = 0;
  for (const auto& w : block.warps) live += static_cast<uint32_t>(std::popcount(w.live));
  for (const auto& a : barrier.arrivals) arrived += static_cast<uint32_t>(std::popcount(a.lanes & block.warps[a.warp].live));
  return arrived == live;
}

}  // namespace

void arrive(Warp& w, const Instruction& i, Mask lanes) {
  RunningBlock& block = *w.block;
  const int first = std::countr_zero(lanes);
  const uint32_t id = source<uint32_t>(w, i.a)[first];
  const uint32_t count = i.b ? source<uint32_t>(w, i.b)[first] : 0;
  if (id >= block.barriers.size()) fault(w, i, first, "divergence", "barrier " + std::to_string(id) + " of 16");
  if (count % kLanes != 0) fault(w, i, first, "divergence", "a barrier for " + std::to_string(count) + " threads, which is not a multiple of 32");
  for (Mask rest = lanes; rest; rest &= rest - 1) {
    const int l = std::countr_zero(rest);
    if (source<uint32_t>(w, i.a)[l] != id || (i.b && source<uint32_t>(w, i.b)[l] != count)) fault(w, i, l, "divergence", "threads of a warp name different barriers");
  }
  Barrier& barrier = block.barriers[id];
  if (!barrier.arrivals.empty() && barrier.expected != count) {
    fault(w, i, first, "divergence",
          "barrier " + std::to_string(id) + " for " + std::to_string(count) + " threads, while others wait at it for " + std::to_string(barrier.expected));
  }
  const auto kind = static_cast<BarrierKind>(i.variant);
  barrier.expected = count;
  // Threads that have left count with their warp: a warp counts whole.
  barrier.arrived += static_cast<uint32_t>((lanes & w.live) == w.live ? kLanes : std::popcount(lanes));
  if (kind == BarrierKind::red_and || kind == BarrierKind::red_or || kind == BarrierKind::red_popc) {
    barrier.asked += static_cast<uint32_t>(std::popcount(lanes));
    barrier.holds += static_cast<uint32_t>(std::popcount(lanes & read_predicate(w, i.c)));
  }
  barrier.arrivals.push_back({w.number, lanes});
  if (complete(block, barrier)) open(block, barrier);
}

void threads_left(RunningBlock& block) {
  for (auto& barrier : block.barriers) {
    if (complete(block, barrier)) open(block, barrier);
  }
}

}  // namespace emulator
