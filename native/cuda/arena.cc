// Arenas of the device tier lie on one GPU; those of the host tier are pinned (pinned.h), so that copy engines reach them at full speed and beside the
// host's own work. Pinned memory is committed when it is made, where the memory of a CPU arena (cpu/arena.cc) is on first touch.
#include "../core/error.h"
#include "parts.h"
#include "pinned.h"
#include "status.h"

namespace fpdt::cuda {

class DeviceArena final : public Arena {
 public:
  DeviceArena(std::shared_ptr<Device> device, size_t bytes) : device_(std::move(device)), bytes_(bytes) {
    device_->make_current();
    check(cudaMalloc(&data_, bytes), ("an arena of " + std::to_string(bytes) + " bytes on " + device_->name).c_str());
    try {
      const std::lock_guard lock(device_->transferring_);
      check(cudaMemsetAsync(data_, 0, bytes, device_->transfers_), "cudaMemsetAsync");
      check(cudaStreamSynchronize(device_->transfers_), "zero-filling an arena");
    } catch (...) {
      cudaFree(data_);
      throw;
    }
  }
  ~DeviceArena() override {
    if (cudaSetDevice(device_->index) == cudaSuccess) cudaFree(data_);
  }
  std::byte* data() override { return static_cast<std::byte*>(data_); }
  size_t bytes() const override { return bytes_; }
  Device* device() const { return device_.get(); }

 private:
  const std::shared_ptr<Device> device_;
  void* data_ = nullptr;
  const size_t bytes_;
};

namespace {

class PinnedArena final : public Arena {
 public:
  explicit PinnedArena(size_t bytes) : block_(bytes) {}
  std::byte* data() override { return block_.data(); }
  size_t bytes() const override { return block_.bytes(); }

 private:
  PinnedBlock block_;
};

}  // namespace

std::unique_ptr<Arena> device_arena(std::shared_ptr<Device> device, size_t bytes) {
  FPDT_CHECK(bytes > 0, "an arena of no bytes");
  return std::make_unique<DeviceArena>(std::move(device), bytes);
}

std::unique_ptr<Arena> host_arena(const Device& device, size_t bytes) {
  FPDT_CHECK(bytes > 0, "an arena of no bytes");
  device.make_current();
  return std::make_unique<PinnedArena>(bytes);
}

Device* device_of(const Arena& arena) {
  const auto* const on_device = dynamic_cast<const DeviceArena*>(&arena);
  return on_device ? on_device->device() : nullptr;
}

}  // namespace fpdt::cuda
