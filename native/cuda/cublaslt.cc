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

Library load() {
  Library found{};
  if (bind_all(RTLD_DEFAULT, found)) {
    found.where = "the process";
    return found;
  }
  std::string tried;
  for (const std::string& file : candidates()) {
    void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle && bind_all(handle, found)) {
      found.where = file;
      return found;
    }
    const char* why = handle ? "it lacks functions of cuBLASLt" : dlerror();
    tried += "\n  " + std::string(why ? why : file);
    if (handle) dlclose(handle);
  }
  const std::string package = CUDART_VERSION >= 13000 ? "nvidia-cublas" : "nvidia-cublas-cu12";
  throw Error("native", "cuBLASLt, with which the CUDA backend multiplies matrices, was not found. Install it with `" + repository() + "/.venv/bin/pip install " + package +
                            "` or name its file in FPDT_CUBLASLT. Tried:" + tried);
}

}  // namespace

const Library& library() {
  static std::mutex mutex;
  static std::unique_ptr<const Library> loaded;
  const std::lock_guard lock(mutex);
  if (!loaded) loaded = std::make_unique<const Library>(load());  // a failure is tried again: it may have been installed meanwhile
  return *loaded;
}

}  // namespace fpdt::cuda::cublaslt
