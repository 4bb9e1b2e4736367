// Files of the system that hold lines "name number".
#pragma once
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace fpdt::host {

// The sum of the named numbers; nullopt where the file has none of them.
inline std::optional<size_t> sum_of(const std::filesystem::path& file, std::initializer_list<std::string_view> names) {
  std::optional<size_t> sum;
  std::ifstream lines(file);
  std::string name;
  for (size_t number; lines >> name >> number; lines.ignore(std::numeric_limits<std::streamsize>::max(), '\n'))
    if (std::ranges::count(names, name)) sum = sum.value_or(0) + number;
  return sum;
}

}  // namespace fpdt::host
