// atom and red: lane after lane, with atomic instructions of the host, which may change the same word of pinned memory meanwhile.
#include <algorithm>
#include <atomic>

#include "reach.h"

namespace emulator {
namespace {

enum Operation : uint8_t { kAdd, kMin, kMax, kAnd, kOr, kXor, kExchange, kCompare, kIncrement, kDecrement };

template <Operation kOp, class T>
T applied(T old, T b, [[maybe_unused]] T c) {
  if constexpr (std::is_same_v<T, f16> || std::is_same_v<T, bf16>) return from_float<T>(to_float(old) + to_float(b));
  else if constexpr (kOp == kAdd) {
    if constexpr (std::is_floating_point_v<T>) return old + b;
    else return static_cast<T>(static_cast<std::make_unsigned_t<T>>(old) + static_cast<std::make_unsigned_t<T>>(b));
  }
  else if constexpr (kOp == kMin) return std::min(old, b);
  else if constexpr (kOp == kMax) return std::max(old, b);
  else if constexpr (kOp == kExchange) return b;
  else if constexpr (kOp == kCompare) return old == b ? c : old;
  else if constexpr (std::is_integral_v<T>) {
    if constexpr (kOp == kAnd) return old & b;
    else if constexpr (kOp == kOr) return old | b;
    else if constexpr (kOp == kXor) return old ^ b;
    else if constexpr (kOp == kIncrement) return old >= b ? 0 : old + 1;
    else return old == 0 || old > b ? b : old - 1;
  }
}
// Packed: two halves in 32 bits.
template <class H>
struct Two {
  H low, high;
};
template <Operation kOp, class H>
Two<H> applied(Two<H> old, Two<H> b, Two<H>) { return {applied<kOp>(old.low, b.low, b.low), applied<kOp>(old.high, b.high, b.high)}; }

template <class T>
using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, std::conditional_t<sizeof(T) == 4, uint32_t, uint16_t>>;

constexpr uint32_t kWithinBlock = 8;  // of Instruction::extra, beside the order

// count > 1 (red.v2.f32): elements one after the other, each of them atomic.
template <Operation kOp, class T>
void change(Warp& w, const Instruction& i, Mask m) {
  Reached r;
  const uint32_t all = sizeof(T) * i.count;
  reach_from(w, i, m, static_cast<Where>(i.variant & 7), i.a, (i.variant & kWideAddress) != 0, i.offset, {all, all, AccessKind::atomic, false, static_cast<Order>(i.extra & 7), (i.extra & kWithinBlock) != 0}, r);
  const bool wanted = i.d != 0;
  // With a seed lanes come in another order: which of them is first is open.
  const int first = w.block->options->seed ? static_cast<int>(w.block->random.below(kLanes)) : 0;
  for (int n = 0; n < kLanes; n++) {
    const int l = (n + first) % kLanes;
    if (!(m >> l & 1)) continue;
    for (int k = 0; k < i.count; k++) {
      const T b = get<T>(source<T>(w, i.count == 1 ? i.b : i.list[k]), l), c = kOp == kCompare ? get<T>(source<T>(w, i.c), l) : b;
      std::atomic_ref<Bits<T>> place(*reinterpret_cast<Bits<T>*>(r.at[l] + k * sizeof(T)));
      Bits<T> old = place.load(std::memory_order_relaxed);
      while (!place.compare_exchange_weak(old, std::bit_cast<Bits<T>>(applied<kOp>(std::bit_cast<T>(old), b, c)), std::memory_order_acq_rel)) {
      }
      if (wanted) result<T>(w, i.d)[l] = stored<T>(std::bit_cast<T>(old));
    }
  }
}

template <class T>
Execute integer_operation(Decoder& d, int op) {
  switch (op) {
    case kAdd: return change<kAdd, T>;
    case kMin: return change<kMin, T>;
    case kMax: return change<kMax, T>;
    case kAnd: return change<kAnd, T>;
    case kOr: return change<kOr, T>;
    case kXor: return change<kXor, T>;
    case kExchange: return change<kExchange, T>;
    case kCompare: return change<kCompare, T>;
    case kIncrement: return change<kIncrement, T>;
    case kDecrement: return change<kDecrement, T>;
    default: d.unknown("no operation");
  }
}
Execute operation(Decoder& d, int op, Type t) {
  switch (t) {
    case Type::b16: 
      if (op == kCompare) return change<kCompare, uint16_t>;
      if (op == kExchange) return change<kExchange, uint16_t>;
      break;
    case Type::b32:
    case Type::u32: return integer_operation<uint32_t>(d, op);
    case Type::s32: return integer_operation<int32_t>(d, op);
    case Type::b64:
    case Type::u64: return integer_operation<uint64_t>(d, op);
    case Type::s64: return integer_operation<int64_t>(d, op);
    case Type::f32:
      if (op == kAdd) return change<kAdd, float>;
      break;
    case Type::f64:
      if (op == kAdd) return change<kAdd, double>;
      break;
    case Type::f16:
      if (op == kAdd) return change<kAdd, f16>;
      break;
    case Type::bf16:
      if (op == kAdd) return change<kAdd, bf16>;
      break;
    case Type::f16x2:
      if (op == kAdd) return change<kAdd, Two<f16>>;
      break;
    case Type::bf16x2:
      if (op == kAdd) return change<kAdd, Two<bf16>>;
      break;
    default: break;
  }
  d.unknown("not for this type");
}

template <bool kResult>
void decode_atomic(Decoder& d) {
  // The host's are acquire and release all; what is said here is for the observer.
  constexpr Order kOrders[] = {Order::relaxed, Order::relaxed, Order::acquire, Order::release, Order::both};
  const Order order = kOrders[d.take_one_of("relaxed", "acquire", "release", "acq_rel") + 1];
  const int scope = d.take_one_of("cta", "cluster", "gpu", "sys");
  const bool within_block = scope == 0 || scope == 1;  // a cluster is one block: launches of larger ones are not emulated
  if ((order == Order::release || order == Order::both) && !within_block) d.releases();
  d.take("noftz");
  const Where where = take_space(d);
  if (where == Where::local || where == Where::parameter) d.unknown("not in this space");
  const int vector = d.take_one_of("v2", "v4");
  const int op = d.take_one_of("add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec");
  const Type t = d.take_type();
  const Execute f = operation(d, op, t);
  const size_t base = kResult ? 1 : 0;
  const Address address = d.address(d.operand(base));
  const Operand& values = d.operand(base + 1);
  const std::vector<Operand> parts = values.kind == Operand::list ? values.elements : std::vector<Operand>{values};
  if (parts.size() != (vector < 0 ? 1u : vector == 0 ? 2u : 4u) || (kResult && vector >= 0)) d.unknown("another number of registers");
  std::vector<uint32_t> sources;
  for (const auto& part : parts) sources.push_back(d.read(part, t));
  const uint32_t c = op == kCompare ? d.read(base + 2, t) : 0;
  if (d.operands() != base + (op == kCompare ? 3 : 2)) d.unknown("another number of operands");
  const uint32_t to = kResult ? d.write(0, t) : 0;
  auto& draft = d.emit(f);
  auto& i = draft.instruction;
  i.variant = static_cast<uint8_t>(where), i.extra = static_cast<uint32_t>(order) | (within_block ? kWithinBlock : 0);
  put_address(i, address);
  i.d = to, i.c = c, i.count = static_cast<uint8_t>(sources.size());
  if (sources.size() == 1) i.b = sources[0];
  else draft.sources = sources;
}

}  // namespace

void add_atomics(Opcodes& table) {
  table["atom"] = decode_atomic<true>;
  table["red"] = decode_atomic<false>;
}

}  // namespace emulator
