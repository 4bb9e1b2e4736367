// What instructions of one value a lane have in common: types, ".ftz" and ".sat", pairs of halves, and the choice of a function by type.
//
// ".ftz" takes subnormal sources as zeros of their sign and makes subnormal results zeros.
#pragma once
#include <bit>
#include <type_traits>

#include "decode.h"
#include "lanes.h"
#include "half.h"

namespace emulator {

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

inline bool is_integer(Type t) { return t == Type::u16 || t == Type::s16 || t == Type::u32 || t == Type::s32 || t == Type::u64 || t == Type::s64; }

inline void emit1(Decoder& d, Execute f, Type t) {
  const uint32_t a = d.read(1, t), to = d.write(0, t);
  auto& i = d.emit(f).instruction;
  i.d = to, i.a = a;
}
inline void emit2(Decoder& d, Execute f, Type t) {
  const uint32_t a = d.read(1, t), b = d.read(2, t), to = d.write(0, t);
  auto& i = d.emit(f).instruction;
  i.d = to, i.a = a, i.b = b;
}
inline void emit3(Decoder& d, Execute f, Type result, Type factors, Type addend) {
  const uint32_t a = d.read(1, factors), b = d.read(2, factors), c = d.read(3, addend), to = d.write(0, result);
  auto& i = d.emit(f).instruction;
  i.d = to, i.a = a, i.b = b, i.c = c;
}

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

}  // namespace emulator
