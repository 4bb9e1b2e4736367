// Which instruction next.
//
// Lanes of a warp that stand at the same pc form a group and go together. Among the groups that can go on, the one with the smallest pc does: code is laid
// out so that branches meet again further down, hence the one that is behind catches up and they merge. A group that jumps back often while others wait to
// run may spin for what they will do: after kSpins such jumps another group has its turn.
//
// A .sync instruction waits until the lanes of its mask that still live stand at it. Warps take turns of many instructions; with a seed, of a random number,
// and in random order, so that what depends on the order of warps shows.
#include "schedule.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "../ptx/syntax.h"
#include "lanes.h"

namespace emulator {
namespace {

constexpr uint32_t kSpins = 64, kPatience = 256;
constexpr uint64_t kTurn = 20000;  // instructions

enum class Outcome { turn_over, blocked, finished };

Mask guarded(const Warp& w, const Instruction& i, Mask active) {
  if (i.guard == kNone) return active;
  const Mask p = read_predicate(w, i.guard);
  return active & (i.guard_negated ? ~p : p);
}

// Lanes of m for which all lanes of their mask have come.
Mask complete(const Warp& w, const Instruction& i, Mask m) {
  if (i.members == kNone) return (w.live & ~m) == 0 ? m : 0;
  const auto* members = source<uint32_t>(w, i.members);
  Mask whole = 0;
  for (Mask rest = m; rest; rest &= rest - 1) {
    const int l = std::countr_zero(rest);
    if (!(members[l] >> l & 1)) fault(w, i, l, "divergence", "the thread is not in the mask that it names");
    if ((members[l] & w.live & ~m) == 0) whole |= Mask{1} << l;
  }
  return whole;
}

// Lanes leave the kernel.
void leave(Warp& w, Mask lanes) {
  w.live &= ~lanes;
  threads_left(*w.block);
}

class Runner {
 public:
  Runner(Warp& w, uint64_t turn) : w_(w), code_(w.block->kernel->code.data()), left_(turn) {}

  Outcome run() {
    while (pick()) {
      if (walk()) return Outcome::turn_over;
    }
    if (w_.groups.empty()) return Outcome::finished;
    w_.parked = true;
    return Outcome::blocked;
  }
  uint64_t left() const { return left_; }

 private:
  // Takes the group that goes next out of the list; false where none can go.
  bool pick() {
    auto& groups = w_.groups;
    size_t best = groups.size();
    if (rotate_) {  // the next one further down that is ready, else the first
      rotate_ = false;
      uint32_t nearest = kNone;
      for (size_t g = 0; g < groups.size(); g++) {
        if (groups[g].state == Group::ready && groups[g].pc > last_ && groups[g].pc < nearest) best = g, nearest = groups[g].pc;
      }
      w_.patience = best < groups.size() ? kPatience : 0;
    }
    if (best == groups.size()) {
      for (size_t g = 0; g < groups.size(); g++) {
        if (groups[g].state == Group::ready && (best == groups.size() || groups[g].pc < groups[best].pc)) best = g;
      }
    }
    if (best == groups.size()) return resolve();
    take(best);
    return true;
  }
  void take(size_t g) {
    pc_ = w_.groups[g].pc, active_ = w_.groups[g].lanes;
    w_.groups.erase(w_.groups.begin() + static_cast<std::ptrdiff_t>(g));
    merge();
  }
  // Others at the same place join; `limit_` is where the next ones stand.
  void merge() {
    limit_ = kNone;
    auto& groups = w_.groups;
    for (size_t g = 0; g < groups.size();) {
      if (groups[g].state == Group::barrier) {
        g++;
      } else if (groups[g].pc == pc_) {
        active_ |= groups[g].lanes;
        groups.erase(groups.begin() + static_cast<std::ptrdiff_t>(g));
      } else {
        if (groups[g].pc > pc_) limit_ = std::min(limit_, groups[g].pc);
        g++;
      }
    }
  }
  void put_back(uint32_t pc, Mask lanes, Group::State state) {
    if (lanes) w_.groups.push_back({pc, lanes, state});
  }

  // All groups wait. Those at a .sync may have become complete as lanes left; bar.warp.sync may be met at different places.
  bool resolve() {
    auto& groups = w_.groups;
    for (size_t g = 0; g < groups.size(); g++) {
      if (groups[g].state != Group::together) continue;
      const Instruction& i = code_[groups[g].pc];
      const Mask m = guarded(w_, i, groups[g].lanes);
      if (complete(w_, i, m)) {
        groups[g].state = Group::ready;
        take(g);
        return true;
      }
      if (i.members == kNone || i.variant != kMeetsAnywhere) continue;
      const Mask wanted = source<uint32_t>(w_, i.members)[std::countr_zero(m)] & w_.live;
      Mask present = 0;
      for (const auto& other : groups) {
        const Instruction& o = code_[other.pc];
        if (other.state != Group::together || o.execute != i.execute || o.members == kNone) continue;
        for (Mask rest = guarded(w_, o, other.lanes); rest; rest &= rest - 1) {
          const int l = std::countr_zero(rest);
          if ((source<uint32_t>(w_, o.members)[l] & w_.live) == wanted) present |= Mask{1} << l;
        }
      }
      if (present != wanted) continue;
      for (auto& other : groups) {
        if (other.state != Group::together || !(other.lanes & wanted)) continue;
        other.pc++, other.state = Group::ready;  // both go on behind it
      }
      i.execute(w_, i, wanted);
      return pick();
    }
    return false;
  }

  // The group goes until it waits, ends or another one is to go: false. True: the turn is over.
  bool walk() {
    for (;;) {
      if (left_ == 0) {
        put_back(pc_, active_, Group::ready);
        return true;
      }
      left_--;
      const Instruction& i = code_[pc_];
      const Mask m = guarded(w_, i, active_);
      if (i.flow == Flow::plain) [[likely]] {
        w_.pc = pc_;
        if (m) i.execute(w_, i, m);
        if (++pc_ == limit_) [[unlikely]] merge();
        continue;
      }
      w_.pc = pc_;
      switch (i.flow) {
        case Flow::plain: break;
        case Flow::branch: {
          if (m == 0) {
            if (++pc_ == limit_) merge();
            continue;
          }
          const bool back = i.target <= pc_;
          if (m == active_) {
            if (w_.groups.empty()) {
              pc_ = i.target;
              continue;
            }
            put_back(i.target, m, Group::ready);
          } else {
            put_back(i.target, m, Group::ready);
            put_back(pc_ + 1, active_ & ~m, Group::ready);
          }
          last_ = i.target;
          if (!again(back)) return false;
          continue;
        }
        case Flow::branch_indexed: {
          const auto& table = w_.block->kernel->tables[i.target];
          const auto* index = source<uint32_t>(w_, i.a);
          for (Mask rest = m; rest;) {
            const uint32_t n = index[std::countr_zero(rest)];
            if (n >= table.size()) fault(w_, i, std::countr_zero(rest), "trap", "branch " + std::to_string(n) + " of " + std::to_string(table.size()));
            Mask same = 0;
            for (int l = 0; l < kLanes; l++) same |= Mask{(rest >> l & 1) && index[l] == n} << l;
            put_back(table[n], same, Group::ready);
            rest &= ~same;
          }
          put_back(pc_ + 1, active_ & ~m, Group::ready);
          last_ = pc_;
          if (!again(false)) return false;
          continue;
        }
        case Flow::leave:
          if (m == 0) {
            pc_++;
            break;
          }
          put_back(pc_ + 1, active_ & ~m, Group::ready);
          leave(w_, m);
          return false;
        case Flow::together: {
          if (m == 0) {
            pc_++;
            break;
          }
          const Mask whole = complete(w_, i, m);
          if (whole == active_) {  // the usual case
            i.execute(w_, i, m);
            pc_++;
            break;
          }
          if (whole) i.execute(w_, i, whole);
          put_back(pc_ + 1, whole | (active_ & ~m), Group::ready);
          put_back(pc_, m & ~whole, Group::together);
          return false;
        }
        case Flow::barrier: {
          if (m == 0) {
            pc_++;
            break;
          }
          if (i.extra && complete(w_, i, m) == 0) {
            put_back(pc_ + 1, active_ & ~m, Group::ready);
            put_back(pc_, m, Group::together);  // .aligned: the whole warp must come to it
            return false;
          }
          put_back(pc_ + 1, active_ & ~m, Group::ready);
          put_back(pc_ + 1, m, Group::barrier);
          arrive(w_, i, m);
          return false;
        }
        case Flow::yield:
          i.execute(w_, i, m);
          put_back(pc_ + 1, active_, Group::ready);
          rotate_ = true, last_ = pc_;
          return true;
      }
      if (pc_ == limit_) merge();
    }
  }
  // After a jump with other groups about: true where the one that jumped goes on at once.
  bool again(bool back) {
    if (back && w_.groups.size() > 1 && ++w_.spins >= kSpins) w_.spins = 0, rotate_ = true;
    if (w_.patience > 0 && !rotate_) {
      w_.patience--;
      for (size_t g = w_.groups.size(); g-- > 0;) {  // stay with the one that jumped
        if (w_.groups[g].pc != last_ || w_.groups[g].state != Group::ready) continue;
        take(g);
        return true;
      }
    }
    return false;
  }

  Warp& w_;
  const Instruction* code_;
  uint64_t left_;
  uint32_t pc_ = 0, limit_ = kNone, last_ = 0;
  Mask active_ = 0;
  bool rotate_ = false;
};

std::string threads_of(Mask lanes, const Warp& w) {
  std::string text;
  for (int l = 0; l < kLanes; l++) {
    if (!(lanes >> l & 1)) continue;
    int end = l;
    while (end < kLanes - 1 && (lanes >> (end + 1) & 1)) end++;
    text += (text.empty() ? "" : ", ") + std::to_string(w.number * kLanes + l) + (end > l ? "-" + std::to_string(w.number * kLanes + end) : "");
    l = end;
  }
  return text;
}
// Where every group of the block waits.
[[noreturn]] void deadlock(const RunningBlock& block, const std::string& why) {
  const auto& k = *block.kernel;
  std::string text = "kernel " + k.shape.name + ", block (" + std::to_string(block.id[0]) + "," + std::to_string(block.id[1]) + "," + std::to_string(block.id[2]) + "): " + why;
  int shown = 0;
  for (const auto& w : block.warps) {
    for (const auto& g : w.groups) {
      if (shown++ == 16) {
        throw Fault("deadlock", text + "; ...");
      }
      const uint32_t pc = g.state == Group::barrier ? g.pc - 1 : g.pc;
      const uint32_t line = k.code[pc].line;
      const char* const state = g.state == Group::ready ? " run" : g.state == Group::barrier ? " wait for other threads of the block" : " wait for other threads of the warp";
      text += "; threads " + threads_of(g.lanes, w) + state +
              " at PTX line " + std::to_string(line) + ": " + line_of(*k.text, line);
    }
  }
  throw Fault("deadlock", text);
}

}  // namespace

void BlockSteps::begin(RunningBlock& block) {
  block_ = &block;
  turns_.resize(block.warps.size());
  std::iota(turns_.begin(), turns_.end(), 0);
  at_ = 0;
}

bool BlockSteps::step() {
  RunningBlock& block = *block_;
  const bool seeded = block.options->seed != 0;
  const uint64_t most = block.options->most_instructions;
  while (!turns_.empty()) {
    // The next warp that can go on.
    size_t tried = 0;
    if (seeded) at_ = block.random.below(turns_.size());
    while (tried < turns_.size() && block.warps[turns_[at_ % turns_.size()]].parked) at_++, tried++;
    if (tried == turns_.size()) deadlock(block, "no thread can go on");
    at_ %= turns_.size();
    Warp& w = block.warps[turns_[at_]];
    uint64_t turn = seeded ? uint64_t{1} + block.random.below(uint64_t{1} << block.random.below(14)) : kTurn;
    if (most) turn = std::min(turn, most - block.instructions + 1);
    Runner runner(w, turn);
    const Outcome outcome = runner.run();
    block.instructions += turn - runner.left();
    if (most && block.instructions > most) deadlock(block, "more than " + std::to_string(most) + " instructions, so it spins");
    if (outcome == Outcome::finished) {
      turns_.erase(turns_.begin() + static_cast<std::ptrdiff_t>(at_));
      continue;
    }
    if (!seeded) at_++;
    if (outcome == Outcome::turn_over) return true;  // it may spin for what another block does
  }
  return false;
}

}  // namespace emulator
