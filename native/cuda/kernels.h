// The CUDA kernels, one function each, by the names of core/kernels.h: the twin of cpu/kernels.h. Each puts one op on a stream and returns
// at once. A kernel that needs a workspace says how much in a function beside it; kernel/src/plan/cuda-workspace.ts says the same.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

#include "../core/kernels.h"

namespace fpdt::cuda {

class Gemms;  // gemm.h: plans of cuBLASLt, one set a device

// What a kernel found wrong with its data, written by device code into pinned memory and thrown by the stream that next waits for it.
// The first one stays.
struct Fault {
  unsigned set;       // 0: nothing; else the Kernel's number, plus kPositionFault where the value is a position and not a token or label
  long long row;      // of the operand
  long long value;    // that cannot be
  long long limit;    // one above the largest that can be
};

inline constexpr unsigned kPositionFault = 0x100;

// Where and on what an op runs.
struct Launch {
  cudaStream_t stream;
  int device;
  int multiprocessors;
  int shared_per_block;   // bytes that a block may opt in to
  Gemms* gemms;
  Fault* fault;           // readable by host and device
};

using KernelFunction = void (*)(const KernelCall& call, const Launch& launch);

void embed(const KernelCall&, const Launch&);            // embedding.cu
void embedBackward(const KernelCall&, const Launch&);
void norm(const KernelCall&, const Launch&);             // norm.cu
void normBackward(const KernelCall&, const Launch&);
void layerNorm(const KernelCall&, const Launch&);        // layer_norm.cu
void layerNormBackward(const KernelCall&, const Launch&);
void project(const KernelCall&, const Launch&);          // gemm.cc
void projectBackward(const KernelCall&, const Launch&);
void weightGradient(const KernelCall&, const Launch&);
void biasGradient(const KernelCall&, const Launch&);     // bias_gradient.cu
void rotary(const KernelCall&, const Launch&);           // rotary.cu
void rotaryBackward(const KernelCall&, const Launch&);
void attend(const KernelCall&, const Launch&);           // attention.cc: chooses among attention_{forward,backward,any}.cu
void attendBackward(const KernelCall&, const Launch&);
void finish(const KernelCall&, const Launch&);           // softmax_merge.cu
void merge(const KernelCall&, const Launch&);
void delta(const KernelCall&, const Launch&);
void swiglu(const KernelCall&, const Launch&);           // activation.cu
void swigluBackward(const KernelCall&, const Launch&);
void gelu(const KernelCall&, const Launch&);
void geluBackward(const KernelCall&, const Launch&);
void round(const KernelCall&, const Launch&);            // round.cu
void crossEntropy(const KernelCall&, const Launch&);     // cross_entropy.cu
void zero(const KernelCall&, const Launch&);             // optimizer.cu
void squaredNorm(const KernelCall&, const Launch&);
void clip(const KernelCall&, const Launch&);
void adamW(const KernelCall&, const Launch&);

KernelFunction kernel_function(Kernel kernel);           // kernels.cc

}  // namespace fpdt::cuda
