// The little JSON that control() and FPDT_EMULATOR are written in: a value, read from text and written to text.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace emulator {

class Json {
 public:
  enum class Kind { null, boolean, number, string, array, object };

  Json() = default;
  Json(bool value) : kind(Kind::boolean), boolean(value) {}
  Json(double value) : kind(Kind::number), number(value) {}
  Json(int value) : Json(static_cast<double>(value)) {}
  Json(unsigned value) : Json(static_cast<double>(value)) {}
  Json(long value) : Json(static_cast<double>(value)) {}
  Json(unsigned long value) : Json(static_cast<double>(value)) {}
  Json(std::string value) : kind(Kind::string), string(std::move(value)) {}
  Json(const char* value) : Json(std::string(value)) {}
  static Json make_array() { return of(Kind::array); }
  static Json make_object() { return of(Kind::object); }

  // Throws std::runtime_error with the place.
  static Json read(std::string_view text);
  std::string write() const;

  const Json* find(const std::string& name) const;   // a member of an object, or nullptr
  Json& operator[](const std::string& name) { return object[name]; }
  // Each throws std::runtime_error naming `what` where the kind is another.
  double as_number(const std::string& what) const;
  bool as_boolean(const std::string& what) const;
  const std::string& as_string(const std::string& what) const;

  Kind kind = Kind::null;
  bool boolean = false;
  double number = 0;
  std::string string;
  std::vector<Json> array;
  std::map<std::string, Json> object;

 private:
  static Json of(Kind kind) {
    Json json;
    json.kind = kind;
    return json;
  }
};

}  // namespace emulator
