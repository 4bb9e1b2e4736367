// neg, abs and copysign; min and max.
#include <cmath>

#include "elementwise.h"

namespace emulator {
namespace {

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
struct CopySign {  // copysign d, a, b: sign of a, magnitude of b
  template <class T>
  T operator()(T a, T b) const { return std::copysign(b, a); }
};

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
void decode_copysign(Decoder& d) {
  const Type t = d.take_type();
  if (t != Type::f32 && t != Type::f64) d.unknown("not for this type");
  emit2(d, t == Type::f32 ? map2<CopySign, float, float, float> : map2<CopySign, double, double, double>, t);
}

}  // namespace

void add_signs(Opcodes& table) {
  table["neg"] = decode_sign<Negate>;
  table["abs"] = decode_sign<Absolute>;
  table["copysign"] = decode_copysign;
  table["min"] = decode_extreme<false>;
  table["max"] = decode_extreme<true>;
}

}  // namespace emulator
