// bra brx call ret exit, barriers of the block, trap, nanosleep. What jumps, leaves and waits is done in schedule.cc.
#include <cstdio>

#include "decode.h"
#include "lanes.h"
#include "reach.h"

namespace emulator {
namespace {

void nothing(Warp&, const Instruction&, Mask) {}
void trap(Warp& w, const Instruction& i, Mask m) { fault(w, i, std::countr_zero(m), "trap", "the kernel stops itself"); }

void decode_bra(Decoder& d) {
  d.take("uni");
  const uint32_t target = d.label(d.operand(0).text);
  auto& i = d.emit(nothing).instruction;
  i.flow = Flow::branch, i.target = target;
}
void decode_brx(Decoder& d) {
  if (!d.take("idx")) d.unknown("no .idx");
  d.take("uni");
  const uint32_t index = d.read(0, Type::u32), table = d.table(d.operand(1).text);
  auto& i = d.emit(nothing).instruction;
  i.flow = Flow::branch_indexed, i.a = index, i.target = table;
}
void decode_exit(Decoder& d) { d.emit(nothing).instruction.flow = Flow::leave; }
void decode_ret(Decoder& d) {
  d.take("uni");
  auto& i = d.emit(nothing).instruction;
  i.flow = Flow::leave;
  if (d.in_function()) i.flow = Flow::branch, i.target = d.return_label();
}
void decode_trap(Decoder& d) { d.emit(trap); }
void decode_nanosleep(Decoder& d) {
  if (d.take_type() != Type::u32) d.unknown("not for this type");
  d.emit(nothing).instruction.flow = Flow::yield;
}

// bar.sync a{, b}; bar.red.popc.u32 d, a{, b}, {!}c.
void decode_bar(Decoder& d) {
  const bool is_barrier = d.statement().opcode.starts_with("barrier");
  d.take("cta");
  if (d.take("warp")) {
    if (!d.take("sync")) d.unknown("no .sync");
    const uint32_t members = d.read(0, Type::b32);
    auto& i = d.emit([](Warp& w, const Instruction&, Mask m) {
      if (w.block->observer) w.block->observer->warp_barrier(w.number, m);
    }).instruction;
    i.flow = Flow::together, i.members = members, i.variant = kMeetsAnywhere;
    return;
  }
  const bool sync = d.take("sync");
  if (!sync && !d.take("red")) d.unknown("neither .sync nor .red: one who only arrives must not learn what others did");
  const bool aligned = d.take("aligned") || !is_barrier;
  size_t at = 0;
  BarrierKind kind = BarrierKind::sync;
  uint32_t to = 0;
  if (!sync) {
    const int op = d.take_one_of("and", "or", "popc");
    const Type t = d.take_type();
    if (op < 0 || t != (op == 2 ? Type::u32 : Type::pred)) d.unknown("not for this type");
    kind = op == 0 ? BarrierKind::red_and : op == 1 ? BarrierKind::red_or : BarrierKind::red_popc;
    to = d.write(at++, t);
  }
  const size_t last = d.operands() - (sync ? 0 : 1);
  const uint32_t id = d.read(at++, Type::u32);
  const uint32_t count = at < last ? d.read(at++, Type::u32) : 0;
  const uint32_t asks = !sync ? d.read(at++, Type::pred) : 0;
  if (at != d.operands()) d.unknown("another number of operands");
  auto& i = d.emit(nothing).instruction;
  i.flow = Flow::barrier, i.variant = static_cast<uint8_t>(kind), i.extra = aligned;
  i.d = to, i.a = id, i.b = count, i.c = asks;
}

// ---------------------------------------------------------------------------------------------------------------- call
// Bytes at a generic address, up to a zero, for printf and assert.
std::string text_at(Warp& w, const Instruction& i, int lane, uint64_t address) {
  std::string text;
  for (;; address++) {
    Reached r;
    const uint32_t base = 0;
    std::byte c;
    auto* slot = result<uint64_t>(w, base);  // the slot that nobody reads
    slot[lane] = address;
    reach_from(w, i, Mask{1} << lane, Where::generic, base, true, 0, {1, 1, AccessKind::read}, r);
    c = *r.at[lane];
    if (c == std::byte{0}) return text;
    text += static_cast<char>(c);
  }
}
template <class T>
T value_at(Warp& w, const Instruction& i, int lane, uint64_t address) {
  Reached r;
  result<uint64_t>(w, 0)[lane] = address;
  reach_from(w, i, Mask{1} << lane, Where::generic, 0, true, 0, {sizeof(T), sizeof(T), AccessKind::read}, r);
  T value;
  std::memcpy(&value, r.at[lane], sizeof(T));
  return value;
}
template <class T>
T argument(const Warp& w, int lane, uint32_t offset) {
  T value;
  std::memcpy(&value, w.local + size_t{static_cast<uint32_t>(lane)} * w.block->kernel->local_bytes + offset, sizeof(T));
  return value;
}
// printf(format, arguments): doubles and pointers take 8 bytes, ints 4, each at a multiple of its size.
void print(Warp& w, const Instruction& i, Mask m) {
  for (Mask rest = m; rest; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    const std::string format = text_at(w, i, lane, argument<uint64_t>(w, lane, static_cast<uint32_t>(i.offset)));
    uint64_t at = argument<uint64_t>(w, lane, i.extra);
    const auto next = [&]<class T>(T) {
      at = (at + sizeof(T) - 1) / sizeof(T) * sizeof(T);
      const T value = value_at<T>(w, i, lane, at);
      at += sizeof(T);
      return value;
    };
    std::string out;
    for (size_t n = 0; n < format.size(); n++) {
      if (format[n] != '%') {
        out += format[n];
        continue;
      }
      const size_t end = format.find_first_of("diouxXfeEgGaAcsp%", n + 1);
      if (end == std::string::npos) break;
      std::string one = format.substr(n, end - n + 1);
      n = end;
      char text[512];
      const char kind = one.back();
      if (kind == '%') {
        out += '%';
        continue;
      }
      while (one.find('*') != std::string::npos) one.replace(one.find('*'), 1, std::to_string(next(int32_t{})));
      const bool is_long = one.find('l') != std::string::npos || one.find('z') != std::string::npos || one.find('j') != std::string::npos || one.find('t') != std::string::npos;
      if (std::string("feEgGaA").find(kind) != std::string::npos) std::snprintf(text, sizeof text, one.c_str(), next(double{}));
      else if (kind == 's') std::snprintf(text, sizeof text, one.c_str(), text_at(w, i, lane, next(uint64_t{})).c_str());
      else if (kind == 'p' || is_long) std::snprintf(text, sizeof text, one.c_str(), next(uint64_t{}));
      else std::snprintf(text, sizeof text, one.c_str(), next(uint32_t{}));
      out += text;
    }
    std::fputs(out.c_str(), stdout);
    if (i.d) result<uint32_t>(w, i.d)[lane] = 0;
  }
  std::fflush(stdout);
}
// __assertfail(message, file, line, function, size)
void assert_failed(Warp& w, const Instruction& i, Mask m) {
  const int lane = std::countr_zero(m);
  const std::string message = text_at(w, i, lane, argument<uint64_t>(w, lane, static_cast<uint32_t>(i.offset))), file = text_at(w, i, lane, argument<uint64_t>(w, lane, i.extra));
  fault(w, i, lane, "assert", file + ":" + std::to_string(argument<uint32_t>(w, lane, i.target)) + ": assertion '" + message + "' failed");
}
void decode_call(Decoder& d) {
  d.take("uni");
  size_t at = 0;
  std::vector<Operand> results, arguments;
  if (d.operand(0).kind == Operand::list) results = d.operand(at++).elements;
  const std::string_view name = d.operand(at++).text;
  if (at < d.operands()) arguments = d.operand(at++).elements;
  if (at != d.operands()) d.unknown("indirect calls are not known");
  if (name == "vprintf" && arguments.size() == 2) {
    auto& i = d.emit(print).instruction;
    i.offset = d.call_parameter(arguments[0]), i.extra = d.call_parameter(arguments[1]);
  } else if (name == "__assertfail" && arguments.size() == 5) {
    auto& i = d.emit(assert_failed).instruction;
    i.offset = d.call_parameter(arguments[0]), i.extra = d.call_parameter(arguments[1]), i.target = d.call_parameter(arguments[2]);
  } else {
    d.call(name, results, arguments);
  }
}

}  // namespace

void add_control(Opcodes& table) {
  table["bra"] = decode_bra;
  table["brx"] = decode_brx;
  table["exit"] = decode_exit;
  table["ret"] = decode_ret;
  table["call"] = decode_call;
  table["bar"] = decode_bar;
  table["barrier"] = decode_bar;
  table["trap"] = decode_trap;
  table["brkpt"] = decode_trap;
  table["nanosleep"] = decode_nanosleep;
}

}  // namespace emulator
