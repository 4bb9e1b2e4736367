// The CPU kernels, one function each, by the names of core/kernels.h. Each runs a whole op on the pool and returns when it
// is done; the caller holds a turn. `Path` chooses instructions at run time; every kernel works on every path.
#pragma once
#include <string>

#include "../core/kernels.h"
#include "pool.h"

namespace fpdt::cpu {

enum class Path { scalar, avx2, avx512bf16 };
// The best path of this processor, or the named one; throws Error "native" when the processor lacks it.
Path choose_path(const std::string& name);
const char* path_name(Path path);

using KernelFunction = void (*)(const KernelCall& call, Pool& pool, Path path);

void embed(const KernelCall&, Pool&, Path);            // embedding.cc
void embedBackward(const KernelCall&, Pool&, Path);
void norm(const KernelCall&, Pool&, Path);             // norm.cc
void normBackward(const KernelCall&, Pool&, Path);
void layerNorm(const KernelCall&, Pool&, Path);        // layer_norm.cc
void layerNormBackward(const KernelCall&, Pool&, Path);
void project(const KernelCall&, Pool&, Path);          // gemm.cc
void projectBackward(const KernelCall&, Pool&, Path);
void weightGradient(const KernelCall&, Pool&, Path);
void biasGradient(const KernelCall&, Pool&, Path);     // bias_gradient.cc
void rotary(const KernelCall&, Pool&, Path);           // rotary.cc
void rotaryBackward(const KernelCall&, Pool&, Path);
void attend(const KernelCall&, Pool&, Path);           // attention.cc
void attendBackward(const KernelCall&, Pool&, Path);
void finish(const KernelCall&, Pool&, Path);           // softmax_merge.cc
void merge(const KernelCall&, Pool&, Path);
void delta(const KernelCall&, Pool&, Path);
void swiglu(const KernelCall&, Pool&, Path);           // activation.cc
void swigluBackward(const KernelCall&, Pool&, Path);
void gelu(const KernelCall&, Pool&, Path);
void geluBackward(const KernelCall&, Pool&, Path);
void round(const KernelCall&, Pool&, Path);            // round.cc
void crossEntropy(const KernelCall&, Pool&, Path);     // cross_entropy.cc
void zero(const KernelCall&, Pool&, Path);             // optimizer.cc
void squaredNorm(const KernelCall&, Pool&, Path);
void clip(const KernelCall&, Pool&, Path);
void adamW(const KernelCall&, Pool&, Path);

KernelFunction kernel_function(Kernel kernel);         // kernels.cc

}  // namespace fpdt::cpu
