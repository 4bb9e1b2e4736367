// Instructions by which the lanes of a warp see each other: shfl, vote, match, redux, activemask, elect. A lane that does not take part has no value to give:
// what is read from it is all ones (a NaN), as PTX leaves it open.
#include <algorithm>

#include "decode.h"
#include "lanes.h"

namespace emulator {
namespace {

constexpr uint32_t kNobody = 0xffffffff;

enum Shuffle : uint8_t { kUp, kDown, kButterfly, kIndex };
// shfl.sync d|p, a, b, c, members: c holds the clamp (bits 0-4) and the mask of segments (bits 8-12).
template <Shuffle kMode>
void shuffle(Warp& w, const Instruction& i, Mask m) {
  const auto* a = source<uint32_t>(w, i.a);
  const auto* b = source<uint32_t>(w, i.b);
  const auto* c = source<uint32_t>(w, i.c);
  const auto* members = source<uint32_t>(w, i.members);
  uint32_t value[kLanes];
  Mask inside = 0;
  for (int l = 0; l < kLanes; l++) {
    const int clamp = static_cast<int>(c[l] & 31), segment = static_cast<int>(c[l] >> 8 & 31), by = static_cast<int>(b[l] & 31);
    const int least = l & segment, most = least | (clamp & ~segment);
    int from;
    bool p;
    if constexpr (kMode == kUp) from = l - by, p = from >= most;
    else if constexpr (kMode == kDown) from = l + by, p = from <= most;
    else if constexpr (kMode == kButterfly) from = l ^ by, p = from <= most;
    else from = least | (by & ~segment), p = from <= most;
    if (!p) from = l;
    value[l] = (m & members[l]) >> from & 1 ? a[from] : kNobody;
    inside |= Mask{p} << l;
  }
  auto* d = result<uint32_t>(w, i.d);
  EMULATOR_LANES
  for (int l = 0; l < kLanes; l++) d[l] = (m & bit_of<uint32_t>(l)) ? value[l] : d[l];
  if (i.count == 2) write_predicate(w, i.list[0], m, inside);
}
void decode_shfl(Decoder& d) {
  if (!d.take("sync")) d.unknown("no .sync");
  const int mode = d.take_one_of("up", "down", "bfly", "idx");
  if (mode < 0 || d.take_type() != Type::b32) d.unknown("not for this type");
  const uint32_t a = d.read(1, Type::b32), b = d.read(2, Type::b32), c = d.read(3, Type::b32), members = d.read(4, Type::b32), to = d.write(0, Type::b32);
  Operand second = d.operand(0);
  second.text = second.second;
  const uint32_t inside = second.text.empty() ? 0 : d.write(second, Type::pred);
  constexpr Execute kModes[] = {shuffle<kUp>, shuffle<kDown>, shuffle<kButterfly>, shuffle<kIndex>};
  auto& draft = d.emit(kModes[mode]);
  auto& i = draft.instruction;
  i.flow = Flow::together, i.members = members;
  i.d = to, i.a = a, i.b = b, i.c = c;
  if (!second.text.empty()) i.count = 2, draft.results.push_back(inside);
}

// Calls f(lanes) for the lanes of m that name the same members.
template <class F>
void each_set(const Warp& w, const Instruction& i, Mask m, F f) {
  const auto* members = source<uint32_t>(w, i.members);
  while (m) {
    const uint32_t first = members[std::countr_zero(m)];
    Mask same = 0;
    for (int l = 0; l < kLanes; l++) same |= Mask{(m >> l & 1) && members[l] == first} << l;
    f(same);
    m &= ~same;
  }
}
void put(Warp& w, uint32_t operand, Mask lanes, uint32_t value) {
  auto* d = result<uint32_t>(w, operand);
  for (int l = 0; l < kLanes; l++) {
    if (lanes >> l & 1) d[l] = value;
  }
}

enum Vote : uint8_t { kAll, kAny, kUni, kBallot };
void vote(Warp& w, const Instruction& i, Mask m) {
  const Mask p = read_predicate(w, i.a);
  each_set(w, i, m, [&](Mask lanes) {
    const Mask holds = p & lanes;
    if (i.variant == kBallot) return put(w, i.d, lanes, holds);
    const bool result = i.variant == kAll ? holds == lanes : i.variant == kAny ? holds != 0 : holds == lanes || holds == 0;
    write_predicate(w, i.d, lanes, result ? ~Mask{0} : 0);
  });
}
void decode_vote(Decoder& d) {
  if (!d.take("sync")) d.unknown("no .sync");
  const int mode = d.take_one_of("all", "any", "uni", "ballot");
  const Type t = d.take_type();
  if (mode < 0 || t != (mode == kBallot ? Type::b32 : Type::pred)) d.unknown("not for this type");
  const uint32_t a = d.read(1, Type::pred), members = d.read(2, Type::b32), to = d.write(0, t);
  auto& i = d.emit(vote).instruction;
  i.flow = Flow::together, i.members = members, i.variant = static_cast<uint8_t>(mode);
  i.d = to, i.a = a;
}

template <class T, bool kAllEqual>
void match(Warp& w, const Instruction& i, Mask m) {
  const auto* a = source<T>(w, i.a);
  uint32_t value[kLanes] = {};
  Mask equal = 0;
  each_set(w, i, m, [&](Mask lanes) {
    for (Mask rest = lanes; rest; rest &= rest - 1) {
      const int l = std::countr_zero(rest);
      for (int other = 0; other < kLanes; other++) value[l] |= Mask{(lanes >> other & 1) && a[other] == a[l]} << other;
      if (value[l] == lanes) equal |= Mask{1} << l;
      else if (kAllEqual) value[l] = 0;
    }
  });
  auto* d = result<uint32_t>(w, i.d);
  for (int l = 0; l < kLanes; l++) {
    if (m >> l & 1) d[l] = value[l];
  }
  if (i.count == 2) write_predicate(w, i.list[0], m, equal);
}
void decode_match(Decoder& d) {
  const int all = d.take_one_of("any", "all");
  if (!d.take("sync") || all < 0) d.unknown("no .sync");
  const Type t = d.take_type();
  if (t != Type::b32 && t != Type::b64) d.unknown("not for this type");
  const uint32_t a = d.read(1, t), members = d.read(2, Type::b32), to = d.write(0, Type::b32);
  Operand second = d.operand(0);
  second.text = second.second;
  const uint32_t equal = second.text.empty() ? 0 : d.write(second, Type::pred);
  auto& draft = d.emit(t == Type::b32 ? (all ? match<uint32_t, true> : match<uint32_t, false>) : (all ? match<uint64_t, true> : match<uint64_t, false>));
  auto& i = draft.instruction;
  i.flow = Flow::together, i.members = members;
  i.d = to, i.a = a;
  if (!second.text.empty()) i.count = 2, draft.results.push_back(equal);
}

enum Reduction : uint8_t { kAdd, kMin, kMax, kAnd, kOr, kXor };
template <class T>
void reduce(Warp& w, const Instruction& i, Mask m) {
  const auto* a = source<T>(w, i.a);
  each_set(w, i, m, [&](Mask lanes) {
    T sum = get<T>(a, std::countr_zero(lanes));
    for (Mask rest = lanes & (lanes - 1); rest; rest &= rest - 1) {
      const T x = get<T>(a, std::countr_zero(rest));
      switch (i.variant) {
        case kAdd: sum = static_cast<T>(static_cast<uint32_t>(sum) + static_cast<uint32_t>(x)); break;
        case kMin: sum = std::min(sum, x); break;
        case kMax: sum = std::max(sum, x); break;
        case kAnd: sum &= x; break;
        case kOr: sum |= x; break;
        default: sum ^= x; break;
      }
    }
    put(w, i.d, lanes, static_cast<uint32_t>(sum));
  });
}
void decode_redux(Decoder& d) {
  if (!d.take("sync")) d.unknown("no .sync");
  const int op = d.take_one_of("add", "min", "max", "and", "or", "xor");
  const Type t = d.take_type();
  if (op < 0 || (t != Type::u32 && t != Type::s32 && t != Type::b32) || (t == Type::b32) != (op >= kAnd)) d.unknown("not for this type");
  const uint32_t a = d.read(1, t), members = d.read(2, Type::b32), to = d.write(0, t);
  auto& i = d.emit(t == Type::s32 ? reduce<int32_t> : reduce<uint32_t>).instruction;
  i.flow = Flow::together, i.members = members, i.variant = static_cast<uint8_t>(op);
  i.d = to, i.a = a;
}

void active_mask(Warp& w, const Instruction& i, Mask m) { put(w, i.d, m, m); }
void decode_activemask(Decoder& d) {
  if (d.take_type() != Type::b32) d.unknown("not for this type");
  const uint32_t to = d.write(0, Type::b32);
  d.emit(active_mask).instruction.d = to;
}

// elect.sync d|p, members: the first lane of the mask is chosen.
void elect(Warp& w, const Instruction& i, Mask m) {
  each_set(w, i, m, [&](Mask lanes) {
    put(w, i.d, lanes, static_cast<uint32_t>(std::countr_zero(lanes)));
    write_predicate(w, i.list[0], lanes, lanes & ~(lanes - 1));
  });
}
void decode_elect(Decoder& d) {
  if (!d.take("sync")) d.unknown("no .sync");
  const uint32_t members = d.read(1, Type::b32), to = d.write(0, Type::b32);
  Operand second = d.operand(0);
  second.text = second.second;
  if (second.text.empty()) d.unknown("no predicate");
  const uint32_t chosen = d.write(second, Type::pred);
  auto& draft = d.emit(elect);
  draft.instruction.flow = Flow::together, draft.instruction.members = members, draft.instruction.d = to;
  draft.results.push_back(chosen);
}

}  // namespace

void add_warp_operations(Opcodes& table) {
  table["shfl"] = decode_shfl;
  table["vote"] = decode_vote;
  table["match"] = decode_match;
  table["redux"] = decode_redux;
  table["activemask"] = decode_activemask;
  table["elect"] = decode_elect;
}

}  // namespace emulator
