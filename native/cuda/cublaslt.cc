#include "cublaslt.h"

#include <dlfcn.h>
#include <glob.h>

#include <cstdlib>
#include <memory>
#include <mutex>
#include <vector>

#include "../core/error.h"

namespace fpdt::cuda::cublaslt {
namespace {

// The folder two above the addon's: of a clone, whose addon is native/build/fpdt.node.
std::string repository() {
  Dl_info own{};
  if (!dladdr(reinterpret_cast<const void*>(&library), &own) || !own.dli_fname) return "";
  std::string path = own.dli_fname;
  for (int i = 0; i < 3; i++) {
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos) return "";
    path.resize(slash);
  }
  return path;
}

// Where pip puts the library in an environment: nvidia/cu13/lib since CUDA 13, nvidia/cublas/lib before.
void add_installed(const std::string& environment, const std::string& file, std::vector<std::string>& found) {
  if (environment.empty()) return;
  glob_t names{};
  if (glob((environment + "/lib/python3*/site-packages/nvidia/*/lib/" + file).c_str(), 0, nullptr, &names) == 0)
    for (size_t i = 0; i < names.gl_pathc; i++) found.push_back(names.gl_pathv[i]);
  globfree(&names);
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::vector<std::string> candidates() {
  if (const std::string named = variable("FPDT_CUBLASLT"); !named.empty()) return {named};
  constexpr int kOwn = CUDART_VERSION / 1000;
  std::vector<std::string> files;
  // Both versions have the calls below. The one of our own toolkit first: a driver that runs the one runs the other.
  for (int version : {kOwn, kOwn == 13 ? 12 : 13}) {
    const std::string file = "libcublasLt.so." + std::to_string(version);
    for (const std::string& environment : {variable("VIRTUAL_ENV"), variable("CONDA_PREFIX"), repository() + "/.venv"}) add_installed(environment, file, files);
    files.push_back(file);  // the system's: LD_LIBRARY_PATH and ldconfig
    files.push_back("/usr/local/cuda/lib64/" + file);
  }
  return files;
}

template <class Function>
bool bind(void* handle, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(handle, name));
  return function != nullptr;
}

bool bind_all(void* handle, Library& l) {
  return bind(handle, "cublasLtGetVersion", l.GetVersion) && bind(handle, "cublasLtGetStatusString", l.GetStatusString) && bind(handle, "cublasLtCreate", l.Create) &&
         bind(handle, "cublasLtDestroy", l.Destroy) && bind(handle, "cublasLtMatmulDescCreate", l.MatmulDescCreate) && bind(handle, "cublasLtMatmulDescDestroy", l.MatmulDescDestroy) &&
         bind(handle, "cublasLtMatmulDescSetAttribute", l.MatmulDescSetAttribute) && bind(handle, "cublasLtMatrixLayoutCreate", l.MatrixLayoutCreate) &&
         bind(handle, "cublasLtMatrixLayoutDestroy", l.MatrixLayoutDestroy) && bind(handle, "cublasLtMatmulPreferenceCreate", l.MatmulPreferenceCreate) &&
         bind(handle, "cublasLtMatmulPreferenceDestroy", l.MatmulPreferenceDestroy) && bind(handle, "cublasLtMatmulPreferenceSetAttribute", l.MatmulPreferenceSetAttribute) &&
         bind(handle, "cublasLtMatmulAlgoGetHeuristic", l.MatmulAlgoGetHeuristic) && bind(handle, "cublasLtMatmul", l.Matmul);
}

// 120804 -> "12.8.4", as cublasLtGetVersion counts.
std::string version(size_t number) { return std::to_string(number / 10000) + "." + std::to_string(number / 100 % 100) + "." + std::to_string(number % 100); }

std::string driver() {
  int number = 0;
  if (cudaDriverGetVersion(&number) != cudaSuccess) cudaGetLastError();
  return "the driver has CUDA " + std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
}

// Why a library is of no use here, in words; "" where it is: of a version whose ABI is declared in the header, and it starts on the current device.
std::string refusal(const Library& l) {
  const size_t number = l.GetVersion();
  if (number / 10000 != 12 && number / 10000 != 13) return "it is cuBLASLt " + version(number) + "; 12 and 13 can be used";
  Context* context = nullptr;
  if (const Status status = l.Create(&context); status != kSuccess) {
    cudaGetLastError();  // is said here, and not by the next launch
    return "it is cuBLASLt " + version(number) + ", which does not start (" + l.GetStatusString(status) + "); " + driver();
  }
  l.Destroy(context);
  return "";
}

Library load() {
  std::string tried;
  const auto usable = [&](Library& l, const std::string& where) {
    const std::string why = refusal(l);
    l.where = where;
    if (!why.empty()) tried += "\n  " + where + ": " + why;
    return why.empty();
  };
  Library found{};
  if (bind_all(RTLD_DEFAULT, found) && usable(found, "the process")) return found;
  for (const std::string& file : candidates()) {
    void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
      const char* why = dlerror();
      tried += "\n  " + std::string(why ? why : file);
    } else if (!bind_all(handle, found)) {
      tried += "\n  " + file + ": it lacks functions of cuBLASLt";
      dlclose(handle);
    } else if (usable(found, file)) {
      return found;
    }  // else it stays open: it may have begun something
  }
  const std::string package = CUDART_VERSION >= 13000 ? "nvidia-cublas" : "nvidia-cublas-cu12";
  throw Error("native", "cuBLASLt, with which the CUDA backend multiplies matrices, was not found, or none that can be used. Install it with `" + repository() +
                            "/.venv/bin/pip install " + package + "` or name its file in FPDT_CUBLASLT. Tried:" + tried);
}

}  // namespace

const Library& library() {
  static std::mutex mutex;
  static std::unique_ptr<const Library> loaded;
  const std::lock_guard lock(mutex);
  if (!loaded) loaded = std::make_unique<const Library>(load());  // a failure is tried again: it may have been installed, or memory freed, meanwhile
  return *loaded;
}

}  // namespace fpdt::cuda::cublaslt
