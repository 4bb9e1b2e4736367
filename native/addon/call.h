#pragma once
#include <memory>
#include <span>
#include <vector>

#include "../core/backend.h"
#include "../core/extents.h"

namespace fpdt::addon {

// Runs single kernels on ordinary memory. Keeps its block of device memory and its stream between calls: to make them costs more than a small kernel.
class Caller {
 public:
  explicit Caller(std::shared_ptr<Backend> backend);

  // Operands are the caller's memory (data() = nullptr: not given), at least as large as `extents` say; `call` has everything but operands and workspace.
  // The workspace holds NaN bytes at first. Where the device has memory of its own, operands go there and back, and a kernel that wrote
  // behind an operand's extent, or into one that it only reads, is found out: Error "native".
  void run(const KernelInfo& kernel, std::span<const std::span<std::byte>> operands, std::span<const Extent> extents, size_t workspace_bytes, KernelCall call);

 private:
  void run_in_place(std::span<const std::span<std::byte>> operands, size_t workspace_bytes, KernelCall& call);
  void run_on_device(const KernelInfo& kernel, std::span<const std::span<std::byte>> operands, std::span<const Extent> extents, size_t workspace_bytes, KernelCall& call);
  std::byte* block(size_t bytes, int rank);

  const std::shared_ptr<Backend> backend_;
  const bool host_memory_;
  int rank_ = -1;                      // of the block and the stream
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Event> done_;
  std::unique_ptr<Arena> block_;       // the largest that was asked for
  std::vector<std::byte> staging_;     // what the block holds
};

}  // namespace fpdt::addon
