#include "product.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

namespace emulator::cublaslt {
namespace {

// A tile of kTileRows x kTileColumns sums stays in registers while kDepth products are added to each.
constexpr int64_t kTileRows = 16, kTileColumns = 6, kDepth = 256;
typedef float Rows __attribute__((vector_size(kTileRows * sizeof(float)), aligned(4)));

// sums [column][row] += panels a [depth][kTileRows], b [depth][kTileColumns]. The same code for what the processor has; products are rounded before they are
// added, so the bits are the same in all of them.
__attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default")))
void add_tile(const float* __restrict a, const float* __restrict b, int64_t depth, float* __restrict sums) {
  Rows* const columns = reinterpret_cast<Rows*>(sums);
  Rows c0 = columns[0], c1 = columns[1], c2 = columns[2], c3 = columns[3], c4 = columns[4], c5 = columns[5];
  for (int64_t d = 0; d < depth; ++d, a += kTileRows, b += kTileColumns) {
    const Rows rows = *reinterpret_cast<const Rows*>(a);
    c0 += rows * b[0];
    c1 += rows * b[1];
    c2 += rows * b[2];
    c3 += rows * b[3];
    c4 += rows * b[4];
    c5 += rows * b[5];
  }
  columns[0] = c0, columns[1] = c1, columns[2] = c2, columns[3] = c3, columns[4] = c4, columns[5] = c5;
}

float at(const Operand& operand, int64_t row, int64_t column) {
  return load(operand.data, operand.transposed ? row * operand.leading + column : column * operand.leading + row, operand.type);
}

}  // namespace

float load(const std::byte* data, int64_t index, Type type) {
  if (type == Type::f32) {
    float value;
    std::memcpy(&value, data + index * 4, 4);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, data + index * 2, 2);
  return std::bit_cast<float>(uint32_t{bits} << 16);
}

void store(std::byte* data, int64_t index, Type type, float value) {
  if (type == Type::f32) {
    std::memcpy(data + index * 4, &value, 4);
    return;
  }
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint16_t rounded = std::isnan(value) ? 0x7fff : static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  std::memcpy(data + index * 2, &rounded, 2);
}

void multiply(const Operand& a, const Operand& b, int64_t rows, int64_t columns, int64_t depth, float* sums) {
  const int64_t row_tiles = (rows + kTileRows - 1) / kTileRows;
  std::vector<float> packed_a(static_cast<size_t>(row_tiles * kTileRows * kDepth)), packed_b(kTileColumns * kDepth);
  std::fill_n(sums, rows * columns, 0.f);
  for (int64_t first = 0; first < depth; first += kDepth) {
    const int64_t part = std::min(kDepth, depth - first);
    for (int64_t tile = 0; tile < row_tiles; ++tile) {
      float* panel = packed_a.data() + tile * kTileRows * kDepth;
      for (int64_t d = 0; d < part; ++d) {
        for (int64_t r = 0; r < kTileRows; ++r) {
          const int64_t row = tile * kTileRows + r;
          panel[d * kTileRows + r] = row < rows ? at(a, row, first + d) : 0;
        }
      }
    }
    for (int64_t column = 0; column < columns; column += kTileColumns) {
      const int64_t some = std::min(kTileColumns, columns - column);
      for (int64_t d = 0; d < part; ++d) {
        for (int64_t c = 0; c < kTileColumns; ++c) packed_b[static_cast<size_t>(d * kTileColumns + c)] = c < some ? at(b, first + d, column + c) : 0;
      }
      for (int64_t tile = 0; tile < row_tiles; ++tile) {
        const int64_t row = tile * kTileRows, height = std::min(kTileRows, rows - row);
        float block[kTileColumns * kTileRows] = {};
        for (int64_t c = 0; c < some; ++c) std::copy_n(sums + (column + c) * rows + row, height, block + c * kTileRows);
        add_tile(packed_a.data() + tile * kTileRows * kDepth, packed_b.data(), part, block);
        for (int64_t c = 0; c < some; ++c) std::copy_n(block + c * kTileRows, height, sums + (column + c) * rows + row);
      }
    }
  }
}

}  // namespace emulator::cublaslt
