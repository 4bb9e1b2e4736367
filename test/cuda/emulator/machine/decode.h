// From statements to instructions. Each family of opcodes has a file that adds its decoders to a table; a decoder takes the modifiers that it knows, names
// result and sources, and whatever is left over is a Fault: nothing is guessed.
#pragma once
#include <deque>
#include <map>
#include <string>
#include <unordered_map>

#include "../ptx/module.h"
#include "../ptx/registers.h"
#include "../ptx/syntax.h"

namespace emulator {

// An instruction whose operands are still numbers of virtual registers (+ 1; 0: none) or of constants (| kConstant), and whose target is a label.
struct Draft {
  Instruction instruction;
  std::vector<uint32_t> results, sources;  // become Instruction::list
};

// A place in memory as an address operand names it.
struct Address {
  uint32_t base;    // operand
  bool wide;        // 64 bits
  int64_t offset;
};

class Decoder {
 public:
  Decoder(const ParsedModule& module, const std::string& text) : module_(module), text_(text) {}
  std::unique_ptr<Kernel> decode(const Function& entry);

  // ---- of the statement
  const Statement& statement() const { return *statement_; }
  bool take(std::string_view modifier);
  template <class... Names>
  int take_one_of(Names... names) {  // index of the one that is there, -1 without
    int index = 0, found = -1;
    ((take(names) ? found = index++ : index++), ...);
    return found;
  }
  std::string_view take_first();  // the modifier that comes first, whatever it is
  std::string_view peek_first() const { return modifiers_.empty() ? std::string_view{} : modifiers_.front(); }
  Type take_type();               // the first modifier that is a type
  [[noreturn]] void unknown(const std::string& why) const;
  size_t operands() const { return statement_->operands.size(); }
  const Operand& operand(size_t n) const;

  // ---- operands
  uint32_t read(const Operand& o, Type type);
  uint32_t write(const Operand& o, Type type);
  uint32_t read(size_t n, Type type) { return read(operand(n), type); }
  uint32_t write(size_t n, Type type) { return write(operand(n), type); }
  // Registers of any width, as ld, st and cvt take them: the type of the register that is named; `type` for numbers.
  Type register_type(const Operand& o, Type type) const;
  Address address(const Operand& o);
  bool is_variable(const Operand& o, std::string_view space) const;  // an address or name whose base is a variable in that space
  uint32_t constant(uint64_t bits, RegisterClass kind);
  uint32_t temporary(Type type);

  // ---- instructions
  Draft& emit(Execute execute);  // under the guard of the statement

  // ---- what the decoders of control flow need
  uint32_t label(std::string_view name);
  uint32_t table(std::string_view name);
  bool in_function() const { return !returns_.empty(); }
  uint32_t return_label() const { return returns_.back(); }
  void call(std::string_view name, const std::vector<Operand>& results, const std::vector<Operand>& arguments);
  uint32_t call_parameter(const Operand& o);  // offset of a .param variable of a call in local memory
  Kernel& kernel() { return *kernel_; }
  void releases() { kernel_->shape.releases = true; }  // one instruction of the kernel does

 private:
  struct Symbol {
    enum Kind : uint8_t { reg, shared, dynamic_shared, local, parameter, variable, label, table } kind;
    Type type = Type::none;  // of a register
    uint64_t value = 0;      // register: number; variables: offset; labels: number
  };
  using Scope = std::unordered_map<std::string_view, Symbol>;
  struct Constant {
    uint64_t bits;
    RegisterClass kind;
    bool dynamic_shared = false;
    std::string variable;
  };

  void walk(const Block& block);
  void one(const Statement& s);
  void declare(const Declaration& d);
  const Symbol* find(std::string_view name);
  const Symbol& symbol(std::string_view name);
  uint32_t symbol_address(const Symbol& s, std::string_view name, int64_t offset, RegisterClass kind);
  uint32_t virtual_register(Type type);
  void finish();
  std::string_view intern(std::string name) { return names_.emplace_back(std::move(name)); }

  const ParsedModule& module_;
  const std::string& text_;
  std::unique_ptr<Kernel> kernel_;
  std::vector<Draft> drafts_;
  std::vector<Scope> scopes_;
  std::vector<RegisterClass> registers_;
  std::vector<Constant> constants_;
  std::map<std::pair<uint64_t, RegisterClass>, uint32_t> known_constants_;
  std::map<Special, uint32_t> specials_;
  std::vector<uint32_t> labels_;  // pc of each
  std::vector<std::vector<uint32_t>> tables_;
  std::vector<uint32_t> returns_;
  std::vector<std::string_view> calls_;
  uint32_t shared_bytes_ = 0, local_bytes_ = 0, dynamic_alignment_ = 16;
  std::deque<std::string> names_;  // of registers that were declared by number
  const Statement* statement_ = nullptr;
  std::vector<std::string_view> modifiers_;
};

using Decode = void (*)(Decoder&);
using Opcodes = std::unordered_map<std::string_view, Decode>;
// One per family.
void add_arithmetic(Opcodes& table);
void add_signs(Opcodes& table);
void add_functions(Opcodes& table);
void add_comparison(Opcodes& table);
void add_selection(Opcodes& table);
void add_bits(Opcodes& table);
void add_conversions(Opcodes& table);
void add_memory(Opcodes& table);
void add_copies(Opcodes& table);
void add_atomics(Opcodes& table);
void add_warp_operations(Opcodes& table);
void add_tensor(Opcodes& table);
void add_control(Opcodes& table);

}  // namespace emulator
