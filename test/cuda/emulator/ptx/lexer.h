// Text of a PTX module -> tokens. Comments vanish; an opcode with its modifiers ("setp.lt.s32") is one word, and so is "%tid.x".
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

namespace emulator {

struct Token {
  enum Kind : uint8_t { word, number, string, sign, end } kind;
  std::string_view text;  // of the module's text; a string without its quotes
  uint32_t line;          // from 1
};

std::vector<Token> tokenize(std::string_view text);

}  // namespace emulator
