// The gradient of a bias: sums of the columns of dout.
#include "column_sums.h"

namespace fpdt::cpu {

void biasGradient(const KernelCall& call, Pool& pool, Path path) {
  const long rows = call.integer(0), outputs = call.integer(1);
  const bool first = call.integer(2);
  ColumnSums sums(call, pool, rows, outputs);
  with_dtype(call.integer(3), [&](auto t) {
    using T = decltype(t);
    const T* dout = call.as<T>(1);
    sums.add(pool, path, [=](long from, long to, float* __restrict line) INLINE {
      for (long r = from; r < to; r++)
        for (long i = 0; i < outputs; i++) line[i] += to_f32(dout[r * outputs + i]);
    });
  });
  sums.store(pool, call.as<float>(0), 0, outputs, first);
}

}  // namespace fpdt::cpu
