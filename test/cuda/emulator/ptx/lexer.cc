#include "lexer.h"

#include <cctype>
#include <string>

#include "../machine/machine.h"

namespace emulator {
namespace {

bool begins_word(char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '%' || c == '.'; }
bool continues_word(char c) { return begins_word(c) || std::isdigit(static_cast<unsigned char>(c)); }

}  // namespace

std::vector<Token> tokenize(std::string_view text) {
  std::vector<Token> tokens;
  uint32_t line = 1;
  size_t at = 0;
  const auto peek = [&](size_t ahead) { return at + ahead < text.size() ? text[at + ahead] : '\0'; };
  while (at < text.size()) {
    const char c = text[at];
    if (c == '\n') {
      line++, at++;
    } else if (std::isspace(static_cast<unsigned char>(c))) {
      at++;
    } else if (c == '/' && peek(1) == '/') {
      while (at < text.size() && text[at] != '\n') at++;
    } else if (c == '/' && peek(1) == '*') {
      for (at += 2; at < text.size() && !(text[at] == '*' && peek(1) == '/'); at++) line += text[at] == '\n';
      at += 2;
    } else if (c == '"') {
      const size_t start = ++at;
      while (at < text.size() && text[at] != '"') at += text[at] == '\\' ? 2 : 1;
      tokens.push_back({Token::string, text.substr(start, at - start), line});
      at++;
    } else if (std::isdigit(static_cast<unsigned char>(c))) {  // 12, 0x1F, 0f3F800000, 0d..., 7U; a version "9.0" too
      const size_t start = at;
      while (at < text.size() && (std::isalnum(static_cast<unsigned char>(text[at])) || (text[at] == '.' && std::isdigit(static_cast<unsigned char>(peek(1)))))) at++;
      tokens.push_back({Token::number, text.substr(start, at - start), line});
    } else if (begins_word(c)) {
      const size_t start = at;
      while (at < text.size()) {
        if (text[at] == ':' && peek(1) == ':') at += 2;  // .shared::cta, .L2::128B
        else if (continues_word(text[at])) at++;
        else break;
      }
      tokens.push_back({Token::word, text.substr(start, at - start), line});
    } else {
      tokens.push_back({Token::sign, text.substr(at, 1), line});
      at++;
    }
  }
  tokens.push_back({Token::end, {}, line});
  return tokens;
}

}  // namespace emulator
