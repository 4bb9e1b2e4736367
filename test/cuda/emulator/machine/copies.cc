// cp.async: copies from global to shared memory that land when they are waited for, or at any time before.
#include <algorithm>

#include "reach.h"

namespace emulator {
namespace {

void land(Warp& w, const PendingCopies& p, Mask lanes) {
  for (Mask rest = lanes; rest; rest &= rest - 1) {
    const int l = std::countr_zero(rest);
    std::byte* to = w.block->shared + p.to[l];
    std::memcpy(to, p.from[l], p.valid[l]);
    std::memset(to + p.valid[l], 0, p.bytes - p.valid[l]);
  }
}

// cp.async [a], [b], bytes{, source bytes}: both sides are checked at once. With a seed a copy may land at once, else it does as late as it may: the first
// shows buffers that are still read, the second waits that are missing.
void issue(Warp& w, const Instruction& i, Mask m) {
  Reached to, from;
  PendingCopies p;
  p.bytes = i.extra, p.line = i.line, p.lanes = m;
  Mask reads = m;
  for (int l = 0; l < kLanes; l++) {
    p.valid[l] = i.c ? source<uint32_t>(w, i.c)[l] : p.bytes;
    if ((m >> l & 1) && p.valid[l] > p.bytes) {
      fault(w, i, l, "illegal address", "a copy of " + std::to_string(p.bytes) + " bytes that reads " + std::to_string(p.valid[l]) + ", which PTX leaves undefined");
    }
    if (p.valid[l] == 0) reads &= ~(Mask{1} << l);
  }
  reach_from(w, i, m, Where::shared, i.a, (i.variant & kWideAddress) != 0, i.offset, {p.bytes, p.bytes, AccessKind::write, true}, to);
  const uint32_t base = i.list[0];
  bool same = true;
  for (int l = 0; l < kLanes; l++) same &= !(reads >> l & 1) || p.valid[l] == p.bytes;
  const int64_t offset = static_cast<int64_t>(i.target);
  if (same) {
    if (reads) reach_from(w, i, reads, Where::global, base, true, offset, {p.bytes, p.bytes, AccessKind::read, true}, from);
  } else {  // lanes that copy less read less
    for (Mask rest = reads; rest; rest &= rest - 1) {
      const int l = std::countr_zero(rest);
      reach_from(w, i, Mask{1} << l, Where::global, base, true, offset, {p.valid[l], p.bytes, AccessKind::read, true}, from);
      p.from[l] = from.at[l], p.from_address[l] = from.address[l];
    }
  }
  for (int l = 0; l < kLanes; l++) {
    p.to[l] = static_cast<uint32_t>(to.address[l]);
    if (same) p.from[l] = from.at[l], p.from_address[l] = from.address[l];
    p.group[l] = w.copy_group[l];
  }
  if (w.block->options->seed != 0 && w.block->random.below(2)) land(w, p, m);
  w.copies.push_back(p);
}
void commit(Warp& w, const Instruction&, Mask m) {
  for (int l = 0; l < kLanes; l++) w.copy_group[l] += m >> l & 1;
}
// All but the `extra` groups that were committed last have landed.
void wait(Warp& w, const Instruction& i, Mask m) {
  if (i.variant) commit(w, i, m);
  for (auto& p : w.copies) {
    Mask lanes = 0;
    for (int l = 0; l < kLanes; l++) lanes |= Mask{(m & p.lanes) >> l & 1 && p.group[l] + i.extra < w.copy_group[l]} << l;
    if (lanes == 0) continue;
    land(w, p, lanes);
    if (w.block->observer) {
      uint64_t offset[kLanes];
      for (int l = 0; l < kLanes; l++) offset[l] = p.to[l];
      Instruction landed = i;
      landed.line = p.line;
      for (Mask rest = lanes; rest;) {  // lanes that read as much go together
        const uint32_t valid = p.valid[std::countr_zero(rest)];
        Mask alike = 0;
        for (int l = 0; l < kLanes; l++) alike |= Mask{(rest >> l & 1) && p.valid[l] == valid} << l;
        if (valid) observe(w, landed, alike, Space::global, p.from_address.data(), {valid, p.bytes, AccessKind::read});
        rest &= ~alike;
      }
      observe(w, landed, lanes, Space::shared, offset, {p.bytes, p.bytes, AccessKind::write});
    }
    p.lanes &= ~lanes;
  }
  std::erase_if(w.copies, [](const PendingCopies& p) { return p.lanes == 0; });
}

void decode_cp(Decoder& d) {
  if (!d.take("async")) d.unknown("no .async");
  if (d.take("commit_group")) {
    d.emit(commit);
    return;
  }
  const bool all = d.take("wait_all");
  if (all || d.take("wait_group")) {
    auto& i = d.emit(wait).instruction;
    i.variant = all, i.extra = all ? 0 : static_cast<uint32_t>(d.operand(0).bits);
    if (!all && d.operand(0).kind != Operand::number) d.unknown("the number of groups is no number");
    return;
  }
  const int cache = d.take_one_of("ca", "cg");
  if (cache < 0 || d.take_one_of("shared", "shared::cta") < 0 || !d.take("global")) d.unknown("not known");
  take_hints(d);
  if (d.operand(2).kind != Operand::number || d.operands() > 4) d.unknown("operands that are not known");
  const uint64_t bytes = d.operand(2).bits;
  if (bytes != 16 && (cache == 1 || (bytes != 4 && bytes != 8))) d.unknown("bytes that do not go");
  const Address to = d.address(d.operand(0)), from = d.address(d.operand(1));
  const uint32_t valid = d.operands() > 3 ? d.read(3, Type::u32) : 0;
  if (!from.wide) d.unknown("a global address in 32 bits");
  if (from.offset < 0 || from.offset > INT32_MAX) d.unknown("an offset that is not known here");
  auto& draft = d.emit(issue);
  auto& i = draft.instruction;
  put_address(i, to);
  i.c = valid, i.extra = static_cast<uint32_t>(bytes), i.target = static_cast<uint32_t>(from.offset);
  draft.sources.push_back(from.base);
}

}  // namespace

void add_copies(Opcodes& table) { table["cp"] = decode_cp; }

}  // namespace emulator
