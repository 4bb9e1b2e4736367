// Cross entropy of rows of logits and its gradient in one visit, in place.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "../core/error.h"
#include "dispatch.h"
#include "exp.h"

namespace fpdt::cpu {

namespace {

// Elements worked on at a time: their f32 sum is short enough to stay exact to a few ulp before it enters the f64 sum.
constexpr long kBlock = 512;

INLINE inline float maximum(const float* x, long n) {
  float most = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : most)
  for (long i = 0; i < n; i++) most = x[i] > most ? x[i] : most;
  return most;
}

// x = e^(x - most); returns the sum. A NaN or an infinity among the logits makes the sum NaN.
INLINE inline double exponentials(float* x, long n, float most) {
  double total = 0;
  for (long from = 0; from < n; from += kBlock) {
    float sum = 0;
    const long count = std::min(kBlock, n - from);
#pragma omp simd reduction(+ : sum)
    for (long i = 0; i < count; i++) sum += x[from + i] = exp_f32(x[from + i] - most);
    total += sum;
  }
  return total;
}

// Row of T at the first byte of a row of f32. Block by block through a copy: what is written lies before what is yet to be read.
template <class T>
INLINE inline void narrow_scaled(void* row, long n, float scale) {
  float wide[kBlock];
  T narrow[kBlock];
  for (long from = 0; from < n; from += kBlock) {
    const long count = std::min(kBlock, n - from);
    std::memcpy(wide, static_cast<const float*>(row) + from, sizeof(float) * count);
    for (long i = 0; i < count; i++) narrow[i] = to<T>(wide[i] * scale);
    std::memcpy(static_cast<T*>(row) + from, narrow, sizeof(T) * count);
  }
}

// The label of a row, loaded once: operands of a direct call may overlap, or be shared with another thread that writes them,
// and what is then used as an index must be what was compared.
inline int32_t label_at(const int32_t* labels, long row, long vocabulary) {
  const int32_t label = __atomic_load_n(labels + row, __ATOMIC_RELAXED);
  if (label < -1 || label >= vocabulary)
    throw Error("token", "label " + std::to_string(label) + " in row " + std::to_string(row) + " is not in the vocabulary 0 .. " +
                             std::to_string(vocabulary - 1) + " and not -1 (ignored); the text was encoded for another model");
  return label;
}

// Returns the row's part of the loss.
template <class T>
INLINE inline double row_loss(float* logits, long n, int32_t label, double inverse_valid) {
  T* gradient = reinterpret_cast<T*>(logits);
  if (label == -1) {
    std::memset(static_cast<void*>(gradient), 0, sizeof(T) * n);
    return 0;
  }
  const float most = maximum(logits, n), labelled = logits[label];
  const double sum = exponentials(logits, n, most);
  const float at_label = (logits[label] / sum - 1) * inverse_valid;
  narrow_scaled<T>(logits, n, inverse_valid / sum);
  const T rounded = to<T>(at_label);
  std::memcpy(static_cast<void*>(gradient + label), &rounded, sizeof(T));
  return (std::log(sum) + (static_cast<double>(most) - labelled)) * inverse_valid;
}

}  // namespace

void crossEntropy(const KernelCall& call, Pool& pool, Path path) {
  const long rows = call.integer(0), vocabulary = call.integer(1);
  const bool first = call.integer(2);
  float* logits = call.as<float>(0);
  double* loss = call.as<double>(1);
  const int32_t* labels = call.as<const int32_t>(2);
  const double inverse_valid = call.step[3];
  FPDT_CHECK(call.workspace_bytes >= sizeof(double) * rows, "crossEntropy workspace of " << call.workspace_bytes << " bytes");
  for (long row = 0; row < rows; row++) label_at(labels, row, vocabulary);  // before anything is written
  double* row_losses = static_cast<double*>(call.workspace);
  with_dtype(call.integer(3), [&](auto t) {
    using T = decltype(t);
    pool.for_each(rows, [&](int, long row) {
      const int32_t label = label_at(labels, row, vocabulary);
      with_path(path, [&]() INLINE {
        row_losses[row] = row_loss<T>(logits + row * vocabulary, vocabulary, label, inverse_valid);
      });
    });
  });
  double sum = first ? 0 : *loss;
  for (long row = 0; row < rows; row++) sum += row_losses[row];
  *loss = sum;
}

}  // namespace fpdt::cpu
