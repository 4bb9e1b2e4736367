// Runs a loop nest with the instructions of a path, and on the compute dtype.
//
// with_path(path, [&]() INLINE { ... }) compiles the body once per path: it is inlined into a function with that target, and
// the compiler vectorises its plain loops there. A reduction says `#pragma omp simd reduction(...)` (-fopenmp-simd), which
// permits lanes; their order is fixed for a path. Helpers called in the body must be INLINE too: a function that stands
// alone is compiled for the baseline.
#pragma once
#include "bf16.h"
#include "kernels.h"

#define INLINE __attribute__((always_inline))

namespace fpdt::cpu {

#ifdef __x86_64__
template <class Body>
__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma,prefer-vector-width=512"))) void in_avx512(Body& body) {
  body();
}
template <class Body>
__attribute__((target("avx2,fma"))) void in_avx2(Body& body) {
  body();
}
#endif

template <class Body>
void with_path(Path path, Body&& body) {
  switch (path) {
#ifdef __x86_64__
    case Path::avx512bf16: return in_avx512(body);
    case Path::avx2: return in_avx2(body);
#endif
    default: return body();
  }
}

// with_dtype(is_bf16, [&](auto t) { using T = decltype(t); ... })
template <class Body>
void with_dtype(bool is_bf16, Body&& body) {
  is_bf16 ? body(bf16{}) : body(float{});
}

// with_hidden(is_bf16, hidden_f32, [&](auto t, auto h) { using T = decltype(t); using H = decltype(h); ... }): H is T or f32.
template <class Body>
void with_hidden(bool is_bf16, bool hidden_f32, Body&& body) {
  is_bf16 ? hidden_f32 ? body(bf16{}, float{}) : body(bf16{}, bf16{}) : body(float{}, float{});
}

// How many tiles of `size` cover n.
inline long tiles_of(long n, long size) { return (n + size - 1) / size; }

}  // namespace fpdt::cpu
