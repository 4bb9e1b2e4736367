// The GPU fills core/backend.h: rank r runs on the r-th of the named GPUs, round and round. A rank's device arena is one block of its GPU, its host
// arena one pinned block, its disk arena a file as on the CPU (host/disk.h). Links with a static CUDA run time, so that the addon loads without a driver.
#include "../core/backend.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "../core/error.h"
#include "../host/clock.h"
#include "../host/disk.h"
#include "../host/machine.h"
#include "devices.h"
#include "parts.h"
#include "pinned.h"
#include "status.h"

namespace fpdt {
namespace cuda {

// Enough that a GPU never waits for the host, which puts ops on a stream far faster than chunks are worked on; few enough that a cancel has not long to wait and that kernels
// and copies do not fill a queue of the driver (some 1024 calls, which NVIDIA does not promise). Collectives among many ranks may: each is a copy for each
// part and peer. The thread that issues then waits in its call until the GPU has done some, which costs time alone: nothing on a queue waits for
// what has not been issued. One where CUDA_LAUNCH_BLOCKING is set: then an error is that of the op that is named.
constexpr int kIssueAhead = 64;
int issue_ahead() {
  const char* blocking = std::getenv("CUDA_LAUNCH_BLOCKING");
  return blocking && *blocking && std::string_view(blocking) != "0" ? 1 : kIssueAhead;
}

Device::Device(int index) : index(index) {
  check(cudaSetDevice(index), "cudaSetDevice");
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  name = properties.name;
  capability = properties.major * 10 + properties.minor;
  multiprocessors = properties.multiProcessorCount;
  shared_per_block = static_cast<int>(properties.sharedMemPerBlockOptin);
  memory_bytes = properties.totalGlobalMem;
  check(cudaStreamCreateWithFlags(&transfers_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  clock = std::make_unique<Clock>();
  gemms = std::make_unique<Gemms>();
}

Device::~Device() {
  if (cudaSetDevice(index) != cudaSuccess) return;
  if (transfers_) cudaStreamDestroy(transfers_);
}

void Device::make_current() const { check(cudaSetDevice(index), "cudaSetDevice"); }

void Device::transfer(void* to, const void* from, size_t bytes) {
  if (!bytes) return;
  make_current();
  const std::lock_guard lock(transferring_);
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, transfers_), "cudaMemcpyAsync");
  check(cudaStreamSynchronize(transfers_), "a transfer to or from the GPU");
}

namespace {

std::string named(const Gpu& gpu) { return "GPU " + std::to_string(gpu.index) + " (" + gpu.name + ")"; }

// The GPUs asked for, or the first that can be used. Throws Error "native" with what is wrong and what there is.
std::vector<Gpu> choose(const std::vector<int>& wanted) {
  const Listing listing = list();
  if (!listing.none.empty()) throw Error("native", "no GPU can be used. " + listing.none);
  std::vector<Gpu> chosen;
  for (const int index : wanted) {
    if (index < 0 || index >= static_cast<int>(listing.gpus.size())) {
      std::string text = "GPU " + std::to_string(index) + " does not exist; there " + (listing.gpus.size() == 1 ? "is" : "are");
      for (const Gpu& gpu : listing.gpus) text += (gpu.index ? ", " : " ") + named(gpu);
      throw Error("native", text);
    }
    const Gpu& gpu = listing.gpus[index];
    if (!gpu.refused.empty()) throw Error("native", named(gpu) + " cannot be used: " + gpu.refused);
    if (std::ranges::count(wanted, index) > 1) throw Error("native", named(gpu) + " is named twice; ranks share a GPU where there are more of them than GPUs");
    chosen.push_back(gpu);
  }
  if (wanted.empty()) chosen.push_back(*std::ranges::find_if(listing.gpus, [](const Gpu& gpu) { return gpu.refused.empty(); }));
  return chosen;
}

// Every rank reads its peers' memory.
void connect(const std::vector<Gpu>& gpus) {
  for (const Gpu& reader : gpus) {
    check(cudaSetDevice(reader.index), "cudaSetDevice");
    for (const Gpu& peer : gpus) {
      if (peer.index == reader.index) continue;
      int reaches = 0;
      check(cudaDeviceCanAccessPeer(&reaches, reader.index, peer.index), "cudaDeviceCanAccessPeer");
      if (!reaches) {
        throw Error("native", named(reader) + " cannot read the memory of " + named(peer) +
                                  ", as ranks on both must: name GPUs that are linked (nvidia-smi topo -p2p r shows which), or one GPU for all ranks");
      }
      const cudaError_t status = cudaDeviceEnablePeerAccess(peer.index, 0);
      if (status == cudaErrorPeerAccessAlreadyEnabled) cudaGetLastError();
      else check(status, "cudaDeviceEnablePeerAccess");
    }
  }
}

class CudaBackend final : public Backend {
 public:
  CudaBackend(const std::vector<int>& devices, const std::string& disk_folder) : disk_folder_(host::disk_folder(disk_folder)) {
    const std::vector<Gpu> gpus = choose(devices);
    connect(gpus);
    for (const Gpu& gpu : gpus) devices_.push_back(std::make_shared<Device>(gpu.index));
  }

  DeviceInfo info() const override {
    const auto smallest = [this](auto&& of) { return of(**std::ranges::min_element(devices_, {}, [&](const auto& device) { return of(*device); })); };
    return {.backend = "cuda",
            .name = names(),
            .path = "sm_" + std::to_string(smallest([](const Device& device) { return device.capability; })),
            .threads = 1,
            .memory_bytes = smallest([](const Device& device) { return device.memory_bytes; }),
            .disk_folder = disk_folder_,
            .devices = static_cast<int>(devices_.size()),
            .free_bytes = smallest(free_bytes),
            .host_bytes = host::usable_memory()};
  }
  std::unique_ptr<Arena> allocate(Tier tier, size_t bytes, int rank) override {
    allocations_++;
    switch (tier) {
      case Tier::device: return device_arena(device(rank), bytes);
      case Tier::host: return host_arena(*device(rank), bytes);
      case Tier::disk: return disk_arena(*device(rank), bytes, rank);
    }
    throw Error("native", "tier " + std::to_string(static_cast<int>(tier)) + " is not one");
  }
  uint64_t allocations() const override { return allocations_; }
  std::unique_ptr<Stream> make_stream(StreamKind kind, int rank) override {
    if (kind == StreamKind::load || kind == StreamKind::spill) return make_disk_stream(device(rank));
    return cuda::make_stream(kind, device(rank), ahead_);
  }
  int issue_ahead() const override { return ahead_; }
  void read(void* to, const Arena& from, size_t offset, size_t bytes) override {
    check_range(from, offset, bytes);
    if (auto* disk = dynamic_cast<const host::DiskArena*>(&from)) return disk->read(to, offset, bytes);
    const std::byte* begin = const_cast<Arena&>(from).data() + offset;
    if (Device* device = device_of(from)) return device->transfer(to, begin, bytes);
    std::memcpy(to, begin, bytes);
  }
  void write(Arena& to, size_t offset, const void* from, size_t bytes) override {
    check_range(to, offset, bytes);
    if (auto* disk = dynamic_cast<host::DiskArena*>(&to)) return disk->write(from, offset, bytes);
    if (Device* device = device_of(to)) return device->transfer(to.data() + offset, from, bytes);
    std::memcpy(to.data() + offset, from, bytes);
  }
  double now_ns() const override { return host::monotonic_ns(); }

 private:
  static void check_range(const Arena& arena, size_t offset, size_t bytes) {
    FPDT_CHECK(offset <= arena.bytes() && bytes <= arena.bytes() - offset, "bytes " << offset << " .. " << offset + bytes << " of an arena of " << arena.bytes());
  }
  std::unique_ptr<Arena> disk_arena(const Device& device, size_t bytes, int rank) const {
    device.make_current();
    const PinnedBlock block(host::kDiskBlock);  // as the host arena, which it exchanges with
    return std::make_unique<host::DiskArena>(disk_folder_, bytes, rank, block.data());
  }
  static size_t free_bytes(const Device& device) {
    size_t free = 0, total = 0;
    device.make_current();
    check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    return free;
  }
  // "NVIDIA A100-SXM4-80GB", "4 x NVIDIA A100-SXM4-80GB", or all names where they differ.
  std::string names() const {
    const std::string& first = devices_.front()->name;
    if (devices_.size() == 1) return first;
    if (std::ranges::all_of(devices_, [&](const auto& device) { return device->name == first; })) return std::to_string(devices_.size()) + " x " + first;
    std::string all;
    for (const auto& device : devices_) all += (all.empty() ? "" : ", ") + device->name;
    return all;
  }
  const std::shared_ptr<Device>& device(int rank) const { return devices_[rank % devices_.size()]; }

  const int ahead_ = cuda::issue_ahead();
  const std::string disk_folder_;
  std::vector<std::shared_ptr<Device>> devices_;
  std::atomic<uint64_t> allocations_{0};
};

}  // namespace
}  // namespace cuda

std::unique_ptr<Backend> make_cuda_backend(const std::vector<int>& devices, const std::string& disk_folder) {
  return std::make_unique<cuda::CudaBackend>(devices, disk_folder);
}

}  // namespace fpdt
