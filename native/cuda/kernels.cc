#include "kernels.h"

namespace fpdt::cuda {

KernelFunction kernel_function(Kernel kernel) {
  switch (kernel) {
    case Kernel::embed: return embed;
    case Kernel::embedBackward: return embedBackward;
    case Kernel::norm: return norm;
    case Kernel::normBackward: return normBackward;
    case Kernel::project: return project;
    case Kernel::projectBackward: return projectBackward;
    case Kernel::weightGradient: return weightGradient;
    case Kernel::rotary: return rotary;
    case Kernel::rotaryBackward: return rotaryBackward;
    case Kernel::attend: return attend;
    case Kernel::finish: return finish;
    case Kernel::merge: return merge;
    case Kernel::delta: return delta;
    case Kernel::attendBackward: return attendBackward;
    case Kernel::swiglu: return swiglu;
    case Kernel::swigluBackward: return swigluBackward;
    case Kernel::crossEntropy: return crossEntropy;
    case Kernel::zero: return zero;
    case Kernel::squaredNorm: return squaredNorm;
    case Kernel::clip: return clip;
    case Kernel::adamW: return adamW;
    case Kernel::layerNorm: return layerNorm;
    case Kernel::layerNormBackward: return layerNormBackward;
    case Kernel::biasGradient: return biasGradient;
    case Kernel::gelu: return gelu;
    case Kernel::geluBackward: return geluBackward;
    case Kernel::round: return round;
  }
  return nullptr;
}

}  // namespace fpdt::cuda
