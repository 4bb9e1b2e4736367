// The parts of the CUDA backend, made by backend.cc.
#pragma once
#include <cuda_runtime_api.h>

#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "../core/backend.h"
#include "clock.h"
#include "gemm.h"

namespace fpdt::cuda {

// A GPU, shared by the ranks that run on it. Every host thread makes it current before it calls CUDA for it.
class Device {
 public:
  explicit Device(int index);  // throws Error "native" or "device_lost" with the reason
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  void make_current() const;
  // Synchronous, on a stream of its own: the legacy default stream would wait for all others. Between any memory and this device's.
  void transfer(void* to, const void* from, size_t bytes);

  const int index;
  std::string name;
  int capability, multiprocessors, shared_per_block;
  size_t memory_bytes;
  std::unique_ptr<Clock> clock;
  std::unique_ptr<Gemms> gemms;

 private:
  friend class DeviceArena;
  std::mutex transferring_;
  cudaStream_t transfers_ = nullptr;
};

// arena.cc: one cudaMalloc, or one pinned block that all devices reach; both zero-filled. Throw Error "out_of_memory".
std::unique_ptr<Arena> device_arena(std::shared_ptr<Device> device, size_t bytes);
std::unique_ptr<Arena> host_arena(const Device& device, size_t bytes);
// The device that an arena lies on; nullptr for one that does not.
Device* device_of(const Arena& arena);

// stream.cc. `ahead`: most ops that its user issues before it waits for the first of them.
std::unique_ptr<Stream> make_stream(StreamKind kind, std::shared_ptr<Device> device, int ahead);
std::unique_ptr<Stream> make_disk_stream(std::shared_ptr<Device> device);

// collective.cc. `kept`: kAllReduceElements f64 of device memory, where phase 0 of an allReduce leaves its sums for phase 1.
void exchange(const Exchange& what, int phase, double* kept, cudaStream_t stream);

// collective.cu. A group's sum, in rank order and f32, rounded once: for group g < groups, row < rows, i < width
//   to[g * width + row * to_stride + i] = (add ? itself : 0) + sum over r < group of from[g * group + r][row * from_stride + i]
struct RankSum {
  void* to;
  const void* const* from;          // groups * group pointers, kMostRanks at most
  int64_t rows, width, to_stride, from_stride;
  int groups, group;
  bool bf16, add;
};
void sum_ranks(const RankSum& sum, cudaStream_t stream);
// to[i] = 0 + from[0][i] + from[1][i] + ... in f64
void sum_ranks(double* to, const double* const* from, int ranks, int64_t count, cudaStream_t stream);

}  // namespace fpdt::cuda
