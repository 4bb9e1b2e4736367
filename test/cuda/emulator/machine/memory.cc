// ld, st, prefetch, cvta, isspacep and the fences.
#include <atomic>

#include "reach.h"

namespace emulator {
namespace {

constexpr uint8_t kWithinBlock = 8;  // of Instruction::variant, beside the order

Order order_of(const Instruction& i) { return static_cast<Order>(i.variant & 7); }

// Words of four lanes at a time: rows of a 4 x 4 square are lanes, its columns registers.
typedef uint32_t Square __attribute__((vector_size(16)));
inline void load_squares(const Warp& w, const Instruction& i, const Reached& r) {
  uint32_t* d[4];
  for (int k = 0; k < 4; k++) d[k] = result<uint32_t>(w, i.list[k]);
  for (int l = 0; l < kLanes; l += 4) {
    Square row[4];
    for (int k = 0; k < 4; k++) std::memcpy(&row[k], r.at[l + k], 16);
    const Square low01 = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5), high01 = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7);
    const Square low23 = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5), high23 = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
    const Square column[4] = {__builtin_shufflevector(low01, low23, 0, 1, 4, 5), __builtin_shufflevector(low01, low23, 2, 3, 6, 7),
                              __builtin_shufflevector(high01, high23, 0, 1, 4, 5), __builtin_shufflevector(high01, high23, 2, 3, 6, 7)};
    for (int k = 0; k < 4; k++) std::memcpy(d[k] + l, &column[k], 16);
  }
}

// M: in memory; R: as the register holds it, so a narrow signed M is extended to its width.
template <Where kWhere, class M, class R>
EMULATOR_CLONES void load(Warp& w, const Instruction& i, Mask m) {
  Reached r;
  const uint32_t bytes = sizeof(M) * i.count;
  reach<kWhere>(w, i, m, {bytes, bytes, AccessKind::read, false, order_of(i), (i.variant & kWithinBlock) != 0}, r);
  if constexpr (sizeof(M) == 4 && sizeof(R) == 4) {
    if (i.count == 4 && m == ~Mask{0}) {
      load_squares(w, i, r);
      if (order_of(i) == Order::acquire) std::atomic_thread_fence(std::memory_order_acquire);
      return;
    }
  }
  for (int k = 0; k < i.count; k++) {
    auto* d = result<R>(w, i.count == 1 ? i.d : i.list[k]);
    if (m == ~Mask{0}) {
      for (int l = 0; l < kLanes; l++) {
        M value;
        std::memcpy(&value, r.at[l] + k * sizeof(M), sizeof(M));
        d[l] = stored<R>(static_cast<R>(value));
      }
    } else {
      for (Mask rest = m; rest; rest &= rest - 1) {
        const int l = std::countr_zero(rest);
        M value;
        std::memcpy(&value, r.at[l] + k * sizeof(M), sizeof(M));
        d[l] = stored<R>(static_cast<R>(value));
      }
    }
  }
  if (order_of(i) == Order::acquire) std::atomic_thread_fence(std::memory_order_acquire);
}
template <Where kWhere, class M, class R>
EMULATOR_CLONES void store(Warp& w, const Instruction& i, Mask m) {
  Reached r;
  const uint32_t bytes = sizeof(M) * i.count;
  reach<kWhere>(w, i, m, {bytes, bytes, AccessKind::write, false, order_of(i), (i.variant & kWithinBlock) != 0}, r);
  if (order_of(i) == Order::release) std::atomic_thread_fence(std::memory_order_release);
  for (int k = 0; k < i.count; k++) {
    const auto* s = source<R>(w, i.count == 1 ? i.b : i.list[k]);
    for (Mask rest = m; rest; rest &= rest - 1) {
      const int l = std::countr_zero(rest);
      const M value = static_cast<M>(get<R>(s, l));
      std::memcpy(r.at[l] + k * sizeof(M), &value, sizeof(M));
    }
  }
}

template <class M, class R>
Execute load_from(Where where) {
  switch (where) {
    case Where::global: return load<Where::global, M, R>;
    case Where::shared: return load<Where::shared, M, R>;
    case Where::local: return load<Where::local, M, R>;
    case Where::parameter: return load<Where::parameter, M, R>;
    default: return load<Where::generic, M, R>;
  }
}
template <class M, class R>
Execute store_to(Where where) {
  switch (where) {
    case Where::global: return store<Where::global, M, R>;
    case Where::shared: return store<Where::shared, M, R>;
    case Where::local: return store<Where::local, M, R>;
    case Where::parameter: return store<Where::parameter, M, R>;
    default: return store<Where::generic, M, R>;
  }
}
// By the type in memory and the width of the register.
Execute load_as(Where where, Type t, uint32_t width) {
  if (width < 2) width = 2;
  switch (t) {
    case Type::s8: return width == 2 ? load_from<int8_t, int16_t>(where) : width == 4 ? load_from<int8_t, int32_t>(where) : load_from<int8_t, int64_t>(where);
    case Type::s16: return width == 2 ? load_from<uint16_t, uint16_t>(where) : width == 4 ? load_from<int16_t, int32_t>(where) : load_from<int16_t, int64_t>(where);
    case Type::s32: return width == 4 ? load_from<uint32_t, uint32_t>(where) : load_from<int32_t, int64_t>(where);
    default: break;
  }
  switch (bytes_of(t)) {
    case 1: return width == 8 ? load_from<uint8_t, uint64_t>(where) : load_from<uint8_t, uint32_t>(where);
    case 2: return width == 8 ? load_from<uint16_t, uint64_t>(where) : load_from<uint16_t, uint32_t>(where);
    case 4: return width == 8 ? load_from<uint32_t, uint64_t>(where) : load_from<uint32_t, uint32_t>(where);
    default: return load_from<uint64_t, uint64_t>(where);
  }
}
Execute store_as(Where where, Type t, uint32_t width) {
  switch (bytes_of(t)) {
    case 1: return width == 8 ? store_to<uint8_t, uint64_t>(where) : store_to<uint8_t, uint32_t>(where);
    case 2: return width == 8 ? store_to<uint16_t, uint64_t>(where) : store_to<uint16_t, uint32_t>(where);
    case 4: return width == 8 ? store_to<uint32_t, uint64_t>(where) : store_to<uint32_t, uint32_t>(where);
    default: return store_to<uint64_t, uint64_t>(where);
  }
}

// As Instruction::variant has it.
uint8_t take_order(Decoder& d) {
  const int name = d.take_one_of("weak", "volatile", "relaxed", "acquire", "release");
  const int scope = d.take_one_of("cta", "cluster", "gpu", "sys");
  const bool within_block = scope == 0 || scope == 1;  // a cluster is one block: launches of larger ones are not emulated
  const Order order = name == 4 ? Order::release : name == 3 ? Order::acquire : name >= 1 ? Order::relaxed : Order::weak;
  if (order == Order::release && !within_block) d.releases();
  return static_cast<uint8_t>(static_cast<uint8_t>(order) | (within_block ? kWithinBlock : 0));
}
// Registers of ld and st, all of one width, at least that of the type.
struct Transferred {
  std::vector<Operand> parts;
  uint32_t width;
};
Transferred transferred(Decoder& d, const Operand& o, Type t, int vector) {
  Transferred parts{o.kind == Operand::list ? o.elements : std::vector<Operand>{o}, 0};
  if (parts.parts.size() != (vector < 0 ? 1u : vector == 0 ? 2u : 4u)) d.unknown("another number of registers");
  for (const auto& part : parts.parts) {
    if (part.kind == Operand::name && part.text == "_") continue;
    const uint32_t width = bytes_of(d.register_type(part, t));
    if (parts.width != 0 && width != parts.width) d.unknown("registers of different widths");
    parts.width = width;
  }
  if (parts.width == 0) parts.width = bytes_of(t);
  if (parts.width < bytes_of(t)) d.unknown("a register narrower than the type");
  return parts;
}
Type type_of_width(uint32_t width) { return width == 8 ? Type::b64 : width == 4 ? Type::b32 : width == 2 ? Type::b16 : Type::b8; }

void decode_ld(Decoder& d) {
  const uint8_t order = take_order(d);
  const Where where = take_space(d);
  take_hints(d);
  const int vector = d.take_one_of("v2", "v4");
  const Type t = d.take_type();
  if (t == Type::pred || t == Type::b128) d.unknown("not for this type");
  const Transferred to = transferred(d, d.operand(0), t, vector);
  const Address address = d.address(d.operand(1));
  std::vector<uint32_t> results;
  for (const auto& part : to.parts) results.push_back(d.write(part, type_of_width(to.width)));
  auto& draft = d.emit(load_as(where, t, to.width));
  auto& i = draft.instruction;
  i.variant = order, i.count = static_cast<uint8_t>(results.size());
  put_address(i, address);
  if (results.size() == 1) i.d = results[0];
  else draft.results = results;
}
void decode_st(Decoder& d) {
  const uint8_t order = take_order(d);
  const Where where = take_space(d);
  take_hints(d);
  const int vector = d.take_one_of("v2", "v4");
  const Type t = d.take_type();
  if (t == Type::pred || t == Type::b128) d.unknown("not for this type");
  const Address address = d.address(d.operand(0));
  const Transferred from = transferred(d, d.operand(1), t, vector);
  std::vector<uint32_t> sources;
  for (const auto& part : from.parts) sources.push_back(d.read(part, type_of_width(from.width)));
  auto& draft = d.emit(store_as(where, t, from.width));
  auto& i = draft.instruction;
  i.variant = order, i.count = static_cast<uint8_t>(sources.size());
  put_address(i, address);
  if (sources.size() == 1) i.b = sources[0];
  else draft.sources = sources;
}

// cvta: generic = window + offset.
template <bool kTo>
struct Window {
  uint64_t operator()(uint64_t a, uint64_t window) const { return kTo ? a - window : a + window; }
};
void decode_cvta(Decoder& d) {
  const bool to = d.take("to");
  const Where where = take_space(d);
  const Type t = d.take_type();
  if (t != Type::u64 || where == Where::generic) d.unknown("not for this type");
  const uint64_t window = where == Where::shared ? kSharedWindow : where == Where::local ? kLocalWindow : where == Where::parameter ? kParameterWindow : 0;
  const uint32_t a = d.read(1, t), b = d.constant(window, RegisterClass::wide), r = d.write(0, t);
  auto& i = d.emit(to ? map2<Window<true>, uint64_t, uint64_t, uint64_t> : map2<Window<false>, uint64_t, uint64_t, uint64_t>).instruction;
  i.d = r, i.a = a, i.b = b;
}
void is_in_space(Warp& w, const Instruction& i, Mask m) {
  const auto* a = source<uint64_t>(w, i.a);
  Mask p = 0;
  for (int l = 0; l < kLanes; l++) {
    const Where where = a[l] < kSharedWindow ? Where::global : a[l] < kLocalWindow ? Where::shared : a[l] < kParameterWindow ? Where::local : Where::parameter;
    p |= Mask{where == static_cast<Where>(i.variant)} << l;
  }
  write_predicate(w, i.d, m, p);
}
void decode_isspacep(Decoder& d) {
  const Where where = take_space(d);
  if (where == Where::generic) d.unknown("no space");
  const uint32_t a = d.read(1, Type::u64), r = d.write(0, Type::pred);
  auto& i = d.emit(is_in_space).instruction;
  i.d = r, i.a = a, i.variant = static_cast<uint8_t>(where);
}

void fence(Warp& w, const Instruction& i, Mask m) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (i.variant && w.block->observer) w.block->observer->fence(w.number, m);
}
void decode_fence(Decoder& d) {
  d.take_one_of("sc", "acq_rel", "acquire", "release");
  const int scope = d.take_one_of("cta", "cluster", "gl", "gpu", "sys");
  if (scope < 0) d.unknown("no scope");
  if (scope >= 2) d.releases();
  d.emit(fence).instruction.variant = scope >= 2;
}
void nothing(Warp&, const Instruction&, Mask) {}
// Fetching ahead has no meaning for values.
void decode_prefetch(Decoder& d) {
  take_space(d);
  d.take_one_of("L1", "L2", "L2::evict_last", "L2::evict_normal");
  d.emit(nothing);
}

}  // namespace

void add_memory(Opcodes& table) {
  table["ld"] = decode_ld;
  table["ldu"] = decode_ld;
  table["st"] = decode_st;
  table["cvta"] = decode_cvta;
  table["isspacep"] = decode_isspacep;
  table["membar"] = decode_fence;
  table["fence"] = decode_fence;
  table["prefetch"] = decode_prefetch;
  table["prefetchu"] = decode_prefetch;
}

}  // namespace emulator
