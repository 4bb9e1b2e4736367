#include "extents.h"

#include <algorithm>
#include <cmath>

#include "error.h"
#include "program.h"

namespace fpdt {
namespace {

constexpr double kBf16 = 2, kF32 = 4, kF64 = 8, kI32 = 4;
constexpr double kLargest = 9007199254740992.0;  // 2^53: whole numbers below it are exact as doubles and fit int64

// Reads the numbers of one op in order of the table and refuses what no kernel could work with.
class Numbers {
 public:
  Numbers(const char* op, std::span<const double> values) : op_(op), values_(values) {}

  double size(const char* name) { return whole(name, 1); }
  double from_zero(const char* name) { return whole(name, 0); }
  bool flag(const char* name) {
    const double value = whole(name, 0);
    if (value > 1) refuse(name, value, "0 or 1");
    return value == 1;
  }
  double element() { return flag("bf16") ? kBf16 : kF32; }  // bytes of T
  struct Elements {
    double hidden, T;
  };
  Elements elements() {  // bytes of H and of T
    const bool f32 = flag("hiddenF32");
    const double T = element();
    return {f32 ? kF32 : T, T};
  }
  void any() { next_++; }                            // a real number: eps, magnitude, rates

  [[noreturn]] void refuse(const char* name, double value, const char* wanted) const {
    std::ostringstream text;
    text << op_ << ": " << name << " is " << value << "; it must be " << wanted;
    throw Error("shape", text.str());
  }

 private:
  double whole(const char* name, double least) {
    const double value = values_[next_++];
    if (!(value >= least && value < kLargest) || value != std::floor(value)) refuse(name, value, least ? "a whole number from 1" : "a whole number from 0");
    return value;
  }

  const char* op_;
  std::span<const double> values_;
  size_t next_ = 0;
};

struct Heads {
  double q, kv, size;
};
Heads heads(Numbers& n) {
  Heads h{n.size("heads"), n.size("kvHeads"), n.size("headSize")};
  if (std::fmod(h.q, h.kv) != 0) n.refuse("kvHeads", h.kv, "a divisor of heads");
  return h;
}

}  // namespace

const KernelInfo* find_kernel(uint16_t code) {
  for (const KernelInfo& info : kKernels)
    if (static_cast<uint16_t>(info.kernel) == code) return &info;
  return nullptr;
}

std::vector<Extent> kernel_extents(const KernelInfo& info, std::span<const double> numbers) {
  if (numbers.size() != static_cast<size_t>(info.parameters)) {
    throw Error("shape", std::string(info.name) + " takes " + std::to_string(info.parameters) + " numbers, got " + std::to_string(numbers.size()));
  }
  Numbers n(info.name, numbers);
  switch (info.kernel) {
    case Kernel::embed: {
      const double rows = n.size("rows"), width = n.size("width"), vocabulary = n.size("vocabulary"), positions = n.from_zero("positions");
      const auto [H, T] = n.elements();
      const bool none = positions == 0;  // then both are absent; else both must be there
      return {{rows * width * H}, {rows * kI32}, {vocabulary * width * T}, {rows * kI32, none}, {positions * width * T, none}};
    }
    case Kernel::embedBackward: {
      const double rows = n.size("rows"), width = n.size("width"), vocabulary = n.size("vocabulary");
      n.flag("first");
      return {{vocabulary * width * kF32}, {rows * width * n.element()}, {rows * kI32}};
    }
    case Kernel::norm: {
      const double rows = n.size("rows"), width = n.size("width");
      n.any();
      const auto [H, T] = n.elements();
      return {{rows * width * T}, {rows * width * H}, {width * T}};
    }
    case Kernel::normBackward: {
      const double rows = n.size("rows"), width = n.size("width");
      n.any();
      n.flag("first");
      const auto [H, T] = n.elements();
      const double x = rows * width * H;
      return {{x}, {width * kF32}, {rows * width * T}, {x}, {width * T}, {x, true}};
    }
    case Kernel::project: {
      const double rows = n.size("rows"), outputs = n.size("outputs"), inputs = n.size("inputs");
      const bool f32 = n.flag("outF32");
      const double T = n.element(), out = rows * outputs * (f32 ? kF32 : T);
      return {{out}, {rows * inputs * T}, {outputs * inputs * T}, {out, true}, {outputs * T, true}};
    }
    case Kernel::projectBackward:
    case Kernel::weightGradient: {
      const double rows = n.size("rows"), outputs = n.size("outputs"), inputs = n.size("inputs"), stride = n.size("doutStride");
      if (stride < outputs) n.refuse("doutStride", stride, "at least outputs");
      const bool backward = info.kernel == Kernel::projectBackward;
      if (!backward) n.flag("first");
      const double T = n.element();
      const Extent dout{((rows - 1) * stride + outputs) * T};
      if (backward) return {{rows * inputs * T}, dout, {outputs * inputs * T}};
      return {{outputs * inputs * kF32}, dout, {rows * inputs * T}};
    }
    case Kernel::rotary:
    case Kernel::rotaryBackward: {
      const double rows = n.size("rows");
      const Heads h = heads(n);
      n.from_zero("start");
      n.any();
      const double T = n.element(), q = rows * h.q * h.size, k = rows * h.kv * h.size;
      const double frequencies = std::floor(h.size / 2) * kF64;
      if (info.kernel == Kernel::rotary) return {{q * T}, {k * T}, {frequencies}};
      return {{q * T}, {k * T}, {k * T}, {q * kF32}, {k * kF32}, {k * kF32}, {frequencies, true}};
    }
    case Kernel::attend:
    case Kernel::attendBackward: {
      const double rows = n.size("rows"), columns = n.size("columns");
      const Heads h = heads(n);
      n.from_zero("qStart");
      n.from_zero("kvStart");
      const double T = n.element(), q = rows * h.q * h.size, k = columns * h.kv * h.size, statistics = rows * h.q * kF32;
      const bool backward = info.kernel == Kernel::attendBackward;
      n.flag(backward ? "firstQ" : "first");
      if (!backward) return {{rows * h.q * (h.size + 2) * kF32}, {q * T}, {k * T}, {k * T}, {rows * kI32, true}};
      n.flag("firstKv");
      return {{q * kF32}, {k * kF32}, {k * kF32}, {q * T}, {k * T}, {k * T}, {q * T}, {statistics}, {statistics}, {rows * kI32, true}};
    }
    case Kernel::finish:
    case Kernel::merge:
    case Kernel::delta: {
      const double rows = n.size("rows"), heads = n.size("heads"), size = n.size("headSize");
      const double o = rows * heads * size, statistics = rows * heads * kF32;
      if (info.kernel == Kernel::merge) return {{o * kF32}, {statistics}, {o * kF32}, {statistics}};
      const double T = n.element();
      if (info.kernel == Kernel::finish) return {{o * T}, {statistics}, {rows * heads * (size + 2) * kF32}};
      return {{statistics}, {o * T}, {o * T}};
    }
    case Kernel::layerNorm: {
      const double rows = n.size("rows"), width = n.size("width");
      n.any();
      const auto [H, T] = n.elements();
      return {{rows * width * T}, {rows * width * H}, {width * T}, {width * T}};
    }
    case Kernel::layerNormBackward: {
      const double rows = n.size("rows"), width = n.size("width");
      n.any();
      n.flag("first");
      const auto [H, T] = n.elements();
      const double x = rows * width * H;
      return {{x}, {width * kF32}, {width * kF32}, {rows * width * T}, {x}, {width * T}, {x, true}};
    }
    case Kernel::biasGradient: {
      const double rows = n.size("rows"), outputs = n.size("outputs");
      n.flag("first");
      return {{outputs * kF32}, {rows * outputs * n.element()}};
    }
    case Kernel::gelu:
    case Kernel::geluBackward: {
      const double rows = n.size("rows"), width = n.size("feedForward"), out = rows * width * n.element();
      if (info.kernel == Kernel::gelu) return {{out}, {out}};
      return {{out}, {out}, {out}};
    }
    case Kernel::round: {
      const double count = n.size("count");
      return {{count * kBf16}, {count * kF32}};
    }
    case Kernel::swiglu:
    case Kernel::swigluBackward: {
      const double rows = n.size("rows"), width = n.size("feedForward"), out = rows * width * n.element();
      if (info.kernel == Kernel::swiglu) return {{out}, {2 * out}};
      return {{2 * out}, {out}, {2 * out}};
    }
    case Kernel::crossEntropy: {
      const double rows = n.size("rows"), vocabulary = n.size("vocabulary");
      n.flag("first");
      n.flag("bf16");
      return {{rows * vocabulary * kF32}, {kF64}, {rows * kI32}};
    }
    case Kernel::zero:
      return {{n.from_zero("bytes")}};
    case Kernel::squaredNorm: {
      const double count = n.size("count");
      n.flag("first");
      return {{kF64}, {count * kF32}};
    }
    case Kernel::clip:
      return {{kF32}, {kF64}, {kF64}};
    case Kernel::adamW: {
      const double count = n.size("count");
      for (int i = 0; i < 4; i++) n.any();
      n.from_zero("undecayed");
      n.from_zero("partition");
      n.from_zero("offset");
      return {{count * kF32}, {count * kF32}, {count * kF32}, {count * kBf16, true}, {count * kF32}, {kF32}};
    }
  }
  throw Error("native", std::string(info.name) + " has no row in core/extents.cc");
}

std::vector<Extent> collective_extents(uint16_t code, int ranks, std::span<const double> numbers) {
  const auto expect = [&](const char* op, size_t count) {
    if (numbers.size() != count) throw Error("shape", std::string(op) + " takes " + std::to_string(count) + " numbers, got " + std::to_string(numbers.size()));
    return Numbers(op, numbers);
  };
  switch (code) {
    case opcode::allToAll: {
      if (numbers.size() < 5) throw Error("shape", "allToAll takes 4 numbers and the heads of at least one part, got " + std::to_string(numbers.size()));
      Numbers n("allToAll", numbers);
      const double tokens = n.size("tokens"), size = n.size("headSize"), element = n.size("elementBytes");
      const bool to_tokens = n.flag("direction");
      std::vector<Extent> extents{{0}};
      for (size_t part = 4; part < numbers.size(); part++) {
        const double heads = n.size("heads");
        // Fewer heads than ranks: each is replicated to ranks / heads ranks, one a rank.
        if (std::fmod(heads, ranks) != 0 && std::fmod(ranks, heads) != 0) n.refuse("heads", heads, "a multiple or a divisor of the rank count");
        if (heads < ranks && to_tokens && element != 2 && element != 4) n.refuse("elementBytes", element, "2 (bf16) or 4 (f32) where the copies of a head are added up");
        extents.push_back({tokens * std::max(heads, static_cast<double>(ranks)) * size * element});  // P·c tokens of this rank's heads
        extents[0].bytes += tokens * heads * size * element;
      }
      return extents;
    }
    case opcode::gather: {
      const double bytes = expect("gather", 1).size("partBytes");
      return {{bytes}, {bytes * ranks}};
    }
    case opcode::reduceScatter: {
      Numbers n = expect("reduceScatter", 2);
      const double bytes = n.size("partElements") * kF32;
      n.flag("first");
      return {{bytes * ranks}, {bytes}};
    }
    case opcode::allReduce: {
      Numbers n = expect("allReduce", 1);
      const double elements = n.size("elements");
      if (elements > kAllReduceElements) n.refuse("elements", elements, "at most 1024: it is for sums, not tensors");
      return {{elements * kF64}};
    }
  }
  throw Error("program", "code " + std::to_string(code) + " is not a collective");
}

}  // namespace fpdt
