#include "call.h"

#include <algorithm>
#include <cstring>

#include "../core/error.h"

namespace fpdt::addon {
namespace {

constexpr std::byte kGuard{0xff};   // NaN in every real dtype: a kernel that reads what is not its own shows it in its result
constexpr size_t kAlignment = 64;   // of operands: what parts of a planned tensor have at least
constexpr size_t kWhole = 256;      // of the workspace: what plans give
constexpr size_t kGap = 192;        // between operands: with the alignment they do not all begin at a multiple of 256

size_t aligned(size_t bytes, size_t to = kAlignment) { return (bytes + to - 1) / to * to; }

}  // namespace

Caller::Caller(std::shared_ptr<Backend> backend) : backend_(std::move(backend)), host_memory_(backend_->info().backend == "cpu") {}

void Caller::run(const KernelInfo& kernel, std::span<const std::span<std::byte>> operands, std::span<const Extent> extents, size_t workspace_bytes, KernelCall call) {
  if (call.rank != rank_) {
    block_.reset();
    done_.reset();
    stream_ = backend_->make_stream(StreamKind::compute, call.rank);
    rank_ = call.rank;
  }
  call.workspace_bytes = workspace_bytes;
  if (host_memory_) return run_in_place(operands, workspace_bytes, call);
  run_on_device(kernel, operands, extents, workspace_bytes, call);
}

std::byte* Caller::block(size_t bytes, int rank) {
  if (!block_ || block_->bytes() < bytes) {
    block_.reset();
    block_ = backend_->allocate(Tier::device, bytes, rank);
    if (host_memory_) std::memset(block_->data(), static_cast<int>(kGuard), bytes);
  }
  return block_->data();
}

void Caller::run_in_place(std::span<const std::span<std::byte>> operands, size_t workspace_bytes, KernelCall& call) {
  std::vector<void*> pointers;
  for (const std::span<std::byte> operand : operands) pointers.push_back(operand.data());
  call.operands = pointers;
  call.workspace = workspace_bytes ? block(workspace_bytes, call.rank) : nullptr;
  stream_->run(call);
}

// The block:  guard | operand 0 | guard | operand 1 | guard ... | workspace | guard
void Caller::run_on_device(const KernelInfo& kernel, std::span<const std::span<std::byte>> operands, std::span<const Extent> extents, size_t workspace_bytes, KernelCall& call) {
  std::vector<size_t> offsets;
  size_t end = kGap;
  for (const std::span<std::byte> operand : operands) {
    offsets.push_back(end);
    end = aligned(end + operand.size()) + kGap;
  }
  const size_t workspace = aligned(end, kWhole), total = aligned(workspace + workspace_bytes) + kGap;

  staging_.assign(total, kGuard);
  for (size_t i = 0; i < operands.size(); i++)
    if (operands[i].data()) std::memcpy(&staging_[offsets[i]], operands[i].data(), operands[i].size());
  std::byte* const start = block(total, call.rank);
  backend_->write(*block_, 0, staging_.data(), total);

  std::vector<void*> pointers;
  for (size_t i = 0; i < operands.size(); i++) pointers.push_back(operands[i].data() ? start + offsets[i] : nullptr);
  call.operands = pointers;
  call.workspace = workspace_bytes ? start + workspace : nullptr;
  stream_->run(call);
  if (!done_) done_ = stream_->make_event(EventUse::order);
  stream_->record(*done_);
  stream_->synchronize(*done_);

  std::vector<std::byte> after(total);
  backend_->read(after.data(), *block_, 0, workspace);
  const size_t behind = workspace + workspace_bytes;
  backend_->read(&after[behind], *block_, behind, total - behind);
  // What is not to be written: guards, what of an operand lies behind its extent, and all of one that is only read.
  const auto refuse_change = [&](size_t from, size_t to, const std::string& where) {
    const auto changed = std::mismatch(&staging_[from], &staging_[from] + (to - from), &after[from]).first - staging_.data();
    if (static_cast<size_t>(changed) < to) {
      throw Error("native", std::string(kernel.name) + " wrote " + where + ", " + std::to_string(changed - from) + " bytes from its start: a mistake of the kernel");
    }
  };
  refuse_change(0, kGap, "before its first operand");
  for (size_t i = 0; i < operands.size(); i++) {
    const bool written = static_cast<int>(i) < kernel.written;
    const std::string name = "operand " + std::to_string(i);
    const size_t own = operands[i].data() ? static_cast<size_t>(extents[i].bytes) : 0, next = i + 1 < operands.size() ? offsets[i + 1] : workspace;
    if (written) std::memcpy(operands[i].data(), &after[offsets[i]], own);
    else refuse_change(offsets[i], offsets[i] + own, "into " + name + ", which it only reads");
    refuse_change(offsets[i] + own, next, "behind " + name);
  }
  refuse_change(behind, total, "behind its workspace");
}

}  // namespace fpdt::addon
