// add sub mul mad fma div rem min max neg abs sad, setp set selp slct, and the functions of one float: rcp sqrt rsqrt ex2 lg2 sin cos tanh.
// ".ftz" takes subnormal sources as zeros of their sign and makes subnormal results zeros; ".approx", ".full", ".rn" all are the value rounded to nearest:
// of double precision for the approximate ones, hence better than a GPU's.
#include <algorithm>
#include <cmath>
#include <limits>

#include "decode.h"
#include "lanes.h"
#include "mathematics.h"
#include "rounding.h"

namespace emulator {
namespace {

template <class T>
constexpr bool kIsFloat = std::is_floating_point_v<T>;
template <class T>
constexpr bool kIsHalf = std::is_same_v<T, bf16> || std::is_same_v<T, f16>;

// Integer arithmetic wraps: it is done in a type without sign, at least 32 bits wide.
template <class T>
using Wrapping = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;

template <class T>
T flush(T x) {
  if constexpr (std::is_same_v<T, float>) {
    const uint32_t bits = std::bit_cast<uint32_t>(x);
    return std::bit_cast<float>((bits & 0x7f800000) == 0 ? bits & 0x80000000 : bits);
  } else {
    return x;
  }
}
// F with .ftz, and with .sat: [0, 1], NaN becomes 0.
template <class F>
struct Flushed {
  template <class... T>
  auto operator()(T... x) const { return flush(F{}(flush(x)...)); }
};
template <class F>
struct Saturated {
  template <class... T>
  auto operator()(T... x) const {
    const auto y = F{}(x...);
    return y > 0 ? (y < 1 ? y : decltype(y){1}) : decltype(y){0};
  }
};
// F on floats for the halves of a packed pair, or on one half.
template <class F, class H>
struct Rounded {
  template <class... T>
  H operator()(T... x) const { return from_float<H>(F{}(to_float(x)...)); }
};
template <class F, class H>
struct Paired {
  template <class... T>
  uint32_t operator()(T... x) const {
    const H low = F{}(H{static_cast<uint16_t>(x)}...), high = F{}(H{static_cast<uint16_t>(x >> 16)}...);
    return low.bits | uint32_t{high.bits} << 16;
  }
};

struct Add {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (kIsFloat<T>) return a + b;
    else return static_cast<T>(static_cast<Wrapping<T>>(a) + static_cast<Wrapping<T>>(b));
  }
};
struct Subtract {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (kIsFloat<T>) return a - b;
    else return static_cast<T>(static_cast<Wrapping<T>>(a) - static_cast<Wrapping<T>>(b));
  }
};
struct AddSaturated {
  int32_t operator()(int32_t a, int32_t b) const { return static_cast<int32_t>(std::clamp<int64_t>(int64_t{a} + b, INT32_MIN, INT32_MAX)); }
};
struct SubtractSaturated {
  int32_t operator()(int32_t a, int32_t b) const { return static_cast<int32_t>(std::clamp<int64_t>(int64_t{a} - b, INT32_MIN, INT32_MAX)); }
};
struct Multiply {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (kIsFloat<T>) return a * b;
    else return static_cast<T>(static_cast<Wrapping<T>>(a) * static_cast<Wrapping<T>>(b));
  }
};
template <class T>
using Twice = std::conditional_t<std::is_same_v<T, uint16_t>, uint32_t, std::conditional_t<std::is_same_v<T, int16_t>, int32_t,
              std::conditional_t<std::is_same_v<T, uint32_t>, uint64_t, std::conditional_t<std::is_same_v<T, int32_t>, int64_t,
              std::conditional_t<std::is_same_v<T, uint64_t>, unsigned __int128, __int128>>>>>;
struct MultiplyHigh {
  template <class T>
  T operator()(T a, T b) const { return static_cast<T>((static_cast<Twice<T>>(a) * static_cast<Twice<T>>(b)) >> (8 * sizeof(T))); }
};
struct MultiplyWide {
  template <class T>
  Twice<T> operator()(T a, T b) const { return static_cast<Twice<T>>(a) * static_cast<Twice<T>>(b); }
};
template <class F>
struct ThenAdd {
  template <class T, class C>
  C operator()(T a, T b, C c) const { return Add{}(static_cast<C>(F{}(a, b)), c); }
};
// mul24: the low 24 bits of both
template <bool kHigh>
struct Multiply24 {
  template <class T>
  T operator()(T a, T b) const {
    const auto low = [](T x) { return std::is_signed_v<T> ? int64_t{static_cast<int32_t>(static_cast<uint32_t>(x) << 8) >> 8} : int64_t{x & 0xffffff}; };
    return static_cast<T>(kHigh ? (low(a) * low(b)) >> 16 : low(a) * low(b));
  }
};
struct FusedMultiplyAdd {
  template <class T>
  T operator()(T a, T b, T c) const {
    if constexpr (kIsHalf<T>) return fused(a, b, c);
    else return std::fma(a, b, c);
  }
};
// With .relu: negative results and NaN... a NaN becomes the canonical one, not zero.
struct FusedMultiplyAddRelu {
  template <class T>
  T operator()(T a, T b, T c) const {
    const T d = fused(a, b, c);
    return to_float(d) < 0 ? T{0} : d;
  }
};
// The same with a rounding other than to nearest. A product is added to a zero of its sign, a sum is that of one factor.
template <Rounding R>
struct FusedTowards {
  float operator()(float a, float b, float c) const { return fused_towards<R>(a, b, c); }
};
template <Rounding R>
struct AddTowards {
  float operator()(float a, float b) const { return fused_towards<R>(a, 1, b); }
};
template <Rounding R>
struct SubtractTowards {
  float operator()(float a, float b) const { return fused_towards<R>(a, 1, -b); }
};
template <Rounding R>
struct MultiplyTowards {
  float operator()(float a, float b) const { return fused_towards<R>(a, b, std::bit_cast<float>((std::bit_cast<uint32_t>(a) ^ std::bit_cast<uint32_t>(b)) & 0x80000000)); }
};
// The machine of a GPU divides by zero without a fault: all bits set (PTX: unspecified).
struct Divide {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (kIsFloat<T>) return a / b;
    else if (b == 0) return static_cast<T>(-1);
    else if constexpr (std::is_signed_v<T>) return b == static_cast<T>(-1) ? static_cast<T>(0 - static_cast<Wrapping<T>>(a)) : static_cast<T>(a / b);
    else return static_cast<T>(a / b);
  }
};
struct Remainder {
  template <class T>
  T operator()(T a, T b) const {
    if (b == 0) return static_cast<T>(-1);
    if constexpr (std::is_signed_v<T>) return b == static_cast<T>(-1) ? T{0} : static_cast<T>(a % b);
    else return static_cast<T>(a % b);
  }
};
template <class T>
T canonical_nan() {
  if constexpr (std::is_same_v<T, float>) return std::bit_cast<float>(0x7fffffffu);
  else return std::bit_cast<double>(0x7fffffffffffffffull);
}
// Of two numbers; a NaN loses against a number, and -0 < +0. kNan: a NaN wins.
template <bool kMost, bool kNan>
struct Extreme {
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (kIsFloat<T>) {
      const bool a_first = kMost ? (a > b) : (a < b);
      const bool sign = std::signbit(a);
      T r = a_first ? a : a == b ? (sign == kMost ? b : a) : b;
      r = b != b ? (kNan ? canonical_nan<T>() : a) : r;
      r = a != a ? (kNan || b != b ? canonical_nan<T>() : b) : r;
      return r;
    } else {
      return kMost ? (a > b ? a : b) : (a < b ? a : b);
    }
  }
};
struct Negate {
  template <class T>
  T operator()(T a) const {
    if constexpr (kIsFloat<T>) return -a;
    else if constexpr (kIsHalf<T>) return {static_cast<uint16_t>(a.bits ^ 0x8000)};
    else return static_cast<T>(0 - static_cast<Wrapping<T>>(a));
  }
};
struct Absolute {
  template <class T>
  T operator()(T a) const {
    if constexpr (kIsFloat<T>) return std::fabs(a);
    else if constexpr (kIsHalf<T>) return {static_cast<uint16_t>(a.bits & 0x7fff)};
    else return a < 0 ? Negate{}(a) : a;
  }
};
struct AbsoluteDifference {
  template <class T>
  T operator()(T a, T b, T c) const {
    using U = Wrapping<T>;
    const U difference = a < b ? static_cast<U>(b) - static_cast<U>(a) : static_cast<U>(a) - static_cast<U>(b);
    return static_cast<T>(static_cast<U>(c) + difference);
  }
};
struct CopySign {  // copysign d, a, b: sign of a, magnitude of b
  template <class T>
  T operator()(T a, T b) const { return std::copysign(b, a); }
};

struct Reciprocal {
  template <class T>
  T operator()(T a) const { return T{1} / a; }
};
struct SquareRoot {
  template <class T>
  T operator()(T a) const { return std::sqrt(a); }
};
struct ReciprocalSquareRoot {
  template <class T>
  T operator()(T a) const { return static_cast<T>(1.0 / std::sqrt(static_cast<double>(a))); }
};
struct ExponentialOfTwo {
  float operator()(float a) const { return exp2_of(a); }
};
struct LogarithmOfTwo {
  float operator()(float a) const { return log2_of(a); }
};
struct Sine {
  float operator()(float a) const { return static_cast<float>(std::sin(static_cast<double>(a))); }
};
struct Cosine {
  float operator()(float a) const { return static_cast<float>(std::cos(static_cast<double>(a))); }
};
struct HyperbolicTangent {
  float operator()(float a) const { return static_cast<float>(std::tanh(static_cast<double>(a))); }
};

// ---------------------------------------------------------------------------------------------------------------- choice of a function by type
template <class F, class T>
constexpr Execute two() { return map2<F, T, T, T>; }
template <class F>
Execute integers2(Decoder& d, Type t) {
  switch (t) {
    case Type::u16: return two<F, uint16_t>();
    case Type::s16: return two<F, int16_t>();
    case Type::u32: return two<F, uint32_t>();
    case Type::s32: return two<F, int32_t>();
    case Type::u64: return two<F, uint64_t>();
    case Type::s64: return two<F, int64_t>();
    default: d.unknown("not for this type");
  }
}
// F on float and double, with .ftz and .sat; on halves through float, which is exact for + - * (24 bits are twice 11 and more).
template <class F>
Execute floats2(Decoder& d, Type t) {
  const bool ftz = d.take("ftz"), sat = d.take("sat");
  switch (t) {
    case Type::f32:
      if (sat) return ftz ? map2<Flushed<Saturated<F>>, float, float, float> : map2<Saturated<F>, float, float, float>;
      return ftz ? map2<Flushed<F>, float, float, float> : map2<F, float, float, float>;
    case Type::f64:
      if (ftz || sat) break;
      return map2<F, double, double, double>;
    case Type::f16:
      if (ftz || sat) break;
      return map2<Rounded<F, f16>, f16, f16, f16>;
    case Type::bf16:
      if (ftz || sat) break;
      return map2<Rounded<F, bf16>, bf16, bf16, bf16>;
    case Type::f16x2:
      if (ftz || sat) break;
      return map2<Paired<Rounded<F, f16>, f16>, uint32_t, uint32_t, uint32_t>;
    case Type::bf16x2:
      if (ftz || sat) break;
      return map2<Paired<Rounded<F, bf16>, bf16>, uint32_t, uint32_t, uint32_t>;
    default: break;
  }
  d.unknown("not for this type");
}
template <template <Rounding> class F>
Execute towards2(Decoder& d, Type t, int rounding) {
  if (t != Type::f32) d.unknown("a rounding that is not known here");
  using Z = F<Rounding::zero>;
  using M = F<Rounding::down>;
  using P = F<Rounding::up>;
  if (d.take("ftz")) return rounding == 0 ? map2<Flushed<Z>, float, float, float> : rounding == 1 ? map2<Flushed<M>, float, float, float> : map2<Flushed<P>, float, float, float>;
  return rounding == 0 ? map2<Z, float, float, float> : rounding == 1 ? map2<M, float, float, float> : map2<P, float, float, float>;
}
bool is_integer(Type t) { return t == Type::u16 || t == Type::s16 || t == Type::u32 || t == Type::s32 || t == Type::u64 || t == Type::s64; }
Type widened(Type t) {
  switch (t) {
    case Type::u16: return Type::u32;
    case Type::s16: return Type::s32;
    case Type::u32: return Type::u64;
    case Type::s32: return Type::s64;
    default: return Type::none;
  }
}

void emit1(Decoder& d, Execute f, Type t) {
  const uint32_t a = d.read(1, t), to = d.write(0, t);
  auto& i = d.emit(f).instruction;
  i.d = to, i.a = a;
}
void emit2(Decoder& d, Execute f, Type t) {
  const uint32_t a = d.read(1, t), b = d.read(2, t), to = d.write(0, t);
  auto& i = d.emit(f).instruction;
  i.d = to, i.a = a, i.b = b;
}
void emit3(Decoder& d, Execute f, Type result, Type factors, Type addend) {
  const uint32_t a = d.read(1, factors), b = d.read(2, factors), c = d.read(3, addend), to = d.write(0, result);
  auto& i = d.emit(f).instruction;
  i.d = to, i.a = a, i.b = b, i.c = c;
}

template <class F, class S, template <Rounding> class T>
void decode_sum(Decoder& d) {
  const Type t = d.take_type();
  if (!is_integer(t)) {
    if (const int rounding = d.take_one_of("rz", "rm", "rp"); rounding >= 0) return emit2(d, towards2<T>(d, t, rounding), t);
    d.take("rn");
    return emit2(d, floats2<F>(d, t), t);
  }
  if (d.take("sat")) {
    if (t != Type::s32) d.unknown(".sat is for s32");
    return emit2(d, map2<S, int32_t, int32_t, int32_t>, t);
  }
  emit2(d, integers2<F>(d, t), t);
}

void decode_mul(Decoder& d) {
  const Type t = d.take_type();
  if (!is_integer(t)) {
    if (const int rounding = d.take_one_of("rz", "rm", "rp"); rounding >= 0) return emit2(d, towards2<MultiplyTowards>(d, t, rounding), t);
    d.take("rn");
    return emit2(d, floats2<Multiply>(d, t), t);
  }
  switch (d.take_one_of("lo", "hi", "wide")) {
    case 0: return emit2(d, integers2<Multiply>(d, t), t);
    case 1: return emit2(d, integers2<MultiplyHigh>(d, t), t);
    case 2: {
      const Type w = widened(t);
      Execute f = nullptr;
      if (t == Type::u16) f = map2<MultiplyWide, uint32_t, uint16_t, uint16_t>;
      if (t == Type::s16) f = map2<MultiplyWide, int32_t, int16_t, int16_t>;
      if (t == Type::u32) f = map2<MultiplyWide, uint64_t, uint32_t, uint32_t>;
      if (t == Type::s32) f = map2<MultiplyWide, int64_t, int32_t, int32_t>;
      if (f == nullptr) d.unknown("not for this type");
      const uint32_t a = d.read(1, t), b = d.read(2, t), to = d.write(0, w);
      auto& i = d.emit(f).instruction;
      i.d = to, i.a = a, i.b = b;
      return;
    }
    default: d.unknown("neither .lo, .hi nor .wide");
  }
}

template <class F>
Execute integers3(Decoder& d, Type t) {
  switch (t) {
    case Type::u16: return map3<F, uint16_t, uint16_t, uint16_t, uint16_t>;
    case Type::s16: return map3<F, int16_t, int16_t, int16_t, int16_t>;
    case Type::u32: return map3<F, uint32_t, uint32_t, uint32_t, uint32_t>;
    case Type::s32: return map3<F, int32_t, int32_t, int32_t, int32_t>;
    case Type::u64: return map3<F, uint64_t, uint64_t, uint64_t, uint64_t>;
    case Type::s64: return map3<F, int64_t, int64_t, int64_t, int64_t>;
    default: d.unknown("not for this type");
  }
}
void decode_fma(Decoder& d) {
  const Type t = d.take_type();
  if (const int rounding = d.take_one_of("rz", "rm", "rp"); rounding >= 0) {
    if (t != Type::f32) d.unknown("a rounding that is not known here");
    constexpr Execute kPlain[] = {map3<FusedTowards<Rounding::zero>, float, float, float, float>, map3<FusedTowards<Rounding::down>, float, float, float, float>,
                                  map3<FusedTowards<Rounding::up>, float, float, float, float>};
    constexpr Execute kFlushed[] = {map3<Flushed<FusedTowards<Rounding::zero>>, float, float, float, float>,
                                    map3<Flushed<FusedTowards<Rounding::down>>, float, float, float, float>,
                                    map3<Flushed<FusedTowards<Rounding::up>>, float, float, float, float>};
    return emit3(d, d.take("ftz") ? kFlushed[rounding] : kPlain[rounding], t, t, t);
  }
  if (!d.take("rn")) d.unknown("a rounding that is not known here");
  const bool ftz = d.take("ftz"), sat = d.take("sat"), relu = d.take("relu");
  Execute f = nullptr;
  if (t == Type::f32 && !relu) {
    using F = FusedMultiplyAdd;
    if (sat) f = ftz ? map3<Flushed<Saturated<F>>, float, float, float, float> : map3<Saturated<F>, float, float, float, float>;
    else f = ftz ? map3<Flushed<F>, float, float, float, float> : map3<F, float, float, float, float>;
  } else if (!ftz && !sat) {
    using F = FusedMultiplyAdd;
    using R = FusedMultiplyAddRelu;
    if (t == Type::f64 && !relu) f = map3<F, double, double, double, double>;
    if (t == Type::f16) f = relu ? map3<R, f16, f16, f16, f16> : map3<F, f16, f16, f16, f16>;
    if (t == Type::bf16) f = relu ? map3<R, bf16, bf16, bf16, bf16> : map3<F, bf16, bf16, bf16, bf16>;
    if (t == Type::f16x2) f = relu ? map3<Paired<R, f16>, uint32_t, uint32_t, uint32_t, uint32_t> : map3<Paired<F, f16>, uint32_t, uint32_t, uint32_t, uint32_t>;
    if (t == Type::bf16x2) f = relu ? map3<Paired<R, bf16>, uint32_t, uint32_t, uint32_t, uint32_t> : map3<Paired<F, bf16>, uint32_t, uint32_t, uint32_t, uint32_t>;
  }
  if (f == nullptr) d.unknown("not for this type");
  emit3(d, f, t, t, t);
}
void decode_mad(Decoder& d) {
  const auto is_real = [](std::string_view m) { return is_float(type_named(m)); };
  if (std::any_of(d.statement().modifiers.begin(), d.statement().modifiers.end(), is_real)) return decode_fma(d);
  const Type t = d.take_type();
  switch (d.take_one_of("lo", "hi", "wide")) {
    case 0: return emit3(d, integers3<ThenAdd<Multiply>>(d, t), t, t, t);
    case 1: return emit3(d, integers3<ThenAdd<MultiplyHigh>>(d, t), t, t, t);
    case 2: {
      const Type w = widened(t);
      Execute f = nullptr;
      if (t == Type::u16) f = map3<ThenAdd<MultiplyWide>, uint32_t, uint16_t, uint16_t, uint32_t>;
      if (t == Type::s16) f = map3<ThenAdd<MultiplyWide>, int32_t, int16_t, int16_t, int32_t>;
      if (t == Type::u32) f = map3<ThenAdd<MultiplyWide>, uint64_t, uint32_t, uint32_t, uint64_t>;
      if (t == Type::s32) f = map3<ThenAdd<MultiplyWide>, int64_t, int32_t, int32_t, int64_t>;
      if (f == nullptr) d.unknown("not for this type");
      return emit3(d, f, w, t, w);
    }
    default: d.unknown("neither .lo, .hi nor .wide");
  }
}
void decode_mul24(Decoder& d) {
  const Type t = d.take_type();
  const int high = d.take_one_of("lo", "hi");
  if (high < 0 || (t != Type::u32 && t != Type::s32)) d.unknown("not for this type");
  if (t == Type::u32) return emit2(d, high ? map2<Multiply24<true>, uint32_t, uint32_t, uint32_t> : map2<Multiply24<false>, uint32_t, uint32_t, uint32_t>, t);
  emit2(d, high ? map2<Multiply24<true>, int32_t, int32_t, int32_t> : map2<Multiply24<false>, int32_t, int32_t, int32_t>, t);
}
void decode_div(Decoder& d) {
  const Type t = d.take_type();
  if (is_integer(t)) return emit2(d, integers2<Divide>(d, t), t);
  if (t != Type::f32 && t != Type::f64) d.unknown("not for this type");
  if (d.take_one_of("rn", "approx", "full") < 0) d.unknown("a rounding that is not known here");
  emit2(d, floats2<Divide>(d, t), t);
}
void decode_rem(Decoder& d) {
  const Type t = d.take_type();
  emit2(d, integers2<Remainder>(d, t), t);
}
template <bool kMost>
void decode_extreme(Decoder& d) {
  const Type t = d.take_type();
  if (is_integer(t)) return emit2(d, integers2<Extreme<kMost, false>>(d, t), t);
  if (d.operands() != 3) d.unknown("another number of operands");
  emit2(d, d.take("NaN") ? floats2<Extreme<kMost, true>>(d, t) : floats2<Extreme<kMost, false>>(d, t), t);
}

template <class F>
Execute signs(Decoder& d, Type t) {
  const bool ftz = d.take("ftz");
  switch (t) {
    case Type::s16: return map1<F, int16_t, int16_t>;
    case Type::s32: return map1<F, int32_t, int32_t>;
    case Type::s64: return map1<F, int64_t, int64_t>;
    case Type::f32: return ftz ? map1<Flushed<F>, float, float> : map1<F, float, float>;
    case Type::f64: return map1<F, double, double>;
    case Type::f16: return map1<F, f16, f16>;
    case Type::bf16: return map1<F, bf16, bf16>;
    case Type::f16x2: return map1<Paired<F, f16>, uint32_t, uint32_t>;
    case Type::bf16x2: return map1<Paired<F, bf16>, uint32_t, uint32_t>;
    default: d.unknown("not for this type");
  }
}
template <class F>
void decode_sign(Decoder& d) {
  const Type t = d.take_type();
  emit1(d, signs<F>(d, t), t);
}
void decode_sad(Decoder& d) {
  const Type t = d.take_type();
  emit3(d, integers3<AbsoluteDifference>(d, t), t, t, t);
}
void decode_copysign(Decoder& d) {
  const Type t = d.take_type();
  if (t != Type::f32 && t != Type::f64) d.unknown("not for this type");
  emit2(d, t == Type::f32 ? map2<CopySign, float, float, float> : map2<CopySign, double, double, double>, t);
}

// Functions of one float. kDouble: also exact ones of f64.
template <class F, bool kDouble>
void decode_function(Decoder& d) {
  const Type t = d.take_type();
  d.take_one_of("approx", "rn");
  const bool ftz = d.take("ftz");
  if (t == Type::f32) return emit1(d, ftz ? map1<Flushed<F>, float, float> : map1<F, float, float>, t);
  if constexpr (kDouble) {
    if (t == Type::f64) return emit1(d, map1<F, double, double>, t);
  } else {
    using R16 = Rounded<F, f16>;
    using RB16 = Rounded<F, bf16>;
    if (t == Type::f16) return emit1(d, map1<R16, f16, f16>, t);
    if (t == Type::bf16) return emit1(d, map1<RB16, bf16, bf16>, t);
    if (t == Type::f16x2) return emit1(d, map1<Paired<R16, f16>, uint32_t, uint32_t>, t);
    if (t == Type::bf16x2) return emit1(d, map1<Paired<RB16, bf16>, uint32_t, uint32_t>, t);
  }
  d.unknown("not for this type");
}

// ---------------------------------------------------------------------------------------------------------------- comparison
enum class Relation { eq, ne, lt, le, gt, ge, equ, neu, ltu, leu, gtu, geu, num, nan };
template <Relation R>
struct Compare {
  template <class T>
  bool operator()(T a, T b) const {
    if constexpr (R == Relation::eq) return a == b;
    else if constexpr (R == Relation::ne) return a < b || a > b;  // false for NaN, as PTX says for the ordered one
    else if constexpr (R == Relation::lt) return a < b;
    else if constexpr (R == Relation::le) return a <= b;
    else if constexpr (R == Relation::gt) return a > b;
    else if constexpr (R == Relation::ge) return a >= b;
    else if constexpr (R == Relation::equ) return !(a < b || a > b);
    else if constexpr (R == Relation::neu) return !(a == b);
    else if constexpr (R == Relation::ltu) return !(a >= b);
    else if constexpr (R == Relation::leu) return !(a > b);
    else if constexpr (R == Relation::gtu) return !(a <= b);
    else if constexpr (R == Relation::geu) return !(a < b);
    else if constexpr (R == Relation::num) return a == a && b == b;
    else return a != a || b != b;
  }
};
template <class F>
struct OfHalves {
  template <class H>
  bool operator()(H a, H b) const { return F{}(to_float(a), to_float(b)); }
};
template <class F>
struct FlushedComparison {
  bool operator()(float a, float b) const { return F{}(flush(a), flush(b)); }
};

// d|q = F(a, b) op c: variant 0 no op, 1 and, 2 or, 3 xor; q is the complement of the comparison, with the same op.
Mask combined(const Warp& w, const Instruction& i, Mask holds) {
  switch (i.variant) {
    case 1: return holds & read_predicate(w, i.c);
    case 2: return holds | read_predicate(w, i.c);
    case 3: return holds ^ read_predicate(w, i.c);
    default: return holds;
  }
}
template <class F, class T>
EMULATOR_CLONES void set_predicate(Warp& w, const Instruction& i, Mask m) {
  const Mask holds = compare<F, T, T>(w, i);
  const Mask p = combined(w, i, holds), q = combined(w, i, ~holds);
  write_predicate(w, i.d, m, p);
  if (i.count == 2) write_predicate(w, i.list[0], m, q);
}
// set: all ones or 1.0 where the comparison holds.
template <class F, class T>
void set_register(Warp& w, const Instruction& i, Mask m) {
  const Mask p = combined(w, i, compare<F, T, T>(w, i));
  auto* d = result<uint32_t>(w, i.d);
  for (int l = 0; l < kLanes; l++) {
    if (m >> l & 1) d[l] = p >> l & 1 ? i.extra : 0;
  }
}

template <bool kPredicate, class F, class T>
constexpr Execute comparing() {
  if constexpr (kPredicate) return set_predicate<F, T>;
  else return set_register<F, T>;
}
template <bool kPredicate, Relation R>
Execute comparison_of(Decoder& d, Type t) {
  using F = Compare<R>;
  if (t == Type::f32) return d.take("ftz") ? comparing<kPredicate, FlushedComparison<F>, float>() : comparing<kPredicate, F, float>();
  if (t == Type::f64) return comparing<kPredicate, F, double>();
  if (t == Type::f16) return comparing<kPredicate, OfHalves<F>, f16>();
  if (t == Type::bf16) return comparing<kPredicate, OfHalves<F>, bf16>();
  if constexpr (R <= Relation::ge) {
    switch (t) {
      case Type::b16:
      case Type::u16: return comparing<kPredicate, F, uint16_t>();
      case Type::s16: return comparing<kPredicate, F, int16_t>();
      case Type::b32:
      case Type::u32: return comparing<kPredicate, F, uint32_t>();
      case Type::s32: return comparing<kPredicate, F, int32_t>();
      case Type::b64:
      case Type::u64: return comparing<kPredicate, F, uint64_t>();
      case Type::s64: return comparing<kPredicate, F, int64_t>();
      default: break;
    }
  }
  d.unknown("not for this type");
}
template <bool kPredicate>
Execute comparison(Decoder& d, std::string_view relation, Type t) {
  using R = Relation;
  if (relation == "eq") return comparison_of<kPredicate, R::eq>(d, t);
  if (relation == "ne") return comparison_of<kPredicate, R::ne>(d, t);
  if (relation == "lt" || relation == "lo") return comparison_of<kPredicate, R::lt>(d, t);
  if (relation == "le" || relation == "ls") return comparison_of<kPredicate, R::le>(d, t);
  if (relation == "gt" || relation == "hi") return comparison_of<kPredicate, R::gt>(d, t);
  if (relation == "ge" || relation == "hs") return comparison_of<kPredicate, R::ge>(d, t);
  if (relation == "equ") return comparison_of<kPredicate, R::equ>(d, t);
  if (relation == "neu") return comparison_of<kPredicate, R::neu>(d, t);
  if (relation == "ltu") return comparison_of<kPredicate, R::ltu>(d, t);
  if (relation == "leu") return comparison_of<kPredicate, R::leu>(d, t);
  if (relation == "gtu") return comparison_of<kPredicate, R::gtu>(d, t);
  if (relation == "geu") return comparison_of<kPredicate, R::geu>(d, t);
  if (relation == "num") return comparison_of<kPredicate, R::num>(d, t);
  if (relation == "nan") return comparison_of<kPredicate, R::nan>(d, t);
  d.unknown("a comparison that is not known");
}
void decode_setp(Decoder& d) {
  const std::string_view relation = d.take_first();
  const int op = d.take_one_of("and", "or", "xor");
  const Type t = d.take_type();
  const Execute f = comparison<true>(d, relation, t);
  const uint32_t a = d.read(1, t), b = d.read(2, t), c = op >= 0 ? d.read(3, Type::pred) : 0;
  const Operand& to = d.operand(0);
  auto& draft = d.emit(f);
  auto& i = draft.instruction;
  i.d = d.write(to, Type::pred), i.a = a, i.b = b, i.c = c, i.variant = static_cast<uint8_t>(op + 1);
  if (!to.second.empty()) {
    Operand second = to;
    second.text = to.second;
    i.count = 2, draft.results.push_back(d.write(second, Type::pred));
  }
}
void decode_set(Decoder& d) {
  const std::string_view relation = d.take_first();
  const int op = d.take_one_of("and", "or", "xor");
  const Type result = d.take_type(), t = d.take_type();
  if (result != Type::u32 && result != Type::s32 && result != Type::f32) d.unknown("not for this type");
  const Execute f = comparison<false>(d, relation, t);
  const uint32_t a = d.read(1, t), b = d.read(2, t), c = op >= 0 ? d.read(3, Type::pred) : 0, to = d.write(0, result);
  auto& i = d.emit(f).instruction;
  i.d = to, i.a = a, i.b = b, i.c = c, i.variant = static_cast<uint8_t>(op + 1);
  i.extra = result == Type::f32 ? 0x3f800000 : 0xffffffff;
}

template <class T>
EMULATOR_CLONES void select(Warp& w, const Instruction& i, Mask m) {
  auto* d = result<T>(w, i.d);
  const auto* a = source<T>(w, i.a);
  const auto* b = source<T>(w, i.b);
  const Mask p = read_predicate(w, i.c);
  EMULATOR_LANES
  for (int l = 0; l < kLanes; l++) {
    const auto chosen = (p & bit_of<T>(l)) ? a[l] : b[l];
    d[l] = (m & bit_of<T>(l)) ? chosen : d[l];
  }
}
void decode_selp(Decoder& d) {
  const Type t = d.take_type();
  const uint32_t a = d.read(1, t), b = d.read(2, t), c = d.read(3, Type::pred), to = d.write(0, t);
  auto& i = d.emit(bytes_of(t) == 8 ? select<uint64_t> : select<uint32_t>).instruction;
  i.d = to, i.a = a, i.b = b, i.c = c;
}
struct SelectBySign {
  template <class T, class C>
  T operator()(T a, T b, C c) const { return c >= 0 ? a : b; }
};
void decode_slct(Decoder& d) {
  const bool ftz = d.take("ftz");
  const Type t = d.take_type(), by = d.take_type();
  if ((by != Type::s32 && by != Type::f32) || bytes_of(t) < 4) d.unknown("not for this type");
  (void)ftz;  // flushes c, and a zero of either sign counts as not negative anyway; -subnormal < 0 without it
  Execute f;
  if (by == Type::s32) f = bytes_of(t) == 8 ? map3<SelectBySign, uint64_t, uint64_t, uint64_t, int32_t> : map3<SelectBySign, uint32_t, uint32_t, uint32_t, int32_t>;
  else if (ftz) d.unknown(".ftz is not known here");
  else f = bytes_of(t) == 8 ? map3<SelectBySign, uint64_t, uint64_t, uint64_t, float> : map3<SelectBySign, uint32_t, uint32_t, uint32_t, float>;
  emit3(d, f, t, t, by);
}

enum class Class { finite, infinite, number, notanumber, normal, subnormal };
template <Class C>
struct Test {
  template <class T>
  bool operator()(T a, T) const {
    switch (C) {
      case Class::finite: return std::isfinite(a);
      case Class::infinite: return std::isinf(a);
      case Class::number: return !std::isnan(a);
      case Class::notanumber: return std::isnan(a);
      case Class::normal: return std::isnormal(a) || a == 0;  // PTX: normal, zero included
      default: return std::fpclassify(a) == FP_SUBNORMAL;
    }
  }
};
template <class T>
Execute test_of(int c) {
  switch (c) {
    case 0: return set_predicate<Test<Class::finite>, T>;
    case 1: return set_predicate<Test<Class::infinite>, T>;
    case 2: return set_predicate<Test<Class::number>, T>;
    case 3: return set_predicate<Test<Class::notanumber>, T>;
    case 4: return set_predicate<Test<Class::normal>, T>;
    default: return set_predicate<Test<Class::subnormal>, T>;
  }
}
void decode_testp(Decoder& d) {
  const int c = d.take_one_of("finite", "infinite", "number", "notanumber", "normal", "subnormal");
  const Type t = d.take_type();
  if (c < 0 || (t != Type::f32 && t != Type::f64)) d.unknown("not for this type");
  const uint32_t a = d.read(1, t), to = d.write(0, Type::pred);
  auto& i = d.emit(t == Type::f32 ? test_of<float>(c) : test_of<double>(c)).instruction;
  i.d = to, i.a = a, i.b = a;
}

}  // namespace

void add_arithmetic(Opcodes& table) {
  table["add"] = decode_sum<Add, AddSaturated, AddTowards>;
  table["sub"] = decode_sum<Subtract, SubtractSaturated, SubtractTowards>;
  table["mul"] = decode_mul;
  table["mul24"] = decode_mul24;
  table["mad"] = decode_mad;
  table["fma"] = decode_fma;
  table["div"] = decode_div;
  table["rem"] = decode_rem;
  table["min"] = decode_extreme<false>;
  table["max"] = decode_extreme<true>;
  table["neg"] = decode_sign<Negate>;
  table["abs"] = decode_sign<Absolute>;
  table["sad"] = decode_sad;
  table["copysign"] = decode_copysign;
  table["rcp"] = decode_function<Reciprocal, true>;
  table["sqrt"] = decode_function<SquareRoot, true>;
  table["rsqrt"] = decode_function<ReciprocalSquareRoot, true>;
  table["ex2"] = decode_function<ExponentialOfTwo, false>;
  table["lg2"] = decode_function<LogarithmOfTwo, false>;
  table["sin"] = decode_function<Sine, false>;
  table["cos"] = decode_function<Cosine, false>;
  table["tanh"] = decode_function<HyperbolicTangent, false>;
  table["setp"] = decode_setp;
  table["set"] = decode_set;
  table["selp"] = decode_selp;
  table["slct"] = decode_slct;
  table["testp"] = decode_testp;
}

}  // namespace emulator
