// Token embedding and its backward.
#include <algorithm>
#include <cstring>

#include "../core/error.h"
#include "dispatch.h"

namespace fpdt::cpu {

namespace {

[[noreturn]] void refuse_token(int32_t token, long row, long vocabulary) {
  throw Error("token", "token " + std::to_string(token) + " in row " + std::to_string(row) +
                           " is not in the vocabulary 0 .. " + std::to_string(vocabulary - 1) + "; the text was encoded for another model");
}

// The token of a row, loaded once: operands of a direct call may overlap, or be shared with another thread that writes them,
// and what is then used as an index must be what was compared.
inline long token_at(const int32_t* tokens, long row, long vocabulary) {
  const int32_t token = __atomic_load_n(tokens + row, __ATOMIC_RELAXED);
  if (token < 0 || token >= vocabulary) refuse_token(token, row, vocabulary);
  return token;
}

// Before anything is written: so that the error names the first wrong row and leaves the outputs alone.
void check_tokens(const int32_t* tokens, long rows, long vocabulary) {
  for (long row = 0; row < rows; row++) token_at(tokens, row, vocabulary);
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
      std::memcpy(call.as<char>(0) + t * row_bytes, call.as<char>(2) + token_at(tokens, t, vocabulary) * row_bytes, row_bytes);
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
          float* __restrict sum = dtable + token_at(tokens, row, vocabulary) * width + from;
          const T* __restrict value = dx + row * width + from;
          for (long i = 0; i < columns; i++) sum[i] += to_f32(value[i]);
        }
      });
    });
  });
}

}  // namespace fpdt::cpu
