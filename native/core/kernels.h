// The compute kernels every backend has, by number: the twin of kernel/src/schedule/kernels.ts, entry for entry.
// Operands arrive in the order of that table (nullptr = optional operand not given), then the workspace; numbers arrive as
// doubles in the order of `parameterNames`. The equations, shapes and dtypes are stated there and not repeated here.
#pragma once
#include <cstdint>
#include <span>

namespace fpdt {

enum class Kernel : uint16_t {
  embed = 1,
  embedBackward = 2,
  norm = 3,
  normBackward = 4,
  project = 5,
  projectBackward = 6,
  weightGradient = 7,
  rotary = 8,
  rotaryBackward = 9,
  attend = 10,
  finish = 11,
  merge = 12,
  delta = 13,
  attendBackward = 14,
  swiglu = 15,
  swigluBackward = 16,
  crossEntropy = 17,
  zero = 18,
  squaredNorm = 19,
  clip = 20,
  adamW = 21,
  layerNorm = 22,
  layerNormBackward = 23,
  biasGradient = 24,
  gelu = 25,
  geluBackward = 26,
  round = 27,
};

struct KernelInfo {
  Kernel kernel;
  const char* name;
  int operands;    // without the workspace
  int written;     // the first so many operands are written or added to; the others are only read
  int parameters;
};

inline constexpr KernelInfo kKernels[] = {
    {Kernel::embed, "embed", 5, 1, 6},
    {Kernel::embedBackward, "embedBackward", 3, 1, 5},
    {Kernel::norm, "norm", 3, 1, 5},
    {Kernel::normBackward, "normBackward", 6, 2, 6},
    {Kernel::project, "project", 5, 1, 5},
    {Kernel::projectBackward, "projectBackward", 3, 1, 5},
    {Kernel::weightGradient, "weightGradient", 3, 1, 6},
    {Kernel::rotary, "rotary", 3, 2, 7},
    {Kernel::rotaryBackward, "rotaryBackward", 7, 3, 7},
    {Kernel::attend, "attend", 5, 1, 9},
    {Kernel::finish, "finish", 3, 2, 4},
    {Kernel::merge, "merge", 4, 2, 3},
    {Kernel::delta, "delta", 3, 1, 4},
    {Kernel::attendBackward, "attendBackward", 10, 3, 10},
    {Kernel::swiglu, "swiglu", 2, 1, 3},
    {Kernel::swigluBackward, "swigluBackward", 3, 1, 3},
    {Kernel::crossEntropy, "crossEntropy", 3, 2, 4},
    {Kernel::zero, "zero", 1, 1, 1},
    {Kernel::squaredNorm, "squaredNorm", 2, 1, 2},
    {Kernel::clip, "clip", 3, 1, 1},
    {Kernel::adamW, "adamW", 6, 4, 8},
    {Kernel::layerNorm, "layerNorm", 4, 1, 5},
    {Kernel::layerNormBackward, "layerNormBackward", 7, 3, 6},
    {Kernel::biasGradient, "biasGradient", 2, 1, 4},
    {Kernel::gelu, "gelu", 2, 1, 3},
    {Kernel::geluBackward, "geluBackward", 3, 1, 3},
    {Kernel::round, "round", 2, 1, 1},
};

// One call of one kernel. Pointers are into device memory; `step` is the block of numbers that change from step to step
// (STEP_PARAMETERS of plan/program.ts): rate, correction1, correction2, inverseValid.
struct KernelCall {
  Kernel kernel;
  std::span<void* const> operands;        // length = KernelInfo::operands
  std::span<const double> parameters;     // length = KernelInfo::parameters
  void* workspace;                        // device memory, nullptr when workspace_bytes is 0
  size_t workspace_bytes;
  std::span<const double> step;
  int rank;

  void* operand(int i) const { return operands[i]; }
  template <class T> T* as(int i) const { return static_cast<T*>(operands[i]); }
  double number(int i) const { return parameters[i]; }
  int64_t integer(int i) const { return static_cast<int64_t>(parameters[i]); }
};

}  // namespace fpdt
