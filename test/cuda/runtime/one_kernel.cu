// A program of one kernel, compiled in several ways: what it says when its fat binary holds nothing that can be run.
#include <cuda_runtime.h>

#include <cstdio>

__global__ void set(int* to) { *to = 42; }

int main() {
  int *data = nullptr, value = 0;
  cudaMalloc(reinterpret_cast<void**>(&data), sizeof(int));
  set<<<1, 1>>>(data);
  std::printf("{\"launch\":\"%s\",", cudaGetErrorName(cudaGetLastError()));
  cudaMemcpy(&value, data, sizeof value, cudaMemcpyDeviceToHost);
  std::printf("\"value\":%d}\n", value);
  return 0;
}
