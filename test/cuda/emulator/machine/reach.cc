#include "reach.h"

#include <cstdio>

namespace emulator {
namespace {

std::string hexadecimal(uint64_t n) {
  char text[32];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(n));
  return text;
}
const char* verb(AccessKind kind) { return kind == AccessKind::read ? "reads" : kind == AccessKind::write ? "writes" : "changes"; }
std::string amount(const Touch& t) { return std::string(verb(t.kind)) + " " + std::to_string(t.bytes) + " bytes"; }
std::string what(const Touch& t, uint64_t address) { return amount(t) + " at " + hexadecimal(address); }
std::string place(const Region& r) { return "a region of " + std::to_string(r.bytes) + " bytes at " + hexadecimal(r.address); }

// The region that ends nearest before an address, or begins nearest after it, as far as can be told by asking: probes at growing distances.
std::string nearest(const Warp& w, uint64_t address) {
  for (uint64_t distance = 1; distance < (uint64_t{1} << 24); distance *= 2) {
    if (const Region* r = address >= distance ? w.block->memory->find(address - distance) : nullptr) {
      return ", " + std::to_string(address - (r->address + r->bytes)) + " bytes after the end of " + place(*r);
    }
    if (const Region* r = w.block->memory->find(address + distance)) {
      if (r->address > address) return ", " + std::to_string(r->address - address) + " bytes before " + place(*r);
    }
  }
  return ", far from any region";
}

void aligned(const Warp& w, const Instruction& i, int lane, const Touch& t, uint64_t address) {
  if (address % t.alignment != 0) fault(w, i, lane, "misaligned address", what(t, address) + ", which is not a multiple of " + std::to_string(t.alignment));
}

std::byte* global_byte(Warp& w, const Instruction& i, int lane, const Touch& t, uint64_t address) {
  aligned(w, i, lane, t, address);
  const Region* r = w.block->memory->find(address);
  if (r == nullptr) fault(w, i, lane, "illegal address", what(t, address) + nearest(w, address));
  if (address - r->address > r->bytes || r->bytes - (address - r->address) < t.bytes) {
    fault(w, i, lane, "illegal address", what(t, address) + ", across the end of " + place(*r));
  }
  if (!r->writable && t.kind != AccessKind::read) fault(w, i, lane, "illegal address", what(t, address) + ", which may only be read");
  return r->backing + (address - r->address);
}
std::byte* shared_byte(Warp& w, const Instruction& i, int lane, const Touch& t, uint64_t offset) {
  aligned(w, i, lane, t, offset);
  const RunningBlock& b = *w.block;
  if (offset > b.shared_bytes || b.shared_bytes - offset < t.bytes) {
    fault(w, i, lane, "shared memory",
          amount(t) + " at offset " + std::to_string(offset) + " of " + std::to_string(b.shared_bytes) + " (" +
              std::to_string(b.kernel->shape.static_shared_bytes) + " static, " + std::to_string(b.config->dynamic_shared_bytes) + " dynamic)");
  }
  return b.shared + offset;
}
std::byte* local_byte(Warp& w, const Instruction& i, int lane, const Touch& t, uint64_t offset) {
  aligned(w, i, lane, t, offset);
  const uint64_t size = w.block->kernel->local_bytes;
  if (offset > size || size - offset < t.bytes) {
    fault(w, i, lane, "illegal address", amount(t) + " of local memory at offset " + std::to_string(offset) + " of " + std::to_string(size));
  }
  return w.local + lane * size + offset;
}
std::byte* parameter_byte(Warp& w, const Instruction& i, int lane, const Touch& t, uint64_t offset) {
  if (offset >= kCallParameters) return local_byte(w, i, lane, t, offset - kCallParameters);
  aligned(w, i, lane, t, offset);
  const uint64_t size = w.block->parameter_bytes;
  if (t.kind != AccessKind::read || offset > size || size - offset < t.bytes) {
    fault(w, i, lane, "illegal address", amount(t) + " of parameters at offset " + std::to_string(offset) + " of " + std::to_string(size));
  }
  return const_cast<std::byte*>(w.block->parameters) + offset;
}

void tell(Warp& w, const Instruction& i, Mask lanes, Space space, const Touch& t, const uint64_t* address) {
  if (lanes == 0) return;
  w.block->observer->access({&w.block->kernel->shape, w.block->number, w.number, lanes, space, t.kind, t.asynchronous, t.bytes, address, i.line, t.order, t.within_block});
}

EMULATOR_CLONES void load_addresses(const Warp& w, uint32_t base, bool wide, int64_t offset, uint64_t* address) {
  if (wide) {
    const auto* a = source<uint64_t>(w, base);
    for (int l = 0; l < kLanes; l++) address[l] = a[l] + static_cast<uint64_t>(offset);
  } else {
    const auto* a = source<uint32_t>(w, base);
    for (int l = 0; l < kLanes; l++) address[l] = static_cast<uint32_t>(a[l] + static_cast<uint32_t>(offset));
  }
}

// All lanes within [start, start + bytes): the usual case, without a branch per lane.
inline bool all_within(const uint64_t* address, Mask m, uint64_t start, uint64_t bytes, const Touch& t) {
  if (bytes < t.bytes) return false;
  const uint64_t limit = bytes - t.bytes, low = t.alignment - 1;
  uint64_t outside = 0;
  for (int l = 0; l < kLanes; l++) {
    const uint64_t bad = ((address[l] - start) > limit ? ~uint64_t{0} : 0) | (address[l] & low);
    outside |= (m & kLaneBits.wide[l]) ? bad : 0;
  }
  return outside == 0;
}

EMULATOR_CLONES void reach_global(Warp& w, const Instruction& i, Mask m, const Touch& t, Reached& r) {
  // Lanes are mostly in one region, and that is mostly one of the two that were used last.
  const uint64_t first = r.address[std::countr_zero(m)];
  const Region* region = w.region[0];
  if (region == nullptr || first - region->address >= region->bytes) {
    std::swap(w.region[0], w.region[1]);
    region = w.region[0];
    if (region == nullptr || first - region->address >= region->bytes) {
      region = w.block->memory->find(first);
      if (region != nullptr) w.region[0] = region;
    }
  }
  if (region != nullptr && (region->writable || t.kind == AccessKind::read) && all_within(r.address, m, region->address, region->bytes, t)) {
    std::byte* const base = region->backing - region->address;
    for (int l = 0; l < kLanes; l++) r.at[l] = base + r.address[l];
  } else {
    for (Mask rest = m; rest; rest &= rest - 1) {
      const int l = std::countr_zero(rest);
      r.at[l] = global_byte(w, i, l, t, r.address[l]);
    }
  }
  if (w.block->observer) [[unlikely]] tell(w, i, m, Space::global, t, r.address);
}
EMULATOR_CLONES void reach_shared(Warp& w, const Instruction& i, Mask m, const Touch& t, Reached& r) {
  if (all_within(r.address, m, 0, w.block->shared_bytes, t)) {
    std::byte* const base = w.block->shared;
    for (int l = 0; l < kLanes; l++) r.at[l] = base + r.address[l];
  } else {
    for (Mask rest = m; rest; rest &= rest - 1) {
      const int l = std::countr_zero(rest);
      r.at[l] = shared_byte(w, i, l, t, r.address[l]);
    }
  }
  if (w.block->observer) [[unlikely]] tell(w, i, m, Space::shared, t, r.address);
}
void reach_local(Warp& w, const Instruction& i, Mask m, const Touch& t, Reached& r) {
  for (Mask rest = m; rest; rest &= rest - 1) {
    const int l = std::countr_zero(rest);
    r.at[l] = local_byte(w, i, l, t, r.address[l]);
  }
  if (w.block->observer) [[unlikely]] tell(w, i, m, Space::local, t, r.address);
}
void reach_parameters(Warp& w, const Instruction& i, Mask m, const Touch& t, Reached& r) {
  for (Mask rest = m; rest; rest &= rest - 1) {
    const int l = std::countr_zero(rest);
    r.at[l] = parameter_byte(w, i, l, t, r.address[l]);
  }
}
void reach_generic(Warp& w, const Instruction& i, Mask m, const Touch& t, Reached& r) {
  Mask of[4] = {0, 0, 0, 0};  // global, shared, local, parameters
  for (Mask rest = m; rest; rest &= rest - 1) {
    const int l = std::countr_zero(rest);
    const uint64_t a = r.address[l];
    of[a < kSharedWindow ? 0 : a < kLocalWindow ? 1 : a < kParameterWindow ? 2 : 3] |= Mask{1} << l;
  }
  if (of[0] == m) return reach_global(w, i, m, t, r);
  Reached part = r;
  const auto take = [&](Mask lanes, uint64_t window, auto&& function) {
    if (lanes == 0) return;
    for (int l = 0; l < kLanes; l++) part.address[l] = r.address[l] - window;
    function(w, i, lanes, t, part);
    for (int l = 0; l < kLanes; l++) {
      if (lanes >> l & 1) r.at[l] = part.at[l];
    }
  };
  take(of[0], 0, reach_global);
  take(of[1], kSharedWindow, reach_shared);
  take(of[2], kLocalWindow, reach_local);
  take(of[3], kParameterWindow, reach_parameters);
}

}  // namespace

template <Where kWhere>
void reach(Warp& w, const Instruction& i, Mask m, const Touch& touch, Reached& r) {
  load_addresses(w, i.a, (i.variant & kWideAddress) != 0, i.offset, r.address);
  if constexpr (kWhere == Where::global) reach_global(w, i, m, touch, r);
  else if constexpr (kWhere == Where::shared) reach_shared(w, i, m, touch, r);
  else if constexpr (kWhere == Where::local) reach_local(w, i, m, touch, r);
  else if constexpr (kWhere == Where::parameter) reach_parameters(w, i, m, touch, r);
  else reach_generic(w, i, m, touch, r);
}
template void reach<Where::generic>(Warp&, const Instruction&, Mask, const Touch&, Reached&);
template void reach<Where::global>(Warp&, const Instruction&, Mask, const Touch&, Reached&);
template void reach<Where::shared>(Warp&, const Instruction&, Mask, const Touch&, Reached&);
template void reach<Where::local>(Warp&, const Instruction&, Mask, const Touch&, Reached&);
template void reach<Where::parameter>(Warp&, const Instruction&, Mask, const Touch&, Reached&);

void reach_from(Warp& w, const Instruction& i, Mask m, Where where, uint32_t base, bool wide, int64_t offset, const Touch& touch, Reached& r) {
  load_addresses(w, base, wide, offset, r.address);
  switch (where) {
    case Where::global: return reach_global(w, i, m, touch, r);
    case Where::shared: return reach_shared(w, i, m, touch, r);
    case Where::local: return reach_local(w, i, m, touch, r);
    case Where::parameter: return reach_parameters(w, i, m, touch, r);
    case Where::generic: return reach_generic(w, i, m, touch, r);
  }
}
void observe(Warp& w, const Instruction& i, Mask m, Space space, const uint64_t* address, const Touch& touch) {
  if (w.block->observer) tell(w, i, m, space, touch, address);
}

Where take_space(Decoder& d) {
  // Variables in constant space have addresses as those in global space.
  switch (d.take_one_of("global", "const", "shared", "shared::cta", "local", "param", "param::entry", "param::func")) {
    case 0:
    case 1: return Where::global;
    case 2:
    case 3: return Where::shared;
    case 4: return Where::local;
    case 5:
    case 6:
    case 7: return Where::parameter;
    default: return Where::generic;
  }
}
void take_hints(Decoder& d) {
  static const char* const hints[] = {
      "ca", "cg", "cs", "lu", "cv", "wb", "wt", "nc",
      "L1::evict_normal", "L1::evict_unchanged", "L1::evict_first", "L1::evict_last", "L1::no_allocate",
      "L2::evict_normal", "L2::evict_first", "L2::evict_last", "L2::64B", "L2::128B", "L2::256B",
  };
  for (const char* hint : hints) d.take(hint);
}
void put_address(Instruction& i, const Address& a) {
  i.a = a.base, i.offset = a.offset;
  if (a.wide) i.variant |= kWideAddress;
}

}  // namespace emulator
