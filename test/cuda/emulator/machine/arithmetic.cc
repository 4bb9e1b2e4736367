// add sub mul mul24 mad fma div rem sad. ".approx", ".full", ".rn" all are the value rounded to nearest, hence better than a GPU's.
#include <algorithm>
#include <cmath>
#include <limits>

#include "elementwise.h"
#include "rounding.h"

namespace emulator {
namespace {

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
struct AbsoluteDifference {
  template <class T>
  T operator()(T a, T b, T c) const {
    using U = Wrapping<T>;
    const U difference = a < b ? static_cast<U>(b) - static_cast<U>(a) : static_cast<U>(a) - static_cast<U>(b);
    return static_cast<T>(static_cast<U>(c) + difference);
  }
};

template <template <Rounding> class F>
Execute towards2(Decoder& d, Type t, int rounding) {
  if (t != Type::f32) d.unknown("a rounding that is not known here");
  using Z = F<Rounding::zero>;
  using M = F<Rounding::down>;
  using P = F<Rounding::up>;
  if (d.take("ftz")) return rounding == 0 ? map2<Flushed<Z>, float, float, float> : rounding == 1 ? map2<Flushed<M>, float, float, float> : map2<Flushed<P>, float, float, float>;
  return rounding == 0 ? map2<Z, float, float, float> : rounding == 1 ? map2<M, float, float, float> : map2<P, float, float, float>;
}
Type widened(Type t) {
  switch (t) {
    case Type::u16: return Type::u32;
    case Type::s16: return Type::s32;
    case Type::u32: return Type::u64;
    case Type::s32: return Type::s64;
    default: return Type::none;
  }
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
void decode_sad(Decoder& d) {
  const Type t = d.take_type();
  emit3(d, integers3<AbsoluteDifference>(d, t), t, t, t);
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
  table["sad"] = decode_sad;
}

}  // namespace emulator
