// The slice of cuBLASLt that products need, declared here and loaded when the first product runs: neither the build nor a machine without a GPU
// needs the library (540 MB). Names, values and layouts are those of cublasLt.h of CUDA 12 and 13, whose ABI they are; test/cuda/cublaslt-header.cc
// compares them where that header is installed.
#pragma once
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace fpdt::cuda::cublaslt {

using Status = int;                       // cublasStatus_t
inline constexpr Status kSuccess = 0;
inline constexpr Status kNotSupported = 15;

struct Context;                           // cublasLtHandle_t is a pointer to it; the others likewise
struct MatmulDesc;
struct MatrixLayout;
struct Preference;
struct Algorithm {                        // cublasLtMatmulAlgo_t: chosen for a shape, valid as long as the library is loaded
  uint64_t data[8];
};
struct Choice {                           // cublasLtMatmulHeuristicResult_t
  Algorithm algorithm;
  size_t workspace_bytes;
  Status state;
  float waves;
  int reserved[4];
};

enum DataType : int { kF32 = 0, kBf16 = 14 };                       // cudaDataType
enum ComputeType : int { kComputeF32 = 68 };                        // f32 products and sums, without tf32
enum Operation : int32_t { kAsIs = 0, kTransposed = 1 };
enum Epilogue : uint32_t { kNothing = 1, kBias = 4 };
enum DescAttribute : int { kOperationA = 3, kOperationB = 4, kEpilogue = 7, kBiasPointer = 8 };
enum PreferenceAttribute : int { kMostWorkspace = 1, kReductions = 3, kAlignmentA = 5, kAlignmentB = 6, kAlignmentC = 7, kAlignmentD = 8 };
// Sums that are split over depth: in the order of the parts, in f32, in the workspace. The other schemes round parts to the output's type.
inline constexpr uint32_t kReduceInF32 = 2;

// The functions, by their names without `cublasLt`.
struct Library {
  size_t (*GetVersion)();
  const char* (*GetStatusString)(Status);
  Status (*Create)(Context**);
  Status (*Destroy)(Context*);
  Status (*MatmulDescCreate)(MatmulDesc**, ComputeType, DataType scale);
  Status (*MatmulDescDestroy)(MatmulDesc*);
  Status (*MatmulDescSetAttribute)(MatmulDesc*, DescAttribute, const void* value, size_t bytes);
  Status (*MatrixLayoutCreate)(MatrixLayout**, DataType, uint64_t rows, uint64_t columns, int64_t leading);   // columns lie one after the other
  Status (*MatrixLayoutDestroy)(MatrixLayout*);
  Status (*MatmulPreferenceCreate)(Preference**);
  Status (*MatmulPreferenceDestroy)(Preference*);
  Status (*MatmulPreferenceSetAttribute)(Preference*, PreferenceAttribute, const void* value, size_t bytes);
  Status (*MatmulAlgoGetHeuristic)(Context*, MatmulDesc*, MatrixLayout* a, MatrixLayout* b, MatrixLayout* c, MatrixLayout* d, Preference*, int most, Choice*, int* found);
  Status (*Matmul)(Context*, MatmulDesc*, const void* alpha, const void* a, MatrixLayout*, const void* b, MatrixLayout*, const void* beta, const void* c, MatrixLayout*, void* d,
                   MatrixLayout*, const Algorithm*, void* workspace, size_t workspace_bytes, cudaStream_t);
  std::string where;                      // file, or "the process"
};

// Loads it at the first call, one for the process: functions that the process already has; the file FPDT_CUBLASLT; libcublasLt.so of this CUDA version or its
// neighbour, from the system, from the Python environment in use and from the repository's .venv. The first of version 12 or 13 that starts on the current
// device is taken. Throws Error "native" with what was wrong with each and the command that installs it.
const Library& library();

}  // namespace fpdt::cuda::cublaslt
