// and or xor not cnot, shl shr shf, lop3, prmt, bfe bfi bmsk, popc clz brev bfind, mov with its packs.
#include <algorithm>
#include <bit>

#include "decode.h"
#include "lanes.h"

namespace emulator {
namespace {

struct And {
  template <class T>
  T operator()(T a, T b) const { return a & b; }
};
struct Or {
  template <class T>
  T operator()(T a, T b) const { return a | b; }
};
struct Xor {
  template <class T>
  T operator()(T a, T b) const { return a ^ b; }
};
struct Not {
  template <class T>
  T operator()(T a) const { return static_cast<T>(~a); }
};
struct LogicalNot {
  template <class T>
  T operator()(T a) const { return a == 0 ? 1 : 0; }
};
struct Copy {
  template <class T>
  T operator()(T a) const { return a; }
};
// Shifts by the width or more give zero, or the sign.
struct ShiftLeft {
  template <class T>
  T operator()(T a, uint32_t n) const { return n >= 8 * sizeof(T) ? T{0} : static_cast<T>(a << n); }
};
struct ShiftRight {
  template <class T>
  T operator()(T a, uint32_t n) const {
    if constexpr (std::is_signed_v<T>) return static_cast<T>(a >> (n >= 8 * sizeof(T) ? 8 * sizeof(T) - 1 : n));
    else return n >= 8 * sizeof(T) ? T{0} : static_cast<T>(a >> n);
  }
};
// shf: a the low word, b the high one.
template <bool kLeft, bool kWrap>
struct FunnelShift {
  uint32_t operator()(uint32_t a, uint32_t b, uint32_t c) const {
    const uint32_t n = kWrap ? c & 31 : c > 32 ? 32 : c;
    const uint64_t both = uint64_t{b} << 32 | a;
    return static_cast<uint32_t>(kLeft ? (both << n) >> 32 : both >> n);
  }
};
struct BitMask {
  uint32_t operator()(uint32_t a, uint32_t b) const {  // bmsk.clamp: b ones from bit a
    if (a >= 32) return 0;
    return static_cast<uint32_t>((b >= 32 ? ~uint64_t{0} : (uint64_t{1} << b) - 1) << a);
  }
};
struct Permute {
  uint32_t operator()(uint32_t a, uint32_t b, uint32_t c) const {
    const uint64_t bytes = uint64_t{b} << 32 | a;
    uint32_t d = 0;
    for (int k = 0; k < 4; k++) {
      const uint32_t select = c >> 4 * k;
      const uint32_t byte = static_cast<uint32_t>(bytes >> 8 * (select & 7)) & 0xff;
      d |= (select & 8 ? (byte & 0x80 ? 0xffu : 0u) : byte) << 8 * k;
    }
    return d;
  }
};
struct ExtractField {  // bits past the end are zero, or the sign
  template <class T>
  T operator()(T a, uint32_t start, uint32_t length) const {
    constexpr int kBits = 8 * sizeof(T);
    start &= 0xff, length &= 0xff;
    if (length == 0) return 0;
    const int top = std::min<int>(static_cast<int>(start + length) - 1, kBits - 1);
    const bool sign = std::is_signed_v<T> && (static_cast<uint64_t>(a) >> top & 1);
    using U = std::make_unsigned_t<T>;
    const U shifted = start >= kBits ? 0 : static_cast<U>(static_cast<U>(a) >> start);
    const int kept = std::min<int>(static_cast<int>(length), kBits - static_cast<int>(start));
    const U mask = kept <= 0 ? 0 : kept >= kBits ? ~U{0} : static_cast<U>((U{1} << kept) - 1);
    return static_cast<T>((shifted & mask) | (sign ? static_cast<U>(~mask) : U{0}));
  }
};
template <class T>
void insert_field(Warp& w, const Instruction& i, Mask m) {  // a into b
  auto* d = result<T>(w, i.d);
  const auto* a = source<T>(w, i.a);
  const auto* b = source<T>(w, i.b);
  const auto* from = source<uint32_t>(w, i.c);
  const auto* size = source<uint32_t>(w, i.list[0]);
  for (int l = 0; l < kLanes; l++) {
    if (!(m >> l & 1)) continue;
    const uint32_t start = from[l] & 0xff, length = size[l] & 0xff;
    const T ones = length >= 8 * sizeof(T) ? ~T{0} : static_cast<T>((T{1} << length) - 1);
    const T mask = start >= 8 * sizeof(T) ? T{0} : static_cast<T>(ones << start);
    d[l] = (b[l] & ~mask) | (start >= 8 * sizeof(T) ? T{0} : static_cast<T>(a[l] << start) & mask);
  }
}
struct CountOnes {
  template <class T>
  uint32_t operator()(T a) const { return static_cast<uint32_t>(std::popcount(a)); }
};
struct CountLeadingZeros {
  template <class T>
  uint32_t operator()(T a) const { return static_cast<uint32_t>(std::countl_zero(a)); }
};
struct Reverse {
  template <class T>
  T operator()(T a) const {
    T d = 0;
    for (size_t k = 0; k < 8 * sizeof(T); k++) d |= static_cast<T>((a >> k & 1) << (8 * sizeof(T) - 1 - k));
    return d;
  }
};
template <bool kShift>
struct FindHighest {
  template <class T>
  uint32_t operator()(T a) const {
    using U = std::make_unsigned_t<T>;
    const U u = static_cast<U>(a < 0 ? ~a : a);
    if (u == 0) return 0xffffffff;
    const uint32_t zeros = static_cast<uint32_t>(std::countl_zero(u));
    return kShift ? zeros : static_cast<uint32_t>(8 * sizeof(T) - 1) - zeros;
  }
};

// Any function of three bits, as the table `extra` says it.
EMULATOR_CLONES void lop3(Warp& w, const Instruction& i, Mask m) {
  auto* d = result<uint32_t>(w, i.d);
  const auto* a = source<uint32_t>(w, i.a);
  const auto* b = source<uint32_t>(w, i.b);
  const auto* c = source<uint32_t>(w, i.c);
  uint32_t term[8];
  for (int t = 0; t < 8; t++) term[t] = i.extra >> t & 1 ? ~0u : 0;
  EMULATOR_LANES
  for (int l = 0; l < kLanes; l++) {
    const uint32_t x = a[l], y = b[l], z = c[l];
    const uint32_t low = (~y & ((~z & term[0]) | (z & term[1]))) | (y & ((~z & term[2]) | (z & term[3])));
    const uint32_t high = (~y & ((~z & term[4]) | (z & term[5]))) | (y & ((~z & term[6]) | (z & term[7])));
    const uint32_t r = (~x & low) | (x & high);
    d[l] = (m & bit_of<uint32_t>(l)) ? r : d[l];
  }
}

template <class F>
void predicates2(Warp& w, const Instruction& i, Mask m) { write_predicate(w, i.d, m, F{}(read_predicate(w, i.a), read_predicate(w, i.b))); }
template <class F>
void predicates1(Warp& w, const Instruction& i, Mask m) { write_predicate(w, i.d, m, F{}(read_predicate(w, i.a))); }

void emit1(Decoder& d, Execute f, Type to, Type t) {
  const uint32_t a = d.read(1, t), r = d.write(0, to);
  auto& i = d.emit(f).instruction;
  i.d = r, i.a = a;
}
void emit2(Decoder& d, Execute f, Type t, Type second) {
  const uint32_t a = d.read(1, t), b = d.read(2, second), r = d.write(0, t);
  auto& i = d.emit(f).instruction;
  i.d = r, i.a = a, i.b = b;
}
void emit3(Decoder& d, Execute f, Type t, Type second, Type third) {
  const uint32_t a = d.read(1, t), b = d.read(2, second), c = d.read(3, third), r = d.write(0, t);
  auto& i = d.emit(f).instruction;
  i.d = r, i.a = a, i.b = b, i.c = c;
}

template <class F>
void decode_logic(Decoder& d) {
  const Type t = d.take_type();
  switch (bytes_of(t)) {
    case 1: return t == Type::pred ? emit2(d, predicates2<F>, t, t) : d.unknown("not for this type");
    case 2: return emit2(d, map2<F, uint16_t, uint16_t, uint16_t>, t, t);
    case 4: return emit2(d, map2<F, uint32_t, uint32_t, uint32_t>, t, t);
    default: return emit2(d, map2<F, uint64_t, uint64_t, uint64_t>, t, t);
  }
}
template <class F>
void decode_logic1(Decoder& d) {
  const Type t = d.take_type();
  switch (bytes_of(t)) {
    case 1:
      if constexpr (std::is_same_v<F, Not>) {
        if (t == Type::pred) return emit1(d, predicates1<F>, t, t);
      }
      d.unknown("not for this type");
    case 2: return emit1(d, map1<F, uint16_t, uint16_t>, t, t);
    case 4: return emit1(d, map1<F, uint32_t, uint32_t>, t, t);
    default: return emit1(d, map1<F, uint64_t, uint64_t>, t, t);
  }
}
void decode_shl(Decoder& d) {
  const Type t = d.take_type();
  switch (bytes_of(t)) {
    case 2: return emit2(d, map2<ShiftLeft, uint16_t, uint16_t, uint32_t>, t, Type::u32);
    case 4: return emit2(d, map2<ShiftLeft, uint32_t, uint32_t, uint32_t>, t, Type::u32);
    case 8: {
      return emit2(d, map2<ShiftLeft, uint64_t, uint64_t, uint32_t>, t, Type::u32);
    }
    default: d.unknown("not for this type");
  }
}
void decode_shr(Decoder& d) {
  const Type t = d.take_type();
  switch (t) {
    case Type::b16:
    case Type::u16: return emit2(d, map2<ShiftRight, uint16_t, uint16_t, uint32_t>, t, Type::u32);
    case Type::s16: return emit2(d, map2<ShiftRight, int16_t, int16_t, uint32_t>, t, Type::u32);
    case Type::b32:
    case Type::u32: return emit2(d, map2<ShiftRight, uint32_t, uint32_t, uint32_t>, t, Type::u32);
    case Type::s32: return emit2(d, map2<ShiftRight, int32_t, int32_t, uint32_t>, t, Type::u32);
    case Type::b64:
    case Type::u64: return emit2(d, map2<ShiftRight, uint64_t, uint64_t, uint32_t>, t, Type::u32);
    case Type::s64: return emit2(d, map2<ShiftRight, int64_t, int64_t, uint32_t>, t, Type::u32);
    default: d.unknown("not for this type");
  }
}
void decode_shf(Decoder& d) {
  const int left = d.take_one_of("r", "l"), wrap = d.take_one_of("clamp", "wrap");
  const Type t = d.take_type();
  if (left < 0 || wrap < 0 || t != Type::b32) d.unknown("not for this type");
  using U = uint32_t;
  const Execute f = left ? (wrap ? map3<FunnelShift<true, true>, U, U, U, U> : map3<FunnelShift<true, false>, U, U, U, U>)
                         : (wrap ? map3<FunnelShift<false, true>, U, U, U, U> : map3<FunnelShift<false, false>, U, U, U, U>);
  emit3(d, f, t, t, Type::u32);
}
void decode_bmsk(Decoder& d) {
  if (!d.take("clamp") || d.take_type() != Type::b32) d.unknown("not for this type");
  emit2(d, map2<BitMask, uint32_t, uint32_t, uint32_t>, Type::b32, Type::u32);
}
void decode_prmt(Decoder& d) {
  if (d.take_type() != Type::b32) d.unknown("not for this type");
  emit3(d, map3<Permute, uint32_t, uint32_t, uint32_t, uint32_t>, Type::b32, Type::b32, Type::b32);
}
void decode_lop3(Decoder& d) {
  if (d.take_type() != Type::b32) d.unknown("not for this type");
  if (d.operand(4).kind != Operand::number) d.unknown("the table is no number");
  const uint32_t a = d.read(1, Type::b32), b = d.read(2, Type::b32), c = d.read(3, Type::b32), to = d.write(0, Type::b32);
  auto& i = d.emit(lop3).instruction;
  i.d = to, i.a = a, i.b = b, i.c = c, i.extra = static_cast<uint32_t>(d.operand(4).bits);
}
void decode_bfe(Decoder& d) {
  const Type t = d.take_type();
  Execute f = nullptr;
  if (t == Type::u32) f = map3<ExtractField, uint32_t, uint32_t, uint32_t, uint32_t>;
  if (t == Type::s32) f = map3<ExtractField, int32_t, int32_t, uint32_t, uint32_t>;
  if (t == Type::u64) f = map3<ExtractField, uint64_t, uint64_t, uint32_t, uint32_t>;
  if (t == Type::s64) f = map3<ExtractField, int64_t, int64_t, uint32_t, uint32_t>;
  if (f == nullptr) d.unknown("not for this type");
  emit3(d, f, t, Type::u32, Type::u32);
}
void decode_bfi(Decoder& d) {
  const Type t = d.take_type();
  if (t != Type::b32 && t != Type::b64) d.unknown("not for this type");
  const uint32_t a = d.read(1, t), b = d.read(2, t), c = d.read(3, Type::u32), length = d.read(4, Type::u32), to = d.write(0, t);
  auto& draft = d.emit(t == Type::b32 ? insert_field<uint32_t> : insert_field<uint64_t>);
  auto& i = draft.instruction;
  i.d = to, i.a = a, i.b = b, i.c = c;
  draft.sources.push_back(length);
}
template <class F>
void decode_count(Decoder& d) {
  const Type t = d.take_type();
  if (t != Type::b32 && t != Type::b64) d.unknown("not for this type");
  emit1(d, t == Type::b32 ? map1<F, uint32_t, uint32_t> : map1<F, uint32_t, uint64_t>, Type::u32, t);
}
void decode_brev(Decoder& d) {
  const Type t = d.take_type();
  if (t != Type::b32 && t != Type::b64) d.unknown("not for this type");
  emit1(d, t == Type::b32 ? map1<Reverse, uint32_t, uint32_t> : map1<Reverse, uint64_t, uint64_t>, t, t);
}
void decode_bfind(Decoder& d) {
  const bool shift = d.take("shiftamt");
  const Type t = d.take_type();
  Execute f = nullptr;
  if (t == Type::u32) f = shift ? map1<FindHighest<true>, uint32_t, uint32_t> : map1<FindHighest<false>, uint32_t, uint32_t>;
  if (t == Type::s32) f = shift ? map1<FindHighest<true>, uint32_t, int32_t> : map1<FindHighest<false>, uint32_t, int32_t>;
  if (t == Type::u64) f = shift ? map1<FindHighest<true>, uint32_t, uint64_t> : map1<FindHighest<false>, uint32_t, uint64_t>;
  if (t == Type::s64) f = shift ? map1<FindHighest<true>, uint32_t, int64_t> : map1<FindHighest<false>, uint32_t, int64_t>;
  if (f == nullptr) d.unknown("not for this type");
  emit1(d, f, Type::u32, t);
}

// ---------------------------------------------------------------------------------------------------------------- mov
// {x, y, ...} of n registers as one of n times their width. extra: bits of a part.
template <class T, class Part>
EMULATOR_CLONES void pack(Warp& w, const Instruction& i, Mask m) {
  auto* d = result<T>(w, i.d);
  const Storage<Part>* part[4] = {};
  for (int k = 0; k < i.count; k++) part[k] = source<Part>(w, i.list[k]);
  for (int l = 0; l < kLanes; l++) {
    T value = 0;
    for (int k = 0; k < i.count; k++) value |= static_cast<T>(static_cast<T>(get<Part>(part[k], l)) << k * (8 * sizeof(Part)));
    d[l] = (m & bit_of<T>(l)) ? stored<T>(value) : d[l];
  }
}
template <class T, class Part>
EMULATOR_CLONES void unpack(Warp& w, const Instruction& i, Mask m) {
  T value[kLanes];  // a result may lie where the source was
  const auto* a = source<T>(w, i.a);
  for (int l = 0; l < kLanes; l++) value[l] = get<T>(a, l);
  for (int k = 0; k < i.count; k++) {
    auto* d = result<Part>(w, i.list[k]);
    if (i.list[k] == 0) continue;
    for (int l = 0; l < kLanes; l++) d[l] = (m & bit_of<Part>(l)) ? stored<Part>(static_cast<Part>(value[l] >> k * (8 * sizeof(Part)))) : d[l];
  }
}
uint64_t ticks(const Warp& w) { return w.block->instructions; }
void read_clock(Warp& w, const Instruction& i, Mask m) {  // instructions that the block has done: a clock that is the same in every run
  auto* d = result<uint32_t>(w, i.d);
  for (int l = 0; l < kLanes; l++) {
    if (m >> l & 1) d[l] = static_cast<uint32_t>(ticks(w) >> (i.variant ? 32 : 0));
  }
}
void read_clock64(Warp& w, const Instruction& i, Mask m) {
  auto* d = result<uint64_t>(w, i.d);
  for (int l = 0; l < kLanes; l++) {
    if (m >> l & 1) d[l] = ticks(w);
  }
}
Type part_type(uint32_t bytes) { return bytes == 1 ? Type::b8 : bytes == 2 ? Type::b16 : bytes == 4 ? Type::b32 : Type::none; }
void decode_mov(Decoder& d) {
  const Type t = d.take_type();
  const Operand& to = d.operand(0);
  const Operand& from = d.operand(1);
  if (to.kind == Operand::list || from.kind == Operand::list) {
    const bool packs = from.kind == Operand::list;
    const auto& parts = packs ? from.elements : to.elements;
    if (parts.empty() || bytes_of(t) % parts.size() != 0 || (packs && to.kind == Operand::list)) d.unknown("parts that do not fit");
    const uint32_t bytes = bytes_of(t) / static_cast<uint32_t>(parts.size());
    Execute f = nullptr;
    if (bytes_of(t) == 8 && bytes == 4) f = packs ? pack<uint64_t, uint32_t> : unpack<uint64_t, uint32_t>;
    if (bytes_of(t) == 8 && bytes == 2) f = packs ? pack<uint64_t, uint16_t> : unpack<uint64_t, uint16_t>;
    if (bytes_of(t) == 4 && bytes == 2) f = packs ? pack<uint32_t, uint16_t> : unpack<uint32_t, uint16_t>;
    if (bytes_of(t) == 4 && bytes == 1) f = packs ? pack<uint32_t, uint8_t> : unpack<uint32_t, uint8_t>;
    if (bytes_of(t) == 2 && bytes == 1) f = packs ? pack<uint16_t, uint8_t> : unpack<uint16_t, uint8_t>;
    if (f == nullptr) d.unknown("parts that do not fit");
    std::vector<uint32_t> list;
    for (const auto& o : parts) list.push_back(packs ? d.read(o, part_type(bytes)) : d.write(o, part_type(bytes)));
    const uint32_t whole = packs ? d.write(to, t) : d.read(from, t);
    auto& draft = d.emit(f);
    draft.instruction.count = static_cast<uint8_t>(parts.size());
    (packs ? draft.instruction.d : draft.instruction.a) = whole;
    (packs ? draft.sources : draft.results) = list;
    return;
  }
  if (from.kind == Operand::name && (from.text == "%clock" || from.text == "%clock_hi")) {
    auto& i = d.emit(read_clock).instruction;
    i.d = d.write(to, t), i.variant = from.text == "%clock_hi";
    return;
  }
  if (from.kind == Operand::name && (from.text == "%clock64" || from.text == "%globaltimer")) {
    auto& i = d.emit(read_clock64).instruction;
    i.d = d.write(to, t);
    return;
  }
  switch (bytes_of(t)) {
    case 1:
      if (t != Type::pred) break;
      return emit1(d, predicates1<Copy>, t, t);
    case 2: return emit1(d, map1<Copy, uint16_t, uint16_t>, t, t);
    case 4: return emit1(d, map1<Copy, uint32_t, uint32_t>, t, t);
    case 8: return emit1(d, map1<Copy, uint64_t, uint64_t>, t, t);
    default: break;
  }
  d.unknown("not for this type");
}

}  // namespace

void add_bits(Opcodes& table) {
  table["and"] = decode_logic<And>;
  table["or"] = decode_logic<Or>;
  table["xor"] = decode_logic<Xor>;
  table["not"] = decode_logic1<Not>;
  table["cnot"] = decode_logic1<LogicalNot>;
  table["shl"] = decode_shl;
  table["shr"] = decode_shr;
  table["shf"] = decode_shf;
  table["bmsk"] = decode_bmsk;
  table["prmt"] = decode_prmt;
  table["lop3"] = decode_lop3;
  table["bfe"] = decode_bfe;
  table["bfi"] = decode_bfi;
  table["popc"] = decode_count<CountOnes>;
  table["clz"] = decode_count<CountLeadingZeros>;
  table["brev"] = decode_brev;
  table["bfind"] = decode_bfind;
  table["mov"] = decode_mov;
}

}  // namespace emulator
