// Products of matrices whose columns lie one after the other, products and sums rounded to f32, in an order that depends on the shape alone.
#pragma once
#include <cstddef>
#include <cstdint>

namespace emulator::cublaslt {

enum class Type { f32, bf16 };
inline size_t bytes_of(Type type) { return type == Type::f32 ? 4 : 2; }

struct Operand {
  const std::byte* data;
  int64_t leading;    // elements from a column to the next
  bool transposed;
  Type type;
};

// sums (rows, columns), dense columns = op(a) (rows, depth) op(b) (depth, columns)
void multiply(const Operand& a, const Operand& b, int64_t rows, int64_t columns, int64_t depth, float* sums);

float load(const std::byte* data, int64_t index, Type type);
void store(std::byte* data, int64_t index, Type type, float value);   // rounded to the nearest, ties to even

}  // namespace emulator::cublaslt
