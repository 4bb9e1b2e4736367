// Token embedding, with learned positions where there are any, and its backward: of the position table too, which is a table like the other.
#include <algorithm>
#include <cstring>

#include "../core/error.h"
#include "dispatch.h"

namespace fpdt::cpu {

namespace {

// An index of a row, loaded once: operands of a direct call may overlap, or be shared with another thread that writes them,
// and what is then used as an index must be what was compared.
inline int32_t load(const int32_t* indices, long row) { return __atomic_load_n(indices + row, __ATOMIC_RELAXED); }

inline long token_at(const int32_t* tokens, long row, long vocabulary) {
  const int32_t token = load(tokens, row);
  if (token < 0 || token >= vocabulary)
    throw Error("token", "token " + std::to_string(token) + " in row " + std::to_string(row) + " is not in the vocabulary 0 .. " +
                             std::to_string(vocabulary - 1) + "; the text was encoded for another model");
  return token;
}

inline long position_at(const int32_t* positions, long row, long table_rows) {
  const int32_t position = load(positions, row);
  if (position < 0 || position >= table_rows)
    throw Error("token", "position " + std::to_string(position) + " in row " + std::to_string(row) + " is not in the table of positions 0 .. " +
                             std::to_string(table_rows - 1) + "; use a shorter sequence, or a model with more positions");
  return position;
}

// Before anything is written: so that the error names the first wrong row and leaves the outputs alone.
void check_tokens(const int32_t* tokens, long rows, long vocabulary) {
  for (long row = 0; row < rows; row++) token_at(tokens, row, vocabulary);
}

template <class H, class T>
INLINE inline void copy_row(H* __restrict x, const T* __restrict token, long width) {
  for (long i = 0; i < width; i++) x[i] = to<H>(to_f32(token[i]));
}

template <class H, class T>
INLINE inline void add_rows(H* __restrict x, const T* __restrict token, const T* __restrict position, long width) {
  for (long i = 0; i < width; i++) x[i] = to<H>(to_f32(token[i]) + to_f32(position[i]));
}

}  // namespace

void embed(const KernelCall& call, Pool& pool, Path path) {
  const long rows = call.integer(0), width = call.integer(1), vocabulary = call.integer(2), table_rows = call.integer(3);
  const int32_t *tokens = call.as<const int32_t>(1), *positions = call.as<const int32_t>(3);
  check_tokens(tokens, rows, vocabulary);
  for (long row = 0; table_rows && row < rows; row++) position_at(positions, row, table_rows);
  constexpr long kTileRows = 64;
  with_hidden(call.integer(5), call.integer(4), [&](auto t, auto h) {
    using T = decltype(t);
    using H = decltype(h);
    H* x = call.as<H>(0);
    const T *table = call.as<T>(2), *position_table = call.as<T>(4);
    pool.for_each(tiles_of(rows, kTileRows), [&](int, long tile) {
      for (long row = tile * kTileRows; row < std::min(rows, (tile + 1) * kTileRows); row++) {
        const T* token = table + token_at(tokens, row, vocabulary) * width;
        const T* position = table_rows ? position_table + position_at(positions, row, table_rows) * width : nullptr;
        with_path(path, [&]() INLINE {
          position ? add_rows(x + row * width, token, position, width) : copy_row(x + row * width, token, width);
        });
      }
    });
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
