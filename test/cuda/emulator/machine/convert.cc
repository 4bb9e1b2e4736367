// cvt: between integers, floats and halves, with every rounding. Floats out of range become the nearest integer.
#include <algorithm>
#include <cmath>
#include <limits>

#include "decode.h"
#include "lanes.h"
#include "rounding.h"

namespace emulator {
namespace {

template <class T>
constexpr bool kIsReal = std::is_floating_point_v<T> || std::is_same_v<T, bf16> || std::is_same_v<T, f16>;
template <class T>
auto widest(T x) {
  if constexpr (std::is_same_v<T, bf16> || std::is_same_v<T, f16>) return to_float(x);
  else return x;
}

template <Rounding R, class T>
T to_whole(T x) {
  if constexpr (R == Rounding::nearest) return std::nearbyint(x);
  else if constexpr (R == Rounding::zero) return std::trunc(x);
  else if constexpr (R == Rounding::down) return std::floor(x);
  else return std::ceil(x);
}

// The largest value of U that is not above, or the smallest that is not below; `near` is x rounded to nearest.
template <Rounding R, class U, class T>
U directed(U near, T x) {
  if constexpr (R == Rounding::nearest) return near;
  const long double exact = static_cast<long double>(x), got = static_cast<long double>(near);
  if constexpr (R == Rounding::zero) return std::fabs(got) > std::fabs(exact) ? std::nextafter(near, U{0}) : near;
  if constexpr (R == Rounding::down) return got > exact ? std::nextafter(near, -std::numeric_limits<U>::infinity()) : near;
  return got < exact ? std::nextafter(near, std::numeric_limits<U>::infinity()) : near;
}
template <Rounding R, class H>
H to_half(double x) {
  if constexpr (R == Rounding::nearest) return from_float<H>(round_to_odd(x));
  H near = from_float<H>(round_to_odd(x));
  if (x != x) return near;
  const double got = to_float(near);
  const bool negative = (near.bits & 0x8000) != 0;
  const bool too_large = got > x, too_small = got < x;
  bool away = false, towards = false;  // of zero, by one step
  if constexpr (R == Rounding::zero) towards = std::fabs(got) > std::fabs(x);
  if constexpr (R == Rounding::down) (negative ? away : towards) = too_large;
  if constexpr (R == Rounding::up) (negative ? towards : away) = too_small;
  if (towards) near.bits--;
  if (away) near.bits++;
  return near;
}

// S -> D; kSaturate: floats to [0, 1], integers to the range of D.
template <class D, class S, Rounding R, bool kSaturate, bool kWhole>
struct Conversion {
  D operator()(S x) const {
    if constexpr (kIsReal<S> && !kIsReal<D>) {
      const auto whole = to_whole<R>(widest(x));
      using W = decltype(whole + 0);
      constexpr W low = static_cast<W>(std::numeric_limits<D>::min()), high = static_cast<W>(std::numeric_limits<D>::max());
      // high is D's largest value or, where that is no float, the power of two above it
      const bool above = whole >= high, below = whole <= low, is_nan = whole != whole;
      const D inside = static_cast<D>(above || below || is_nan ? W{0} : whole);
      // PTX: zero, but the upper bit alone where one side has 64 bits
      constexpr D kNan = sizeof(S) == 8 || sizeof(D) == 8 ? static_cast<D>(std::make_unsigned_t<D>{1} << (8 * sizeof(D) - 1)) : D{0};
      return is_nan ? kNan : above ? std::numeric_limits<D>::max() : below ? std::numeric_limits<D>::min() : inside;
    } else if constexpr (kIsReal<D>) {
      auto y = widest(x);
      if constexpr (kIsReal<S>) {
        if constexpr (kWhole) y = to_whole<R>(y);
        if constexpr (kSaturate) y = y > 0 ? (y < 1 ? y : decltype(y){1}) : decltype(y){0};
      }
      constexpr Rounding kRound = kWhole ? Rounding::nearest : R;
      if constexpr (std::is_same_v<D, float> || std::is_same_v<D, double>) {
        if constexpr (kIsReal<S> && sizeof(D) >= sizeof(decltype(y))) return static_cast<D>(y);
        else return directed<kRound>(static_cast<D>(y), y);
      } else if constexpr (std::is_same_v<decltype(y), float> && kRound == Rounding::nearest) {
        return from_float<D>(y);
      } else {
        return to_half<kRound, D>(static_cast<double>(y));
      }
    } else if constexpr (kSaturate) {
      const __int128 wide = x;
      return static_cast<D>(std::clamp<__int128>(wide, std::numeric_limits<D>::min(), std::numeric_limits<D>::max()));
    } else {
      return static_cast<D>(x);
    }
  }
};

template <class D, class S>
Execute choose(Decoder& d, int rounding, bool saturate, bool whole) {
  if constexpr (!kIsReal<D> && !kIsReal<S>) {
    if (rounding >= 0) d.unknown("a rounding between integers");
    return saturate ? map1<Conversion<D, S, Rounding::nearest, true, false>, D, S> : map1<Conversion<D, S, Rounding::nearest, false, false>, D, S>;
  } else if constexpr (!kIsReal<D>) {
    switch (rounding) {
      case 0: return map1<Conversion<D, S, Rounding::nearest, true, true>, D, S>;
      case 1: return map1<Conversion<D, S, Rounding::zero, true, true>, D, S>;
      case 2: return map1<Conversion<D, S, Rounding::down, true, true>, D, S>;
      case 3: return map1<Conversion<D, S, Rounding::up, true, true>, D, S>;
      default: d.unknown("no rounding");
    }
  } else {
    if constexpr (kIsReal<S>) {
      if (whole) {
        if (saturate) d.unknown(".sat with a rounding to whole numbers");
        switch (rounding) {
          case 0: return map1<Conversion<D, S, Rounding::nearest, false, true>, D, S>;
          case 1: return map1<Conversion<D, S, Rounding::zero, false, true>, D, S>;
          case 2: return map1<Conversion<D, S, Rounding::down, false, true>, D, S>;
          default: return map1<Conversion<D, S, Rounding::up, false, true>, D, S>;
        }
      }
    }
    switch (rounding) {
      case -1:
      case 0: return saturate ? map1<Conversion<D, S, Rounding::nearest, true, false>, D, S> : map1<Conversion<D, S, Rounding::nearest, false, false>, D, S>;
      case 1: return saturate ? map1<Conversion<D, S, Rounding::zero, true, false>, D, S> : map1<Conversion<D, S, Rounding::zero, false, false>, D, S>;
      case 2: return saturate ? map1<Conversion<D, S, Rounding::down, true, false>, D, S> : map1<Conversion<D, S, Rounding::down, false, false>, D, S>;
      default: return saturate ? map1<Conversion<D, S, Rounding::up, true, false>, D, S> : map1<Conversion<D, S, Rounding::up, false, false>, D, S>;
    }
  }
}
template <class D>
Execute from(Decoder& d, Type s, int rounding, bool saturate, bool whole) {
  switch (s) {
    case Type::b8:
    case Type::u8: return choose<D, uint8_t>(d, rounding, saturate, whole);
    case Type::s8: return choose<D, int8_t>(d, rounding, saturate, whole);
    case Type::b16:
    case Type::u16: return choose<D, uint16_t>(d, rounding, saturate, whole);
    case Type::s16: return choose<D, int16_t>(d, rounding, saturate, whole);
    case Type::b32:
    case Type::u32: return choose<D, uint32_t>(d, rounding, saturate, whole);
    case Type::s32: return choose<D, int32_t>(d, rounding, saturate, whole);
    case Type::b64:
    case Type::u64: return choose<D, uint64_t>(d, rounding, saturate, whole);
    case Type::s64: return choose<D, int64_t>(d, rounding, saturate, whole);
    case Type::f16: return choose<D, f16>(d, rounding, saturate, whole);
    case Type::bf16: return choose<D, bf16>(d, rounding, saturate, whole);
    case Type::f32: return choose<D, float>(d, rounding, saturate, whole);
    case Type::f64: return choose<D, double>(d, rounding, saturate, whole);
    default: d.unknown("not for this type");
  }
}

// Two floats as a pair of halves: the first is the upper one.
template <class H, Rounding R, bool kRelu>
struct Pack {
  uint32_t operator()(float upper, float lower) const { return uint32_t{half(upper).bits} << 16 | half(lower).bits; }
  H half(float x) const {
    if constexpr (kRelu) x = x < 0 ? 0.f : x;
    if constexpr (R == Rounding::nearest) return from_float<H>(x);
    else return to_half<R, H>(static_cast<double>(x));
  }
};
template <class H>
Execute pack(bool zero, bool relu) {
  if (zero) return relu ? map2<Pack<H, Rounding::zero, true>, uint32_t, float, float> : map2<Pack<H, Rounding::zero, false>, uint32_t, float, float>;
  return relu ? map2<Pack<H, Rounding::nearest, true>, uint32_t, float, float> : map2<Pack<H, Rounding::nearest, false>, uint32_t, float, float>;
}

// Subnormal floats, as sources and results of .ftz.
struct FlushFloat {
  float operator()(float x) const {
    const uint32_t bits = std::bit_cast<uint32_t>(x);
    return std::bit_cast<float>((bits & 0x7f800000) == 0 ? bits & 0x80000000 : bits);
  }
};
struct Relu {
  float operator()(float x) const { return x < 0 ? 0.f : x; }
};
// A tf32 is a float whose last 13 bits are zero; .rna rounds halves away from zero.
struct ToTf32 {
  uint32_t operator()(float x) const {
    const uint32_t bits = std::bit_cast<uint32_t>(x);
    return (bits & 0x7f800000) == 0x7f800000 ? bits : (bits + 0x1000) & 0xffffe000;
  }
};
// A narrow signed result in a wider register is extended to its width.
template <class Narrow, class Wide>
struct Extend {
  Wide operator()(Wide x) const { return static_cast<Wide>(static_cast<Narrow>(x)); }
};

Type as_wide_as_register(Decoder& d, const Operand& o, Type t) {
  const uint32_t width = bytes_of(d.register_type(o, t));
  if (width < bytes_of(t)) d.unknown("a register narrower than the type");
  return width == 8 ? Type::b64 : width == 4 ? Type::b32 : width == 2 ? Type::b16 : Type::b8;
}

void decode_cvt(Decoder& d) {
  int rounding = d.take_one_of("rni", "rzi", "rmi", "rpi");
  const bool whole = rounding >= 0;
  if (!whole) rounding = d.take_one_of("rn", "rz", "rm", "rp");
  const bool away = d.take("rna"), ftz = d.take("ftz"), saturate = d.take("sat"), relu = d.take("relu");
  for (const auto m : d.statement().modifiers) {
    if (m != "tf32") continue;
    if (!away || !d.take("tf32") || d.take_type() != Type::f32) d.unknown("not for this type");
    const uint32_t a = d.read(1, Type::f32), to = d.write(0, Type::b32);
    auto& i = d.emit(map1<ToTf32, uint32_t, float>).instruction;
    i.d = to, i.a = a;
    return;
  }
  if (away) d.unknown("a rounding that is not known here");
  const Type to_type = d.take_type();
  if (to_type == Type::bf16x2 || to_type == Type::f16x2) {
    if (d.take_type() != Type::f32 || whole || rounding > 1 || rounding < 0 || saturate || ftz) d.unknown("not for this type");
    const uint32_t a = d.read(1, Type::f32), b = d.read(2, Type::f32), to = d.write(0, Type::b32);
    auto& i = d.emit(to_type == Type::bf16x2 ? pack<bf16>(rounding == 1, relu) : pack<f16>(rounding == 1, relu)).instruction;
    i.d = to, i.a = a, i.b = b;
    return;
  }
  const Type from_type = d.take_type();
  // The source's low bits count: a 64-bit register may hold a narrower source only where it is an integer.
  const Type register_from = as_wide_as_register(d, d.operand(1), from_type);
  uint32_t a = d.read(1, d.operand(1).kind == Operand::number ? from_type : register_from);
  if (bytes_of(register_from) == 8 && bytes_of(from_type) < 8) {
    const uint32_t narrow = d.temporary(Type::b32);
    auto& i = d.emit(map1<Conversion<uint32_t, uint64_t, Rounding::nearest, false, false>, uint32_t, uint64_t>).instruction;
    i.d = narrow, i.a = a;
    a = narrow;
  }
  if (ftz && from_type == Type::f32) {
    const uint32_t flushed = d.temporary(Type::f32);
    auto& i = d.emit(map1<FlushFloat, float, float>).instruction;
    i.d = flushed, i.a = a;
    a = flushed;
  }
  if (relu) {
    if (from_type != Type::f32) d.unknown("not for this type");
    const uint32_t positive = d.temporary(Type::f32);
    auto& i = d.emit(map1<Relu, float, float>).instruction;
    i.d = positive, i.a = a;
    a = positive;
  }
  Execute f = nullptr;
  switch (to_type) {
    case Type::b8:
    case Type::u8: f = from<uint8_t>(d, from_type, rounding, saturate, whole); break;
    case Type::s8: f = from<int8_t>(d, from_type, rounding, saturate, whole); break;
    case Type::b16:
    case Type::u16: f = from<uint16_t>(d, from_type, rounding, saturate, whole); break;
    case Type::s16: f = from<int16_t>(d, from_type, rounding, saturate, whole); break;
    case Type::b32:
    case Type::u32: f = from<uint32_t>(d, from_type, rounding, saturate, whole); break;
    case Type::s32: f = from<int32_t>(d, from_type, rounding, saturate, whole); break;
    case Type::b64:
    case Type::u64: f = from<uint64_t>(d, from_type, rounding, saturate, whole); break;
    case Type::s64: f = from<int64_t>(d, from_type, rounding, saturate, whole); break;
    case Type::f16: f = from<f16>(d, from_type, rounding, saturate, whole); break;
    case Type::bf16: f = from<bf16>(d, from_type, rounding, saturate, whole); break;
    case Type::f32: f = from<float>(d, from_type, rounding, saturate, whole); break;
    case Type::f64: f = from<double>(d, from_type, rounding, saturate, whole); break;
    default: d.unknown("not for this type");
  }
  const Type register_to = as_wide_as_register(d, d.operand(0), to_type);
  const uint32_t to = d.write(0, register_to);
  const bool to_wide = bytes_of(register_to) == 8 && bytes_of(to_type) < 8;
  const uint32_t result = to_wide ? d.temporary(Type::b32) : to;
  {
    auto& i = d.emit(f).instruction;
    i.d = result, i.a = a;
  }
  if (ftz && to_type == Type::f32) {
    auto& i = d.emit(map1<FlushFloat, float, float>).instruction;
    i.d = result, i.a = result;
  }
  if (bytes_of(register_to) <= bytes_of(to_type) || (!is_signed(to_type) && !to_wide)) return;
  Execute extend = nullptr;
  if (to_wide) {
    if (to_type == Type::s32) extend = map1<Conversion<int64_t, int32_t, Rounding::nearest, false, false>, int64_t, int32_t>;
    else if (to_type == Type::s16) extend = map1<Conversion<int64_t, int16_t, Rounding::nearest, false, false>, int64_t, int16_t>;
    else if (to_type == Type::s8) extend = map1<Conversion<int64_t, int8_t, Rounding::nearest, false, false>, int64_t, int8_t>;
    else extend = map1<Conversion<uint64_t, uint32_t, Rounding::nearest, false, false>, uint64_t, uint32_t>;
  } else if (bytes_of(register_to) == 4) {
    extend = to_type == Type::s8 ? map1<Extend<int8_t, int32_t>, int32_t, int32_t> : map1<Extend<int16_t, int32_t>, int32_t, int32_t>;
  } else {
    extend = map1<Extend<int8_t, int16_t>, int16_t, int16_t>;
  }
  auto& i = d.emit(extend).instruction;
  i.d = to, i.a = result;
}

}  // namespace

void add_conversions(Opcodes& table) { table["cvt"] = decode_cvt; }

}  // namespace emulator
