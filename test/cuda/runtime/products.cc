// Products by cuBLASLt, for the test of its stand-in: reads a request a line, "NAME=VALUE ...", makes the product on the emulated device and prints JSON.
// Declared here, by NVIDIA's names and values (cublasLt.h of CUDA 13), because the library is none of the project's dependencies.
#include <cuda_runtime_api.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

extern "C" {
struct cublasLtMatmulAlgo_t {
  uint64_t data[8];
};
struct cublasLtMatmulHeuristicResult_t {
  cublasLtMatmulAlgo_t algo;
  size_t workspaceSize;
  int state;
  float wavesCount;
  int reserved[4];
};
int cublasLtCreate(void**);
int cublasLtDestroy(void*);
size_t cublasLtGetVersion();
const char* cublasLtGetStatusString(int);
int cublasLtMatmulDescCreate(void**, int, int);
int cublasLtMatmulDescDestroy(void*);
int cublasLtMatmulDescSetAttribute(void*, int, const void*, size_t);
int cublasLtMatrixLayoutCreate(void**, int, uint64_t, uint64_t, int64_t);
int cublasLtMatrixLayoutDestroy(void*);
int cublasLtMatmulPreferenceCreate(void**);
int cublasLtMatmulPreferenceDestroy(void*);
int cublasLtMatmulPreferenceSetAttribute(void*, int, const void*, size_t);
int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void*, int, cublasLtMatmulHeuristicResult_t*, int*);
int cublasLtMatmul(void*, void*, const void*, const void*, void*, const void*, void*, const void*, const void*, void*, void*, void*, const cublasLtMatmulAlgo_t*, void*, size_t,
                   cudaStream_t);
}

namespace {

constexpr int kF32 = 0, kBf16 = 14, kCompute32F = 68;
constexpr int kTransA = 3, kTransB = 4, kEpilogue = 7, kBiasPointer = 8, kMaxWorkspace = 1, kMinAlignmentA = 5;
constexpr uint32_t kEpilogueBias = 4;

uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
float from_bf16(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

// A matrix on the device, columns `leading` apart, and its values as the device has them.
struct Matrix {
  int rows, columns, leading, type;
  void* data = nullptr;
  std::vector<float> values;   // [columns][leading]
  size_t element() const { return type == kF32 ? 4 : 2; }
  float at(int row, int column) const { return values[static_cast<size_t>(column) * leading + row]; }

  void make(uint32_t seed) {
    values.resize(static_cast<size_t>(columns - 1) * leading + rows);   // nothing behind the last column
    for (float& value : values) {
      seed = seed * 1664525 + 1013904223;
      value = static_cast<float>(static_cast<int>(seed >> 24) - 128) / 64;
      if (type == kBf16) value = from_bf16(to_bf16(value));
    }
    cudaMalloc(&data, values.size() * element());
    put();
  }
  void put() {
    std::vector<uint16_t> halves;
    for (const float value : values) halves.push_back(to_bf16(value));
    cudaMemcpy(data, type == kF32 ? static_cast<const void*>(values.data()) : halves.data(), values.size() * element(), cudaMemcpyHostToDevice);
  }
  std::vector<float> get() const {
    std::vector<float> result(values.size());
    std::vector<uint16_t> halves(values.size());
    cudaMemcpy(type == kF32 ? static_cast<void*>(result.data()) : halves.data(), data, values.size() * element(), cudaMemcpyDeviceToHost);
    if (type == kBf16) {
      for (size_t i = 0; i < result.size(); ++i) result[i] = from_bf16(halves[i]);
    }
    return result;
  }
};

int answer(const std::map<std::string, double>& request) {
  const auto number = [&](const char* name, double otherwise) {
    const auto at = request.find(name);
    return at == request.end() ? otherwise : at->second;
  };
  const int m = static_cast<int>(number("m", 4)), n = static_cast<int>(number("n", 4)), k = static_cast<int>(number("k", 4));
  const int32_t ta = static_cast<int32_t>(number("ta", 0)), tb = static_cast<int32_t>(number("tb", 0));
  const int in = number("in_bf16", 0) != 0 ? kBf16 : kF32, out = number("out_bf16", 0) != 0 ? kBf16 : kF32, pad = static_cast<int>(number("pad", 0));
  const float alpha = static_cast<float>(number("alpha", 1)), beta = static_cast<float>(number("beta", 0));
  const bool with_bias = number("bias", 0) != 0;
  const auto matrix = [&](int rows, int columns, int type) { return Matrix{rows, columns, rows + pad, type, nullptr, {}}; };
  Matrix a = ta ? matrix(k, m, in) : matrix(m, k, in), b = tb ? matrix(n, k, in) : matrix(k, n, in), c = matrix(m, n, out), d = matrix(m, n, out), bias{m, 1, m, out, nullptr, {}};
  a.make(1), b.make(2), c.make(3), d.make(4), bias.make(5);
  if (number("in_place", 0) != 0) c = d;

  void *handle, *desc, *la, *lb, *lc, *preference;
  cublasLtCreate(&handle);
  cublasLtMatmulDescCreate(&desc, kCompute32F, kF32);
  cublasLtMatmulDescSetAttribute(desc, kTransA, &ta, sizeof ta);
  cublasLtMatmulDescSetAttribute(desc, kTransB, &tb, sizeof tb);
  if (with_bias) {
    cublasLtMatmulDescSetAttribute(desc, kEpilogue, &kEpilogueBias, sizeof kEpilogueBias);
    cublasLtMatmulDescSetAttribute(desc, kBiasPointer, &bias.data, sizeof bias.data);
  }
  cublasLtMatrixLayoutCreate(&la, in, static_cast<uint64_t>(a.rows), static_cast<uint64_t>(a.columns), a.leading);
  cublasLtMatrixLayoutCreate(&lb, in, static_cast<uint64_t>(b.rows), static_cast<uint64_t>(b.columns) + (number("wrong_shape", 0) != 0), b.leading);
  cublasLtMatrixLayoutCreate(&lc, out, static_cast<uint64_t>(m), static_cast<uint64_t>(n), d.leading);
  cublasLtMatmulPreferenceCreate(&preference);
  const uint64_t most = static_cast<uint64_t>(number("workspace", 0));
  cublasLtMatmulPreferenceSetAttribute(preference, kMaxWorkspace, &most, sizeof most);
  for (int i = 0; i < 4; ++i) {
    const uint32_t alignment = 4;
    cublasLtMatmulPreferenceSetAttribute(preference, kMinAlignmentA + i, &alignment, sizeof alignment);
  }
  cublasLtMatmulHeuristicResult_t found{};
  int count = 0;
  const int asked = cublasLtMatmulAlgoGetHeuristic(handle, desc, la, lb, lc, lc, preference, 1, &found, &count);
  std::printf("{\"asked\":\"%s\",\"algorithms\":%d,\"needs\":%zu,", cublasLtGetStatusString(asked), count, found.workspaceSize);

  if (number("other_algorithm", 0) != 0) found.algo.data[0] ^= 1;
  const size_t given = static_cast<size_t>(number("given", static_cast<double>(most)));
  uint8_t* workspace = nullptr;
  cudaMalloc(reinterpret_cast<void**>(&workspace), given + 256);
  cudaMemset(workspace, 7, given + 256);
  const auto off = static_cast<size_t>(number("workspace_offset", 0));
  cudaStream_t stream, other;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
  cudaDeviceSynchronize();
  if (number("free_b", 0) != 0) cudaFree(b.data);
  float scale = alpha, add = beta;
  const void* b_data = static_cast<const std::byte*>(b.data) + (number("past_the_end", 0) != 0 ? 4 : 0);
  const int done = cublasLtMatmul(handle, desc, &scale, a.data, la, b_data, lb, &add, c.data, lc, d.data, lc, count ? &found.algo : nullptr, workspace + off, given, stream);
  scale = add = NAN;   // were read when the call was made
  if (number("unordered", 0) != 0) cublasLtMatmul(handle, desc, &alpha, a.data, la, b.data, lb, &beta, c.data, lc, c.data, lc, &found.algo, workspace, given, other);
  std::printf("\"done\":\"%s\",\"wait\":\"%s\",", cublasLtGetStatusString(done), cudaGetErrorName(cudaStreamSynchronize(stream)));

  // Against a sum in double: each rounding of f32 counts 2^-24 of the sum of absolute products, of which there are k at most; the result is rounded once.
  const std::vector<float> result = d.get();
  double worst = 0;
  int touched = 0;
  for (int column = 0; column < n; ++column) {
    for (int row = 0; row < d.leading; ++row) {
      const size_t at = static_cast<size_t>(column) * d.leading + row;
      if (row >= m) {
        if (at < result.size()) touched += !(result[at] == d.values[at]);
        continue;
      }
      double sum = 0, sizes = 0;
      for (int i = 0; i < k; ++i) {
        const double product = static_cast<double>(ta ? a.at(i, row) : a.at(row, i)) * (tb ? b.at(column, i) : b.at(i, column));
        sum += product;
        sizes += std::abs(product);
      }
      const double parts[] = {alpha * sum, beta != 0 ? beta * static_cast<double>(c.at(row, column)) : 0, with_bias ? static_cast<double>(bias.at(row, 0)) : 0};
      const double expected = parts[0] + parts[1] + parts[2];
      const double sums = std::abs(alpha) * sizes * k + 3 * (std::abs(parts[0]) + std::abs(parts[1]) + std::abs(parts[2]));
      const double bound = std::ldexp(sums, -24) + std::ldexp(std::abs(expected), out == kBf16 ? -8 : -24) + 1e-30;
      const double error = std::abs(result[at] - expected) / bound;
      if (!(error <= worst)) worst = error;   // NaN stays
      if (!(error <= 1e300)) worst = 1e300;
    }
  }
  std::vector<uint8_t> left(given + 256);
  cudaMemcpy(left.data(), workspace, left.size(), cudaMemcpyDeviceToHost);
  size_t scribbled = 0;
  for (const uint8_t byte : left) scribbled += byte != 7;
  std::printf("\"error\":%g,\"padding\":%d,\"scribbled\":%zu}\n", worst, touched, scribbled);
  cublasLtMatmulPreferenceDestroy(preference);
  for (void* layout : {la, lb, lc}) cublasLtMatrixLayoutDestroy(layout);
  cublasLtMatmulDescDestroy(desc);
  cublasLtDestroy(handle);
  return 0;
}

}  // namespace

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    std::map<std::string, double> request;
    std::istringstream words(line);
    for (std::string word; words >> word;) request[word.substr(0, word.find('='))] = std::stod(word.substr(word.find('=') + 1));
    answer(request);
  }
  return 0;
}
