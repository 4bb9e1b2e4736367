// Tokens -> declarations and statements. Directives for debuggers and tuning (.loc, .pragma, .minnctapersm ...) have no meaning for values and are skipped
// by name; every other unknown one is a Fault.
#include <bit>
#include <charconv>
#include <cstring>

#include "../machine/machine.h"
#include "lexer.h"
#include "syntax.h"

namespace emulator {
namespace {

struct TypeName {
  Type type;
  const char* name;
  uint32_t bytes;
};
constexpr TypeName kTypes[] = {
    {Type::pred, "pred", 1},   {Type::b8, "b8", 1},         {Type::u8, "u8", 1},   {Type::s8, "s8", 1},   {Type::b16, "b16", 2},
    {Type::u16, "u16", 2},     {Type::s16, "s16", 2},       {Type::f16, "f16", 2}, {Type::bf16, "bf16", 2}, {Type::b32, "b32", 4},
    {Type::u32, "u32", 4},     {Type::s32, "s32", 4},       {Type::f32, "f32", 4}, {Type::f16x2, "f16x2", 4}, {Type::bf16x2, "bf16x2", 4},
    {Type::b64, "b64", 8},     {Type::u64, "u64", 8},       {Type::s64, "s64", 8}, {Type::f64, "f64", 8}, {Type::b128, "b128", 16},
};

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text), tokens_(tokenize(text)) {}

  ParsedModule module() {
    ParsedModule module;
    while (peek().kind != Token::end) top(module);
    return module;
  }

 private:
  const Token& peek(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  const Token& next() { return tokens_[at_ < tokens_.size() - 1 ? at_++ : at_]; }
  bool is(std::string_view text, size_t ahead = 0) const { return peek(ahead).kind != Token::string && peek(ahead).text == text; }
  bool accept(std::string_view text) { return is(text) ? (next(), true) : false; }
  void expect(std::string_view text) {
    if (!accept(text)) fail("expected '" + std::string(text) + "' instead of '" + std::string(peek().text) + "'");
  }
  [[noreturn]] void fail(const std::string& why) const {
    const uint32_t line = peek().line;
    throw Fault("unknown instruction", "PTX line " + std::to_string(line) + ": " + line_of(text_, line) + ": " + why);
  }
  std::string_view word() {
    if (peek().kind != Token::word) fail("expected a name");
    return next().text;
  }
  void skip_line() {
    const uint32_t line = peek().line;
    while (peek().line == line && peek().kind != Token::end) next();
  }

  // A number as PTX writes it, as bits.
  Operand number() {
    Operand o{Operand::number};
    const bool negative = accept("-");
    if (!negative) accept("+");
    const Token token = peek();
    if (token.kind != Token::number) fail("expected a number");
    next();
    std::string_view digits = token.text;
    int base = 10;
    const auto prefix = [&](char low, char high) { return digits.size() > 1 && digits[0] == '0' && (digits[1] == low || digits[1] == high); };
    if (prefix('f', 'F') && digits.size() == 10) o.is_single = true, base = 16, digits.remove_prefix(2);
    else if (prefix('d', 'D') && digits.size() == 18) o.is_double = true, base = 16, digits.remove_prefix(2);
    else if (prefix('x', 'X')) base = 16, digits.remove_prefix(2);
    else if (prefix('b', 'B')) base = 2, digits.remove_prefix(2);
    else if (digits.size() > 1 && digits[0] == '0') base = 8;
    if (digits.size() > 1 && (digits.back() == 'U' || digits.back() == 'u')) digits.remove_suffix(1);
    const auto [rest, error] = std::from_chars(digits.data(), digits.data() + digits.size(), o.bits, base);
    if (error != std::errc() || rest != digits.data() + digits.size()) fail("not a number: " + std::string(token.text));
    if (negative) {
      if (o.is_single) o.bits ^= 0x80000000u;
      else if (o.is_double) o.bits ^= uint64_t{1} << 63;
      else o.bits = ~o.bits + 1;
    }
    return o;
  }
  int64_t integer() { return static_cast<int64_t>(number().bits); }
  int64_t addend() {
    int64_t sum = 0;
    while (is("+") || is("-")) {
      const bool minus = next().text == "-";
      const int64_t value = integer();
      sum += minus ? -value : value;
    }
    return sum;
  }

  void top(ParsedModule& module) {
    const Token& token = peek();
    if (token.text == ".version" || token.text == ".target" || token.text == ".address_size" || token.text == ".file") return skip_line();
    if (token.text == ".section") {
      while (!accept("{")) next();
      while (!accept("}")) next();
      return;
    }
    if (accept(".pragma")) {
      while (!accept(";")) next();
      return;
    }
    if (accept(".alias")) fail("aliases are not known");
    bool is_extern = false;
    for (;;) {
      if (accept(".extern")) is_extern = true;
      else if (!accept(".visible") && !accept(".weak") && !accept(".common")) break;
    }
    if (is(".entry") || is(".func")) module.functions.push_back(function());
    else if (is(".global") || is(".const") || is(".shared")) variables(module.variables, is_extern);
    else fail("a directive that is not known");
  }

  Function function() {
    Function f;
    f.line = peek().line;
    f.is_entry = next().text == ".entry";
    while (accept(".attribute")) {
      while (!accept(")")) next();
    }
    if (accept("(")) parameters(f.results);
    f.name = word();
    if (accept("(")) parameters(f.parameters);
    for (;;) {
      if (accept(".maxntid") || accept(".reqntid")) {
        f.most_threads = static_cast<uint32_t>(integer());
        while (accept(",")) f.most_threads *= static_cast<uint32_t>(integer());
      } else if (accept(".minnctapersm") || accept(".maxnreg") || accept(".maxnctapersm")) {
        integer();
      } else if (accept(".pragma")) {
        while (!accept(";")) next();
      } else if (!accept(".noreturn")) {
        break;
      }
    }
    if (accept(";")) return f;
    expect("{");
    f.has_body = true;
    block(f.body);
    return f;
  }
  void parameters(std::vector<Declaration>& list) {
    if (accept(")")) return;
    do list.push_back(declaration());
    while (accept(","));
    expect(")");
  }

  // .space .align n .type name[count]: one variable; more names after it are read by variables().
  Declaration declaration() {
    Declaration d;
    d.line = peek().line;
    d.space = word().substr(1);
    if (d.space == "reg") fail("registers as parameters are not known");
    uint32_t vector = 1;
    for (;;) {
      if (accept(".align")) {
        d.alignment = static_cast<uint32_t>(integer());
      } else if (accept(".ptr")) {
        while (is(".global") || is(".const") || is(".shared") || is(".local")) next();
        if (accept(".align")) integer();  // of what it points to
      } else if (accept(".v2")) {
        vector = 2;
      } else if (accept(".v4")) {
        vector = 4;
      } else if (accept(".attribute")) {
        while (!accept(")")) next();
      } else if (peek().kind == Token::word && peek().text[0] == '.') {
        if (d.type != Type::none) fail("a variable with two types");
        d.type = type_named(next().text.substr(1));
        if (d.type == Type::none) fail("a type that is not known");
      } else {
        break;
      }
    }
    if (d.type == Type::none) fail("a variable without a type");
    d.alignment = std::max(d.alignment, bytes_of(d.type) * vector);
    d.bytes = bytes_of(d.type) * uint64_t{vector};
    name_and_value(d);
    return d;
  }
  void name_and_value(Declaration& d) {
    d.name = word();
    while (accept("[")) {
      d.bytes *= is("]") ? 0 : static_cast<uint64_t>(integer());
      expect("]");
    }
    if (!accept("=")) return;
    initial(d);
    if (d.bytes == 0) d.bytes = d.initial.size();
    if (d.initial.size() > d.bytes) fail("more initial values than the variable holds");
    d.initial.resize(d.bytes);
  }
  void initial(Declaration& d) {
    if (accept("{")) {
      if (accept("}")) return;
      do initial(d);
      while (accept(","));
      return expect("}");
    }
    const uint32_t bytes = bytes_of(d.type);
    uint64_t bits = 0;
    if (peek().kind == Token::word) {
      const bool generic = accept("generic");
      if (generic) expect("(");
      const std::string_view name = word();
      if (generic) expect(")");
      if (bytes != 8) fail("an address in a variable of " + std::to_string(bytes) + " bytes");
      d.pointers.push_back({d.initial.size(), name, addend()});
    } else {
      const Operand o = number();
      bits = o.bits;
      if (d.type == Type::f32 && o.is_double) bits = std::bit_cast<uint32_t>(static_cast<float>(std::bit_cast<double>(bits)));
      if (d.type == Type::f64 && o.is_single) bits = std::bit_cast<uint64_t>(static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits))));
    }
    for (uint32_t i = 0; i < bytes; i++) d.initial.push_back(static_cast<std::byte>(bits >> 8 * i));
  }
  void variables(std::vector<Declaration>& list, bool is_extern) {
    Declaration d = declaration();
    const uint64_t element = bytes_of(d.type);
    for (;;) {
      d.is_extern = is_extern;
      list.push_back(d);
      if (!accept(",")) break;
      d.bytes = element, d.initial.clear(), d.pointers.clear();
      name_and_value(d);
    }
    expect(";");
  }

  void block(Block& block) {
    while (!accept("}")) {
      if (peek().kind == Token::end) fail("a block that does not end");
      item(block);
    }
  }
  void item(Block& out) {
    Item item{};
    if (accept(";")) return;
    if (is(".loc") || is(".file")) return skip_line();
    if (accept(".pragma")) {
      while (!accept(";")) next();
      return;
    }
    if (accept("{")) {
      item.kind = Item::block;
      item.block_ = std::make_shared<Block>();
      block(*item.block_);
    } else if (is(".reg")) {
      return registers(out);
    } else if (is(".shared") || is(".local") || is(".param") || is(".global") || is(".const")) {
      std::vector<Declaration> list;
      variables(list, false);
      for (auto& d : list) {
        Item one{};
        one.kind = Item::variable;
        one.variable_ = std::move(d);
        out.items.push_back(std::move(one));
      }
      return;
    } else if (peek().kind == Token::word && is(":", 1)) {
      item.name = word();
      next();
      item.kind = Item::label;
      if (is(".branchtargets")) {
        next();
        item.kind = Item::targets;
        do item.targets_.push_back(word());
        while (accept(","));
        expect(";");
      } else if (is(".callprototype") || is(".calltargets")) {
        fail("indirect calls are not known");
      }
    } else {
      item.kind = Item::statement;
      item.statement_ = statement();
    }
    out.items.push_back(std::move(item));
  }
  void registers(Block& out) {
    next();
    const Type type = type_named(word().substr(1));
    if (type == Type::none || type == Type::b128) fail("registers of a type that is not known");
    do {
      Item item{};
      item.kind = Item::registers;
      item.registers_ = {word(), type, 0};
      if (accept("<")) {
        item.registers_.count = static_cast<uint32_t>(integer());
        expect(">");
      }
      out.items.push_back(std::move(item));
    } while (accept(","));
    expect(";");
  }

  Statement statement() {
    Statement s{};
    if (accept("@")) {
      s.guard_negated = accept("!");
      s.guard = word();
    }
    s.line = peek().line;
    s.opcode = word();
    std::string_view rest = s.opcode;
    for (size_t dot = rest.find('.'); dot != std::string_view::npos;) {
      rest.remove_prefix(dot + 1);
      dot = rest.find('.');
      s.modifiers.push_back(rest.substr(0, dot));
    }
    if (accept(";")) return s;
    do s.operands.push_back(operand());
    while (accept(","));
    expect(";");
    return s;
  }
  Operand operand() {
    if (is("{") || is("(")) {
      const bool brace = next().text == "{";
      const char* end = brace ? "}" : ")";
      Operand o{Operand::list};
      if (accept(end)) return o;
      do o.elements.push_back(operand());
      while (accept(","));
      expect(end);
      return o;
    }
    if (accept("[")) {
      Operand o{Operand::address};
      if (peek().kind == Token::word) o.text = next().text;
      else o.bits = number().bits;
      o.offset = addend();
      expect("]");
      return o;
    }
    if (peek().kind == Token::number || is("-") || is("+")) return number();
    Operand o{Operand::name};
    o.negated = accept("!");
    o.text = word();
    if (accept("|")) o.second = word();
    o.offset = addend();
    return o;
  }

  std::string_view text_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
};

}  // namespace

Type type_named(std::string_view name) {
  for (const auto& t : kTypes) {
    if (name == t.name) return t.type;
  }
  return Type::none;
}
const char* name_of(Type type) {
  for (const auto& t : kTypes) {
    if (type == t.type) return t.name;
  }
  return "none";
}
uint32_t bytes_of(Type type) {
  for (const auto& t : kTypes) {
    if (type == t.type) return t.bytes;
  }
  return 0;
}

ParsedModule parse(std::string_view text) { return Parser(text).module(); }

std::string line_of(std::string_view text, uint32_t number) {
  for (; number > 1 && !text.empty(); number--) {
    const size_t end = text.find('\n');
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  text = text.substr(0, text.find('\n'));
  const size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return "";
  return std::string(text.substr(first, text.find_last_not_of(" \t\r") - first + 1));
}

}  // namespace emulator
