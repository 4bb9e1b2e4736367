#include "decode.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "warp.h"

namespace emulator {
namespace {

const Opcodes& opcodes() {
  static const Opcodes table = [] {
    Opcodes t;
    add_arithmetic(t), add_signs(t), add_functions(t), add_comparison(t), add_selection(t), add_bits(t), add_conversions(t);
    add_memory(t), add_copies(t), add_atomics(t), add_warp_operations(t), add_tensor(t), add_control(t);
    return t;
  }();
  return table;
}

const std::unordered_map<std::string_view, Special>& specials() {
  static const std::unordered_map<std::string_view, Special> table = {
      {"%tid.x", Special::tid_x}, {"%tid.y", Special::tid_y}, {"%tid.z", Special::tid_z},
      {"%ntid.x", Special::ntid_x}, {"%ntid.y", Special::ntid_y}, {"%ntid.z", Special::ntid_z},
      {"%ctaid.x", Special::ctaid_x}, {"%ctaid.y", Special::ctaid_y}, {"%ctaid.z", Special::ctaid_z},
      {"%nctaid.x", Special::nctaid_x}, {"%nctaid.y", Special::nctaid_y}, {"%nctaid.z", Special::nctaid_z},
      {"%laneid", Special::laneid}, {"%warpid", Special::warpid}, {"%nwarpid", Special::nwarpid},
      {"%smid", Special::smid}, {"%nsmid", Special::nsmid}, {"%gridid", Special::gridid},
      {"%lanemask_eq", Special::lanemask_eq}, {"%lanemask_lt", Special::lanemask_lt}, {"%lanemask_le", Special::lanemask_le},
      {"%lanemask_gt", Special::lanemask_gt}, {"%lanemask_ge", Special::lanemask_ge},
      {"%dynamic_smem_size", Special::dynamic_smem_size}, {"%total_smem_size", Special::total_smem_size},
  };
  return table;
}

RegisterClass class_of(Type type) {
  return type == Type::pred ? RegisterClass::predicate : bytes_of(type) == 8 ? RegisterClass::wide : RegisterClass::word;
}
uint64_t round_up(uint64_t n, uint64_t unit) { return (n + unit - 1) / unit * unit; }

void not_predicate(Warp& w, const Instruction& i, Mask m) { write_predicate(w, i.d, m, ~read_predicate(w, i.a)); }
void nothing(Warp&, const Instruction&, Mask) {}

}  // namespace

void Decoder::unknown(const std::string& why) const {
  const uint32_t line = statement_ ? statement_->line : 0;
  throw Fault("unknown instruction", (kernel_ ? "kernel " + kernel_->shape.name + ", " : "") + "PTX line " + std::to_string(line) + ": " + line_of(text_, line) + ": " + why +
                                         "; write it otherwise, or add it to the emulator's machine (test/cuda/emulator/machine)");
}
bool Decoder::take(std::string_view modifier) {
  const auto found = std::find(modifiers_.begin(), modifiers_.end(), modifier);
  if (found == modifiers_.end()) return false;
  modifiers_.erase(found);
  return true;
}
std::string_view Decoder::take_first() {
  if (modifiers_.empty()) unknown("a modifier is missing");
  const std::string_view first = modifiers_.front();
  modifiers_.erase(modifiers_.begin());
  return first;
}
Type Decoder::take_type() {
  for (auto m = modifiers_.begin(); m != modifiers_.end(); ++m) {
    const Type type = type_named(*m);
    if (type == Type::none) continue;
    modifiers_.erase(m);
    return type;
  }
  unknown("no type");
}
const Operand& Decoder::operand(size_t n) const {
  if (n >= operands()) unknown("too few operands");
  return statement_->operands[n];
}

const Decoder::Symbol* Decoder::find(std::string_view name) {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    const auto found = scope->find(name);
    if (found != scope->end()) return &found->second;
  }
  return nullptr;
}
const Decoder::Symbol& Decoder::symbol(std::string_view name) {
  if (const Symbol* s = find(name)) return *s;
  for (const auto& d : module_.variables) {  // of the module: shared memory is laid out when a kernel first names it
    if (d.name != name) continue;
    if (d.space == "shared") {
      declare(d);
      return scopes_.front().at(name);
    }
    return scopes_.front()[d.name] = {Symbol::variable, d.type, 0};
  }
  unknown("'" + std::string(name) + "' is not known");
}
uint32_t Decoder::virtual_register(Type type) {
  registers_.push_back(class_of(type));
  return static_cast<uint32_t>(registers_.size());  // number + 1
}
uint32_t Decoder::temporary(Type type) { return virtual_register(type); }
uint32_t Decoder::constant(uint64_t bits, RegisterClass kind) {
  if (kind == RegisterClass::word) bits = static_cast<uint32_t>(bits);
  const auto [found, made] = known_constants_.try_emplace({bits, kind}, static_cast<uint32_t>(constants_.size()));
  if (made) constants_.push_back({bits, kind, false, {}});
  return found->second | kConstant;
}
uint32_t Decoder::symbol_address(const Symbol& s, std::string_view name, int64_t offset, RegisterClass kind) {
  switch (s.kind) {
    case Symbol::shared:
    case Symbol::local:
    case Symbol::parameter: return constant(s.value + static_cast<uint64_t>(offset), kind);
    case Symbol::dynamic_shared:
      constants_.push_back({static_cast<uint64_t>(offset), kind, true, {}});
      return static_cast<uint32_t>(constants_.size() - 1) | kConstant;
    case Symbol::variable:
      if (kind != RegisterClass::wide) unknown("an address in fewer than 64 bits");
      constants_.push_back({static_cast<uint64_t>(offset), kind, false, std::string(name)});
      return static_cast<uint32_t>(constants_.size() - 1) | kConstant;
    default: unknown("'" + std::string(name) + "' has no address");
  }
}

uint32_t Decoder::read(const Operand& o, Type type) {
  const RegisterClass kind = class_of(type);
  if (o.kind == Operand::number) {
    uint64_t bits = o.bits;
    if (type == Type::f32 && o.is_double) bits = std::bit_cast<uint32_t>(static_cast<float>(std::bit_cast<double>(bits)));
    else if (type == Type::f64 && o.is_single) bits = std::bit_cast<uint64_t>(static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits))));
    else if (type == Type::pred) bits = bits ? ~Mask{0} : 0;
    else if (bytes_of(type) < 4) bits &= (uint64_t{1} << 8 * bytes_of(type)) - 1;
    return constant(bits, kind);
  }
  if (o.kind != Operand::name) unknown("an operand of a kind that is not known here");
  if (o.text == "WARP_SZ") return constant(kLanes, kind);
  uint32_t number = 0;
  if (const Symbol* s = find(o.text); s && s->kind == Symbol::reg) {
    if (o.offset != 0) unknown("a register with an offset");
    if (class_of(s->type) != kind) unknown("register '" + std::string(o.text) + "' is of another width");
    number = static_cast<uint32_t>(s->value);
  } else if (const auto special = specials().find(o.text); special != specials().end()) {
    if (kind == RegisterClass::wide) unknown("a special register as 64 bits");
    const auto [found, made] = specials_.try_emplace(special->second, 0);
    if (made) found->second = virtual_register(Type::u32);
    number = found->second;
  } else {
    return symbol_address(symbol(o.text), o.text, o.offset, kind);
  }
  if (!o.negated) return number;
  if (type != Type::pred) unknown("'!' before a register that is no predicate");
  Draft negation;
  negation.instruction.execute = not_predicate;
  negation.instruction.line = statement_->line;
  negation.instruction.a = number;
  negation.instruction.d = temporary(Type::pred);
  drafts_.push_back(negation);
  return negation.instruction.d;
}
uint32_t Decoder::write(const Operand& o, Type type) {
  if (o.kind != Operand::name) unknown("a result that is no register");
  if (o.text == "_") return 0;
  const Symbol& s = symbol(o.text);
  if (s.kind != Symbol::reg) unknown("a result that is no register");
  if (class_of(s.type) != class_of(type)) unknown("register '" + std::string(o.text) + "' is of another width");
  return static_cast<uint32_t>(s.value);
}
Type Decoder::register_type(const Operand& o, Type type) const {
  if (o.kind != Operand::name || o.text == "_") return type;
  const Symbol* s = const_cast<Decoder*>(this)->find(o.text);
  return s && s->kind == Symbol::reg ? s->type : type;
}
Address Decoder::address(const Operand& o) {
  if (o.kind != Operand::address) unknown("not an address");
  if (o.text.empty()) return {constant(o.bits + static_cast<uint64_t>(o.offset), RegisterClass::wide), true, 0};
  const Symbol& s = symbol(o.text);
  if (s.kind != Symbol::reg) return {symbol_address(s, o.text, o.offset, RegisterClass::wide), true, 0};
  const RegisterClass kind = class_of(s.type);
  if (kind == RegisterClass::predicate || bytes_of(s.type) < 4) unknown("an address in fewer than 32 bits");
  return {static_cast<uint32_t>(s.value), kind == RegisterClass::wide, o.offset};
}

Draft& Decoder::emit(Execute execute) {
  uint32_t guard = kNone;
  if (!statement_->guard.empty()) {
    const Symbol& s = symbol(statement_->guard);
    if (s.kind != Symbol::reg || s.type != Type::pred) unknown("a guard that is no predicate");
    guard = static_cast<uint32_t>(s.value);
  }
  Draft& draft = drafts_.emplace_back();
  draft.instruction.execute = execute;
  draft.instruction.line = statement_->line;
  draft.instruction.guard = guard;
  draft.instruction.guard_negated = statement_->guard_negated;
  return draft;
}

void Decoder::declare(const Declaration& d) {
  if (d.space == "shared") {
    Scope& scope = find(d.name) == nullptr && &d >= module_.variables.data() && &d < module_.variables.data() + module_.variables.size() ? scopes_.front() : scopes_.back();
    if (d.is_extern) {
      dynamic_alignment_ = std::max(dynamic_alignment_, d.alignment);
      scope[d.name] = {Symbol::dynamic_shared, d.type, 0};
    } else {
      shared_bytes_ = static_cast<uint32_t>(round_up(shared_bytes_, d.alignment));
      scope[d.name] = {Symbol::shared, d.type, shared_bytes_};
      shared_bytes_ += static_cast<uint32_t>(d.bytes);
    }
  } else if (d.space == "local" || d.space == "param") {
    local_bytes_ = static_cast<uint32_t>(round_up(local_bytes_, d.alignment));
    scopes_.back()[d.name] = {d.space == "local" ? Symbol::local : Symbol::parameter, d.type, local_bytes_ + (d.space == "local" ? 0 : kCallParameters)};
    local_bytes_ += static_cast<uint32_t>(d.bytes);
  } else {
    throw Fault("unknown instruction", "PTX line " + std::to_string(d.line) + ": " + line_of(text_, d.line) + ": a variable in a function in this space is not known");
  }
}

uint32_t Decoder::label(std::string_view name) {
  const Symbol& s = symbol(name);
  if (s.kind != Symbol::label) unknown("'" + std::string(name) + "' is no label");
  return static_cast<uint32_t>(s.value);
}
uint32_t Decoder::table(std::string_view name) {
  const Symbol& s = symbol(name);
  if (s.kind != Symbol::table) unknown("'" + std::string(name) + "' is no list of targets");
  return static_cast<uint32_t>(s.value);
}
uint32_t Decoder::call_parameter(const Operand& o) {
  const Symbol& s = symbol(o.text);
  if (s.kind != Symbol::parameter || s.value < kCallParameters) unknown("an argument that is no .param variable");
  return static_cast<uint32_t>(s.value - kCallParameters);
}

void Decoder::walk(const Block& block) {
  scopes_.emplace_back();
  for (const auto& item : block.items) {
    if (item.kind == Item::label) {
      scopes_.back()[item.name] = {Symbol::label, Type::none, labels_.size()};
      labels_.push_back(kNone);
    }
  }
  for (const auto& item : block.items) {  // their targets may be labels further down
    if (item.kind != Item::targets) continue;
    std::vector<uint32_t> targets;
    for (const auto& name : item.targets_) targets.push_back(label(name));
    scopes_.back()[item.name] = {Symbol::table, Type::none, tables_.size()};
    tables_.push_back(targets);
  }
  for (const auto& item : block.items) {
    switch (item.kind) {
      case Item::statement: one(item.statement_); break;
      case Item::label: labels_[scopes_.back().at(item.name).value] = static_cast<uint32_t>(drafts_.size()); break;
      case Item::block: walk(*item.block_); break;
      case Item::variable: declare(item.variable_); break;
      case Item::targets: break;
      case Item::registers: {
        const auto& r = item.registers_;
        const auto declare_register = [&](std::string_view name) { scopes_.back()[name] = {Symbol::reg, r.type, virtual_register(r.type)}; };
        if (r.count == 0) declare_register(r.name);
        for (uint32_t n = 0; n < r.count; n++) declare_register(intern(std::string(r.name) + std::to_string(n)));
        break;
      }
    }
  }
  scopes_.pop_back();
}
void Decoder::one(const Statement& s) {
  const Statement* outer = statement_;
  const auto outer_modifiers = modifiers_;
  statement_ = &s;
  modifiers_ = s.modifiers;
  const auto found = opcodes().find(s.opcode.substr(0, s.opcode.find('.')));
  if (found == opcodes().end()) unknown("the emulator knows no such instruction");
  found->second(*this);
  if (!modifiers_.empty()) unknown("modifier '." + std::string(modifiers_.front()) + "' is not known here");
  statement_ = outer;
  modifiers_ = outer_modifiers;
}

// A call becomes the body of the function, with registers of its own: parameters are the caller's .param variables, return a branch to the end.
void Decoder::call(std::string_view name, const std::vector<Operand>& results, const std::vector<Operand>& arguments) {
  const Function* f = nullptr;
  for (const auto& function : module_.functions) {
    if (function.name == name && function.has_body && !function.is_entry) f = &function;
  }
  if (f == nullptr) unknown("function '" + std::string(name) + "' is not known");
  if (std::find(calls_.begin(), calls_.end(), name) != calls_.end()) unknown("recursion is not known");
  if (results.size() != f->results.size() || arguments.size() != f->parameters.size()) unknown("another number of arguments than the function has");
  Scope parameters;
  for (size_t n = 0; n < results.size(); n++) parameters[f->results[n].name] = {Symbol::parameter, f->results[n].type, kCallParameters + call_parameter(results[n])};
  for (size_t n = 0; n < arguments.size(); n++) parameters[f->parameters[n].name] = {Symbol::parameter, f->parameters[n].type, kCallParameters + call_parameter(arguments[n])};
  const uint32_t end = static_cast<uint32_t>(labels_.size());
  labels_.push_back(kNone);
  if (!statement_->guard.empty()) {  // lanes whose guard does not hold go around the call
    Draft& around = emit(nothing);
    around.instruction.flow = Flow::branch;
    around.instruction.guard_negated = !around.instruction.guard_negated;
    around.instruction.target = end;
  }
  auto hidden = std::move(scopes_);
  scopes_.clear();
  scopes_.push_back(std::move(hidden.front()));
  scopes_.push_back(std::move(parameters));
  returns_.push_back(end);
  calls_.push_back(name);
  walk(f->body);
  calls_.pop_back();
  returns_.pop_back();
  labels_[end] = static_cast<uint32_t>(drafts_.size());
  hidden.front() = std::move(scopes_.front());
  scopes_ = std::move(hidden);
}

std::unique_ptr<Kernel> Decoder::decode(const Function& entry) {
  kernel_ = std::make_unique<Kernel>();
  kernel_->text = &text_;
  auto& shape = kernel_->shape;
  shape.name = entry.name;
  shape.most_threads = entry.most_threads;
  scopes_.emplace_back();  // of the module
  scopes_.emplace_back();
  uint64_t at = 0;
  for (const auto& p : entry.parameters) {
    at = round_up(at, p.alignment);
    scopes_.back()[p.name] = {Symbol::parameter, p.type, at};
    shape.offsets.push_back(static_cast<uint32_t>(at));
    shape.sizes.push_back(static_cast<uint32_t>(p.bytes));
    at += p.bytes;
  }
  shape.parameter_bytes = static_cast<uint32_t>(at);
  walk(entry.body);
  Statement end{};
  end.line = drafts_.empty() ? entry.line : drafts_.back().instruction.line;
  end.opcode = "exit";
  one(end);  // for kernels whose last statement is a label or a guarded one
  shape.static_shared_bytes = shared_bytes_;
  finish();
  return std::move(kernel_);
}

void Decoder::finish() {
  auto& k = *kernel_;
  // Control flow between drafts.
  std::vector<Flowing> flow(drafts_.size());
  for (auto& table : tables_) {
    for (auto& target : table) target = labels_[target];
  }
  k.tables = tables_;
  for (size_t n = 0; n < drafts_.size(); n++) {
    auto& [i, results, sources] = drafts_[n];
    auto& f = flow[n];
    f.conditional = i.guard != kNone;
    const auto use = [&](uint32_t operand) {
      if (operand != 0 && operand != kNone && !(operand & kConstant)) f.uses.push_back(operand - 1);
    };
    use(i.a), use(i.b), use(i.c), use(i.guard), use(i.members);
    for (uint32_t s : sources) use(s);
    if (i.d != 0) f.definitions.push_back(i.d - 1);
    for (uint32_t r : results) {
      if (r != 0) f.definitions.push_back(r - 1);
    }
    const bool always = i.guard == kNone;
    if (i.flow == Flow::branch) {
      i.target = labels_[i.target];
      f.next.push_back(i.target);
    } else if (i.flow == Flow::branch_indexed) {
      f.next = k.tables[i.target];
    }
    const bool leaves = i.flow == Flow::leave || i.flow == Flow::branch || i.flow == Flow::branch_indexed;
    if (!leaves || !always) f.next.push_back(static_cast<uint32_t>(n + 1));
  }
  std::vector<uint32_t> preset;
  for (const auto& [special, number] : specials_) preset.push_back(number - 1);
  const Slots slots = allocate(flow, registers_, preset, 256);
  k.register_bytes = slots.bytes;
  for (const auto& [special, number] : specials_) k.presets.push_back({special, slots.offset[number - 1]});
  // Memory.
  k.local_bytes = static_cast<uint32_t>(round_up(local_bytes_, 16));
  k.dynamic_offset = static_cast<uint32_t>(round_up(shared_bytes_, dynamic_alignment_));
  // Constants, broadcast to 32 lanes.
  std::vector<uint32_t> offsets(constants_.size());
  uint32_t bytes = 0;
  for (const auto kind : {RegisterClass::wide, RegisterClass::word, RegisterClass::predicate}) {
    for (size_t n = 0; n < constants_.size(); n++) {
      if (constants_[n].kind != kind) continue;
      offsets[n] = bytes;
      bytes += kind == RegisterClass::wide ? 256 : kind == RegisterClass::word ? 128 : 4;
    }
  }
  k.constants.assign(bytes / 8 + 40, 0);
  auto base = reinterpret_cast<uintptr_t>(k.constants.data());
  k.constant_base = reinterpret_cast<std::byte*>(round_up(base, 256));
  for (size_t n = 0; n < constants_.size(); n++) {
    const auto& c = constants_[n];
    const uint64_t value = c.bits + (c.dynamic_shared ? k.dynamic_offset : 0);
    const uint32_t narrow = static_cast<uint32_t>(value);
    std::byte* to = k.constant_base + offsets[n];
    if (!c.variable.empty()) k.relocations.push_back({offsets[n], c.variable, static_cast<int64_t>(c.bits)});
    for (int l = 0; l < (c.kind == RegisterClass::predicate ? 1 : kLanes); l++) {
      if (c.kind == RegisterClass::wide) std::memcpy(to + 8 * l, &value, 8);
      else std::memcpy(to + 4 * l, &narrow, 4);
    }
  }
  // Operands become offsets.
  const auto place = [&](uint32_t operand) -> uint32_t {
    if (operand == 0 || operand == kNone) return operand;
    return operand & kConstant ? offsets[operand & ~kConstant] | kConstant : slots.offset[operand - 1];
  };
  size_t list_size = 0;
  for (const auto& d : drafts_) list_size += d.results.size() + d.sources.size();
  k.lists.reserve(list_size);  // its addresses are kept
  for (auto& [i, results, sources] : drafts_) {
    i.d = place(i.d), i.a = place(i.a), i.b = place(i.b), i.c = place(i.c), i.guard = place(i.guard), i.members = place(i.members);
    i.list = k.lists.data() + k.lists.size();
    for (uint32_t r : results) k.lists.push_back(place(r));
    for (uint32_t s : sources) k.lists.push_back(place(s));
    k.code.push_back(i);
  }
}

}  // namespace emulator
