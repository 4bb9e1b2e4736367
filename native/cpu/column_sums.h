// Sums over rows, one a column: gradients of norms' weights and of biases.
//
// Rows are cut into tiles by the shape alone, so that any number of threads gives the same bits. A tile adds rows in f32, but
// only so many that their sum stays exact to a few ulp, and then in f64: the error does not grow with the sequence.
#pragma once
#include <algorithm>

#include "../core/error.h"
#include "dispatch.h"

namespace fpdt::cpu {

class ColumnSums {
 public:
  ColumnSums(const KernelCall& call, const Pool& pool, long rows, long columns)
      : rows_(rows), columns_(columns), tile_rows_(std::max(kTileRows, tiles_of(rows, kMostTiles))), tiles_(tiles_of(rows, tile_rows_)) {
    // kernel/src/plan/cpu-workspace.ts states the same sum.
    const size_t bytes = columns * (sizeof(double) * tiles_ + sizeof(float) * pool.threads());
    FPDT_CHECK(call.workspace_bytes >= bytes, "column sums in a workspace of " << call.workspace_bytes << " bytes, " << bytes << " needed");
    totals_ = static_cast<double*>(call.workspace);
    lines_ = reinterpret_cast<float*>(totals_ + tiles_ * columns);
  }

  // rows(from, to, line) adds rows [from, to) to `line`, a number for each column; it must be INLINE.
  template <class Rows>
  void add(Pool& pool, Path path, Rows rows) {
    pool.for_each(tiles_, [&](int thread, long tile) {
      double* total = totals_ + tile * columns_;
      float* line = lines_ + thread * columns_;
      const long end = std::min(rows_, (tile + 1) * tile_rows_);
      with_path(path, [&]() INLINE {
        std::fill_n(total, columns_, 0.0);
        for (long from = tile * tile_rows_; from < end; from += kBlockRows) {
          std::fill_n(line, columns_, 0.f);
          rows(from, std::min(end, from + kBlockRows), line);
          for (long i = 0; i < columns_; i++) total[i] += line[i];
        }
      });
    });
  }

  // Sums of `count` columns from `from` on, written to `out` or added to it. Tiles are added in their order.
  void store(Pool& pool, float* out, long from, long count, bool first) const {
    constexpr long kColumns = 256;
    pool.for_each(tiles_of(count, kColumns), [&](int, long block) {
      for (long i = block * kColumns; i < std::min(count, (block + 1) * kColumns); i++) {
        double sum = 0;
        for (long tile = 0; tile < tiles_; tile++) sum += totals_[tile * columns_ + from + i];
        out[i] = (first ? 0.f : out[i]) + static_cast<float>(sum);
      }
    });
  }

 private:
  static constexpr long kTileRows = 16, kMostTiles = 64;  // at least so many rows, unless that makes more tiles
  static constexpr long kBlockRows = 64;                  // added in f32

  const long rows_, columns_, tile_rows_, tiles_;
  double* totals_;  // (tiles, columns)
  float* lines_;    // (threads, columns)
};

}  // namespace fpdt::cpu
