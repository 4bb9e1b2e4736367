#include "json.h"

#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

namespace emulator {
namespace {

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  Json whole() {
    Json value = one();
    space();
    if (at_ != text_.size()) fail("nothing more");
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string& expected) const {
    throw std::runtime_error("JSON: expected " + expected + " at byte " + std::to_string(at_) + " of " + std::string(text_.substr(0, 200)));
  }
  void space() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }
  char peek() {
    space();
    if (at_ == text_.size()) fail("a value");
    return text_[at_];
  }
  bool take(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  void need(char c) {
    if (!take(c)) fail(std::string("'") + c + "'");
  }
  bool word(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  Json one() {
    switch (peek()) {
      case '{': return members();
      case '[': return elements();
      case '"': return Json(characters());
      default: break;
    }
    if (word("true")) return Json(true);
    if (word("false")) return Json(false);
    if (word("null")) return Json();
    const std::string rest(text_.substr(at_, 40));
    char* end = nullptr;
    const double value = std::strtod(rest.c_str(), &end);
    if (end == rest.c_str()) fail("a value");
    at_ += static_cast<size_t>(end - rest.c_str());
    return Json(value);
  }

  Json members() {
    Json json = Json::make_object();
    need('{');
    if (take('}')) return json;
    do {
      if (peek() != '"') fail("a name in quotes");
      std::string name = characters();
      need(':');
      json.object[std::move(name)] = one();
    } while (take(','));
    need('}');
    return json;
  }

  Json elements() {
    Json json = Json::make_array();
    need('[');
    if (take(']')) return json;
    do json.array.push_back(one());
    while (take(','));
    need(']');
    return json;
  }

  std::string characters() {
    need('"');
    std::string out;
    while (at_ < text_.size() && text_[at_] != '"') {
      char c = text_[at_++];
      if (c != '\\') {
        out += c;
        continue;
      }
      if (at_ == text_.size()) fail("an escape");
      c = text_[at_++];
      switch (c) {
        case 'n': out += '\n'; break;
        case 't': out += '\t'; break;
        case 'r': out += '\r'; break;
        case 'b': out += '\b'; break;
        case 'f': out += '\f'; break;
        case 'u': utf8(out); break;
        default: out += c;
      }
    }
    need('"');
    return out;
  }

  void utf8(std::string& out) {
    if (at_ + 4 > text_.size()) fail("four hex digits");
    const unsigned code = static_cast<unsigned>(std::strtoul(std::string(text_.substr(at_, 4)).c_str(), nullptr, 16));
    at_ += 4;
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += static_cast<char>(0xc0 | code >> 6);
      out += static_cast<char>(0x80 | (code & 0x3f));
    } else {
      out += static_cast<char>(0xe0 | code >> 12);
      out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
      out += static_cast<char>(0x80 | (code & 0x3f));
    }
  }

  std::string_view text_;
  size_t at_ = 0;
};

void write_string(std::string& out, const std::string& text) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", c);
      out += escape;
    } else {
      out += c;
    }
  }
  out += '"';
}

void write_value(std::string& out, const Json& json) {
  switch (json.kind) {
    case Json::Kind::null: out += "null"; break;
    case Json::Kind::boolean: out += json.boolean ? "true" : "false"; break;
    case Json::Kind::number: {
      char text[32];
      if (json.number == std::floor(json.number) && std::abs(json.number) < 9e15) std::snprintf(text, sizeof text, "%lld", static_cast<long long>(json.number));
      else std::snprintf(text, sizeof text, "%.17g", json.number);
      out += std::isfinite(json.number) ? text : "null";
      break;
    }
    case Json::Kind::string: write_string(out, json.string); break;
    case Json::Kind::array: {
      out += '[';
      for (size_t i = 0; i < json.array.size(); ++i) {
        if (i) out += ',';
        write_value(out, json.array[i]);
      }
      out += ']';
      break;
    }
    case Json::Kind::object: {
      out += '{';
      bool first = true;
      for (const auto& [name, value] : json.object) {
        if (!first) out += ',';
        first = false;
        write_string(out, name);
        out += ':';
        write_value(out, value);
      }
      out += '}';
      break;
    }
  }
}

[[noreturn]] void wrong(const std::string& what, const char* kind) { throw std::runtime_error("emulator: " + what + " must be " + kind); }

}  // namespace

Json Json::read(std::string_view text) { return Reader(text).whole(); }

std::string Json::write() const {
  std::string out;
  write_value(out, *this);
  return out;
}

const Json* Json::find(const std::string& name) const {
  const auto at = object.find(name);
  return at == object.end() ? nullptr : &at->second;
}

double Json::as_number(const std::string& what) const {
  if (kind != Kind::number) wrong(what, "a number");
  return number;
}
bool Json::as_boolean(const std::string& what) const {
  if (kind != Kind::boolean) wrong(what, "true or false");
  return boolean;
}
const std::string& Json::as_string(const std::string& what) const {
  if (kind != Kind::string) wrong(what, "a string");
  return string;
}

}  // namespace emulator
