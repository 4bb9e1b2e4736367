#include "../core/error.h"
#include "kernels.h"

namespace fpdt::cpu {

namespace {

bool has(Path path) {
  switch (path) {
    case Path::scalar:
      return true;
#ifdef __x86_64__
    case Path::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Path::avx512bf16:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bf16");
#else
    default:
      return false;
#endif
  }
  return false;
}

constexpr Path kBestFirst[] = {Path::avx512bf16, Path::avx2, Path::scalar};

}  // namespace

const char* path_name(Path path) {
  switch (path) {
    case Path::scalar: return "scalar";
    case Path::avx2: return "avx2";
    case Path::avx512bf16: return "avx512bf16";
  }
  return "unknown";
}

Path choose_path(const std::string& name) {
  std::string available;
  for (Path path : kBestFirst) {
    if (!has(path)) continue;
    if (name.empty() || name == path_name(path)) return path;
    available += (available.empty() ? "" : ", ") + std::string(path_name(path));
  }
  throw Error("native", "instruction path \"" + name + "\" is not one that this processor has; it has " + available);
}

}  // namespace fpdt::cpu
