#include "timing.h"

#include <algorithm>
#include <cstring>
#include <functional>

namespace fpdt::addon {
namespace {

constexpr size_t kAlignment = 256;

std::vector<double> time(Stream& stream, int repeats, const std::function<void()>& put) {
  put();
  std::vector<std::unique_ptr<Event>> begins, ends;
  for (int i = 0; i < repeats; i++) {
    begins.push_back(stream.make_event(EventUse::time));
    ends.push_back(stream.make_event(EventUse::time));
    stream.begin(*begins.back());
    put();
    stream.record(*ends.back());
    stream.synchronize(*ends.back());
  }
  std::vector<double> times;
  for (int i = 0; i < repeats; i++) times.push_back(ends[i]->time_ns() - begins[i]->time_ns());
  return times;
}

}  // namespace

std::vector<double> time_kernel(Backend& backend, std::span<const std::span<const std::byte>> patterns, std::span<const Extent> extents, size_t workspace_bytes, KernelCall call,
                                int repeats) {
  std::vector<size_t> offsets;
  size_t end = 0;
  const auto place = [&](size_t bytes) {
    offsets.push_back(end);
    end += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  };
  for (size_t i = 0; i < patterns.size(); i++) place(patterns[i].empty() ? 0 : static_cast<size_t>(extents[i].bytes));
  place(workspace_bytes);

  const std::unique_ptr<Arena> block = backend.allocate(Tier::device, std::max<size_t>(end, kAlignment), call.rank);
  std::vector<void*> operands;
  std::vector<std::byte> filled;
  for (size_t i = 0; i < patterns.size(); i++) {
    operands.push_back(patterns[i].empty() ? nullptr : block->data() + offsets[i]);
    if (patterns[i].empty()) continue;
    filled.resize(static_cast<size_t>(extents[i].bytes));
    for (size_t at = 0; at < filled.size(); at += patterns[i].size()) std::memcpy(&filled[at], patterns[i].data(), std::min(patterns[i].size(), filled.size() - at));
    backend.write(*block, offsets[i], filled.data(), filled.size());
  }
  call.operands = operands;
  call.workspace = workspace_bytes ? block->data() + offsets.back() : nullptr;
  call.workspace_bytes = workspace_bytes;
  const std::unique_ptr<Stream> stream = backend.make_stream(StreamKind::compute, call.rank);
  return time(*stream, repeats, [&] { stream->run(call); });
}

std::vector<double> time_copy(Backend& backend, bool to_device, size_t bytes, int rank, int repeats) {
  const std::unique_ptr<Arena> device = backend.allocate(Tier::device, bytes, rank), host = backend.allocate(Tier::host, bytes, rank);
  const std::unique_ptr<Stream> stream = backend.make_stream(to_device ? StreamKind::fetch : StreamKind::offload, rank);
  Arena &to = to_device ? *device : *host, &from = to_device ? *host : *device;
  return time(*stream, repeats, [&] { stream->copy(to.data(), from.data(), bytes); });
}

}  // namespace fpdt::addon
