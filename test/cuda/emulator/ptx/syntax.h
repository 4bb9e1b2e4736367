// What the parser makes of a module: declarations and statements as they are written, names not yet resolved.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace emulator {

// Fundamental types of PTX. The b types have bits and no arithmetic.
enum class Type : uint8_t { none, pred, b8, u8, s8, b16, u16, s16, f16, bf16, b32, u32, s32, f32, f16x2, bf16x2, b64, u64, s64, f64, b128 };
Type type_named(std::string_view name);  // "f32"; none where it is no type
const char* name_of(Type type);
uint32_t bytes_of(Type type);
constexpr bool is_signed(Type t) { return t == Type::s8 || t == Type::s16 || t == Type::s32 || t == Type::s64; }
constexpr bool is_float(Type t) { return t == Type::f16 || t == Type::bf16 || t == Type::f32 || t == Type::f64; }

struct Operand {
  enum Kind : uint8_t { name, number, address, list } kind;
  std::string_view text{};        // name: a register, label, variable or function; address: its base, empty where it is a number
  std::string_view second{};      // name: what follows '|' (setp, shfl)
  bool negated = false;           // !%p
  uint64_t bits = 0;              // number: its value, as 32 bits where it was written 0f...; address: its base where that is a number
  bool is_single = false;         // number: written 0f...
  bool is_double = false;         // number: written 0d...
  int64_t offset = 0;             // address and name: + constant
  std::vector<Operand> elements{};  // list: {a, b, c, d}, or (a, b) of a call
};

struct Statement {
  uint32_t line;
  std::string_view opcode;                  // with modifiers, as written
  std::vector<std::string_view> modifiers;  // "lt", "s32"
  std::string_view guard;                   // register of @p, empty without
  bool guard_negated = false;
  std::vector<Operand> operands;
};

// A variable in memory.
struct Declaration {
  std::string_view name;
  std::string_view space;  // "shared", "local", "param", "global", "const"
  Type type = Type::none;
  uint32_t alignment = 1;
  uint64_t bytes = 0;
  bool is_extern = false;  // shared: the dynamic part
  uint32_t line = 0;
  std::vector<std::byte> initial;
  struct Pointer {  // 8 bytes of `initial` that hold the address of a variable
    uint64_t at;
    std::string_view name;
    int64_t addend;
  };
  std::vector<Pointer> pointers;
};

struct RegisterDeclaration {
  std::string_view name;
  Type type;
  uint32_t count;  // of name0 .. name(count-1); 0: name alone
};

struct Block;
struct Item {
  enum Kind : uint8_t { statement, label, block, variable, registers, targets } kind;
  Statement statement_;
  std::string_view name;  // label; targets: the label of .branchtargets
  std::shared_ptr<Block> block_;
  Declaration variable_;
  RegisterDeclaration registers_;
  std::vector<std::string_view> targets_;
};
struct Block {
  std::vector<Item> items;
};

struct Function {
  std::string_view name;
  bool is_entry = false;
  bool has_body = false;
  uint32_t line = 0;
  std::vector<Declaration> results, parameters;
  uint32_t most_threads = 1024;
  Block body;
};

struct ParsedModule {
  std::vector<Declaration> variables;
  std::vector<Function> functions;
};

// Throws Fault "unknown instruction" with line and text where it meets something that it does not know.
ParsedModule parse(std::string_view text);

// Line `number` (from 1) of a text, without the blanks around it.
std::string line_of(std::string_view text, uint32_t number);

}  // namespace emulator
