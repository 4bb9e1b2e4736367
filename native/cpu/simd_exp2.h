// 2^t in the vectors of simd_avx2.h or simd_avx512.h. Include after one of them, with its target.
#pragma once
#include "dispatch.h"

namespace fpdt::cpu {
namespace {

// To about one unit in the last place, and 2^0 is 1: the polynomial of Cephes' exp2f on [-1/2, 1/2].
template <class V>
INLINE typename V::Vector exp2(typename V::Vector t) {
  t = V::clamp_exponent(t);
  const typename V::Vector n = V::round(t), f = V::sub(t, n);
  typename V::Vector p = V::all(1.535336188319500e-4f);
  p = V::fmadd(p, f, V::all(1.339887440266574e-3f));
  p = V::fmadd(p, f, V::all(9.618437357674640e-3f));
  p = V::fmadd(p, f, V::all(5.550332471162809e-2f));
  p = V::fmadd(p, f, V::all(2.402264791363012e-1f));
  p = V::fmadd(p, f, V::all(6.931472028550421e-1f));
  p = V::fmadd(p, f, V::all(1.0f));
  return V::scale_exponent(p, n);
}

}  // namespace
}  // namespace fpdt::cpu
