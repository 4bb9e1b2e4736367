// Products of matrices: cuBLASLt's where it has an algorithm, else a small kernel of our own (gemm_any.cu), tens of times slower. cuBLASLt has one for
// every bf16 product whose sizes, strides and addresses are multiples of 8 elements, as those of models are: one without is an error and not our
// kernel's. One Gemms a device, shared by its streams.
#pragma once
#include <cuda_runtime_api.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "cublaslt.h"

namespace fpdt::cuda {

// A matrix in memory: element (i, j) at i * stride + j, or, transposed, at j * stride + i.
struct Matrix {
  const void* data;
  int64_t stride;
  bool transposed;
};

// C (rows, columns) = A (rows, depth) B (depth, columns) + added (rows, columns) + bias (columns), summed in f32 and rounded once.
struct Product {
  int64_t rows, columns, depth;
  Matrix a, b;
  bool bf16;                      // dtype of a, b and bias; else f32
  void* c;                        // dense
  bool c_bf16;                    // dtype of c and added
  const void* added = nullptr;    // dense; may be c
  const void* bias = nullptr;     // of the dtype of c, or nullptr
};

// Bytes of workspace for a product with this result: what the heuristics may ask for. Twin of kernel/src/plan/cuda-workspace.ts.
size_t gemm_workspace_bytes(int64_t rows, int64_t columns);

class Gemms {
 public:
  // Of the device that is current when `multiply` is called. Costs nothing: the library is loaded and asked at the first product. With
  // FPDT_CUBLASLT=none all products are our own kernel's: slow, for tests and where the library cannot be had.
  Gemms();
  ~Gemms();
  Gemms(const Gemms&) = delete;
  Gemms& operator=(const Gemms&) = delete;

  // Puts a product on a stream. Any thread may call it. Throws Error "native".
  void multiply(const Product& product, void* workspace, size_t workspace_bytes, cudaStream_t stream);

 private:
  struct Key {
    int64_t rows, columns, depth, a_stride, b_stride;
    uint64_t workspace_bytes;
    uint16_t a_alignment, b_alignment, added_alignment, c_alignment, bias_alignment;  // bytes that divide the address, 256 at most; 0: no bias
    bool a_transposed, b_transposed, bf16, c_bf16;
    auto operator<=>(const Key&) const = default;
  };
  class Plan;
  Plan& plan(const Key& key, const Product& product);

  const bool without_library_;
  std::mutex mutex_;
  cublaslt::Context* context_ = nullptr;
  std::map<Key, std::unique_ptr<Plan>> plans_;
};

// gemm_any.cu: the same for every shape and alignment, without a library.
void multiply_any(const Product& product, cudaStream_t stream);
// c (rows, columns) = added + bias, where added may be nullptr or c: f32 in c and added, bf16 in bias.
void spread_bias(float* c, const float* added, const void* bias, int64_t rows, int64_t columns, cudaStream_t stream);

}  // namespace fpdt::cuda
