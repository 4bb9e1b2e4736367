// f32 to bf16: what a gradient of an f32 hidden state becomes where it enters a product of bf16.
#include <algorithm>

#include "dispatch.h"

namespace fpdt::cpu {

void round(const KernelCall& call, Pool& pool, Path path) {
  constexpr long kTileElements = 1 << 15;
  const long count = call.integer(0);
  bf16* out = call.as<bf16>(0);
  const float* x = call.as<float>(1);
  pool.for_each(tiles_of(count, kTileElements), [&](int, long tile) {
    const long from = tile * kTileElements, elements = std::min(kTileElements, count - from);
    with_path(path, [&]() INLINE {
      bf16* __restrict to = out + from;
      const float* __restrict values = x + from;
      for (long i = 0; i < elements; i++) to[i] = to_bf16(values[i]);
    });
  });
}

}  // namespace fpdt::cpu
