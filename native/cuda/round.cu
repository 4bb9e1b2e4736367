// f32 to bf16: what a gradient of an f32 hidden state becomes where it enters a product of bf16.
#include "round.cuh"

namespace fpdt::cuda {

void round(const KernelCall& call, const Launch& launch) {
  launch_round("round", call.as<bf16>(0), call.as<const float>(1), call.integer(0), launch);
}

}  // namespace fpdt::cuda
