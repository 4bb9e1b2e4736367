// Token embedding and its backward.
#include <algorithm>
#include <cstring>

#include "../core/error.h"
#include "dispatch.h"

namespace fpdt::cpu {

namespace {

// Before anything is read or written by a token: all of them, so that the error names the first wrong row.
void check_tokens(const int32_t* tokens, long rows, long vocabulary) {
  for (long t = 0; t < rows; t++)
    if (tokens[t] < 0 || tokens[t] >= vocabulary)
      throw Error("token", "token " + std::to_string(tokens[t]) + " in row " + std::to_string(t) +
                               " is not in the vocabulary 0 .. " + std::to_string(vocabulary - 1) + "; the text was encoded for another model");
}

}  // namespace

void embed(const KernelCall& call, Pool& pool, Path) {
  const long rows = call.integer(0), width = call.integer(1), vocabulary = call.integer(2);
  const int32_t* tokens = call.as<const int32_t>(1);
  check_tokens(tokens, rows, vocabulary);
  const size_t row_bytes = width * (call.integer(3) ? sizeof(bf16) : sizeof(float));
  constexpr long kTileRows = 64;
  pool.for_each(tiles_of(rows, kTileRows), [&](int, long tile) {
    for (long t = tile * kTileRows; t < std::min(rows, (tile + 1) * kTileRows); t++)
      std::memcpy(call.as<char>(0) + t * row_bytes, call.as<char>(2) + tokens[t] * row_bytes, row_bytes);
  });
}

// Equal tokens add to the same row of dtable: threads own columns, and every column sees the tokens in their order.
void embedBackward(const KernelCall& call, Pool& pool, Path path) {
  const long rows = call.integer(0), width = call.integer(1), vocabulary = call.integer(2);
  const bool first = call.integer(3);
  float* dtable = call.as<float>(0);
  const int32_t* tokens = call.as<const int32_t>(2);
  check_tokens(tokens, rows, vocabulary);
  if (first) {
    constexpr long kTileRows = 256;
    pool.for_each(tiles_of(vocabulary, kTileRows), [&](int, long tile) {
      const long from = tile * kTileRows, to = std::min(vocabulary, from + kTileRows);
      std::memset(dtable + from * width, 0, sizeof(float) * (to - from) * width);
    });
  }
  constexpr long kColumns = 32;  // two cache lines of dtable, one of dx
  with_dtype(call.integer(4), [&](auto t) {
    using T = decltype(t);
    const T* dx = call.as<T>(1);
    pool.for_each(tiles_of(width, kColumns), [&](int, long block) {
      const long from = block * kColumns, columns = std::min(width - from, kColumns);
      with_path(path, [&]() INLINE {
        for (long row = 0; row < rows; row++) {
          float* __restrict sum = dtable + tokens[row] * width + from;
          const T* __restrict value = dx + row * width + from;
          for (long i = 0; i < columns; i++) sum[i] += to_f32(value[i]);
        }
      });
    });
  });
}

}  // namespace fpdt::cpu
