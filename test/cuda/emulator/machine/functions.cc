// The functions of one float: rcp sqrt rsqrt ex2 lg2 sin cos tanh. ".approx" and ".rn" are the value rounded to nearest, of double precision for the
// approximate ones, hence better than a GPU's.
#include <cmath>

#include "elementwise.h"
#include "mathematics.h"

namespace emulator {
namespace {

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

}  // namespace

void add_functions(Opcodes& table) {
  table["rcp"] = decode_function<Reciprocal, true>;
  table["sqrt"] = decode_function<SquareRoot, true>;
  table["rsqrt"] = decode_function<ReciprocalSquareRoot, true>;
  table["ex2"] = decode_function<ExponentialOfTwo, false>;
  table["lg2"] = decode_function<LogarithmOfTwo, false>;
  table["sin"] = decode_function<Sine, false>;
  table["cos"] = decode_function<Cosine, false>;
  table["tanh"] = decode_function<HyperbolicTangent, false>;
}

}  // namespace emulator
