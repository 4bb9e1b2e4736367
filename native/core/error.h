// The one exception type of the native side. The addon turns it into a JavaScript error with `code`.
#pragma once
#include <sstream>
#include <stdexcept>
#include <string>

namespace fpdt {

class Error : public std::runtime_error {
 public:
  // `code` is one word for programs ("out_of_memory", "shape", "native", "stopped"); `message` says value, place and what to try.
  Error(std::string code, const std::string& message) : std::runtime_error(message), code_(std::move(code)) {}
  const std::string& code() const { return code_; }

 private:
  std::string code_;
};

}  // namespace fpdt

// A broken promise between our own parts (never a user's mistake): says the condition and the place.
#define FPDT_CHECK(condition, ...)                                                                          \
  do {                                                                                                      \
    if (!(condition)) {                                                                                     \
      std::ostringstream fpdt_check_;                                                                       \
      fpdt_check_ << __VA_ARGS__ << " (" #condition ", " << __FILE__ << ":" << __LINE__ << ")";            \
      throw ::fpdt::Error("native", fpdt_check_.str());                                                     \
    }                                                                                                       \
  } while (0)
