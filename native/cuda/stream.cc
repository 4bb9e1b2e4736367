// Streams of a GPU: a queue of it for all kinds but those of the disk tier, whose work is done by the host thread that drives them.
//
// What has been put on a queue is done in order; the call that puts it there returns at once, so an error of the work itself shows when
// somebody waits for it. Events are points in a queue, or, on a disk stream, moments of the host: they have happened when they are recorded.
#include <algorithm>
#include <cstring>
#include <optional>

#include "../core/error.h"
#include "../core/order_annotations.h"
#include "../core/program.h"
#include "../host/clock.h"
#include "../host/disk.h"
#include "kernels.h"
#include "parts.h"
#include "range.h"
#include "status.h"

namespace fpdt::cuda {
namespace {

// Where in the queue of a stream. Whoever waits for it blocks instead of spinning: a rank has six threads that wait.
class Point final : public Event {
 public:
  Point(std::shared_ptr<Device> device, EventUse use) : device(std::move(device)), is_timed(use == EventUse::time) {
    check(cudaEventCreateWithFlags(&event, cudaEventBlockingSync | (is_timed ? 0 : cudaEventDisableTiming)), "cudaEventCreateWithFlags");
  }
  ~Point() override { cudaEventDestroy(event); }
  double time_ns() const override {
    FPDT_CHECK(is_timed, "an event of order keeps no time");
    device->make_current();
    return device->clock->host_ns(*anchor, event);
  }

  const std::shared_ptr<Device> device;
  const bool is_timed;
  cudaEvent_t event = nullptr;
  std::shared_ptr<const Clock::Anchor> anchor;   // the newest when it was recorded; of a timed one
  uint64_t runs = 0;                             // ops of the stream that lie before it
};

class Moment final : public Event {
 public:
  double time_ns() const override { return time; }
  double time = 0;
};

cudaStream_t make_queue(StreamKind kind) {
  // Copies and collectives before compute: they are short, and the next op of the compute stream waits for them; a large kernel that has the GPU
  // would otherwise let the few blocks of a sum or of a copy on the device wait until all of its own have begun.
  int least, greatest;
  check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "cudaDeviceGetStreamPriorityRange");
  cudaStream_t queue;
  // Non-blocking: not ordered with the legacy default stream, which other code in this process may use.
  check(cudaStreamCreateWithPriority(&queue, cudaStreamNonBlocking, kind == StreamKind::compute ? least : greatest), "cudaStreamCreateWithPriority");
  return queue;
}

[[noreturn]] void throw_fault(const Fault& fault) {
  const std::string row = " in row " + std::to_string(fault.row), last = std::to_string(fault.limit - 1), value = std::to_string(fault.value);
  if (fault.set == (static_cast<unsigned>(Kernel::embed) | kPositionFault))
    throw Error("token", "position " + value + row + " is not in the table of positions 0 .. " + last + "; use a shorter sequence, or a model with more positions");
  if (fault.set == static_cast<unsigned>(Kernel::crossEntropy))
    throw Error("token", "label " + value + row + " is not in the vocabulary 0 .. " + last + " and not -1 (ignored); the text was encoded for another model");
  throw Error("token", "token " + value + row + " is not in the vocabulary 0 .. " + last + "; the text was encoded for another model");
}

// What ops on a stream found wrong with their data: a slot for each op, so that it is the right op that is named. Pinned memory.
class Faults {
 public:
  // `room` ops may be issued before they are collected.
  explicit Faults(int room) : room_(room) {
    void* memory;
    check(cudaHostAlloc(&memory, room * sizeof(Fault), cudaHostAllocPortable | cudaHostAllocMapped), "cudaHostAlloc");
    slots_ = static_cast<Fault*>(memory);
    std::memset(memory, 0, room * sizeof(Fault));
  }
  ~Faults() { cudaFreeHost(slots_); }
  Faults(const Faults&) = delete;
  Faults& operator=(const Faults&) = delete;

  bool full(uint64_t run) const { return run - collected_ == room_; }
  Fault* slot(uint64_t run) { return &slots_[run % room_]; }
  // Of ops below `end`, which are done: throws the first one's, and forgets them all.
  void collect(uint64_t end) {
    std::optional<Fault> first;
    for (; collected_ < end; collected_++) {
      Fault& fault = *slot(collected_);
      if (!fault.set) continue;
      if (!first) first = fault;
      fault.set = 0;
    }
    if (first) throw_fault(*first);
  }

 private:
  const uint64_t room_;
  Fault* slots_;
  uint64_t collected_ = 0;
};

class QueueStream final : public Stream {
 public:
  QueueStream(StreamKind kind, std::shared_ptr<Device> device, int ahead) : device_(std::move(device)) {
    device_->make_current();
    queue_ = make_queue(kind);
    try {
      if (kind == StreamKind::compute) faults_.emplace(ahead + 1);
      if (kind == StreamKind::collective) check(cudaMalloc(&kept_, kAllReduceElements * sizeof(double)), "memory for the sums of a collective");
    } catch (...) {
      cudaStreamDestroy(queue_);
      throw;
    }
  }
  ~QueueStream() override {
    if (cudaSetDevice(device_->index) != cudaSuccess) return;
    cudaStreamSynchronize(queue_);  // its slots and sums may be in use, where a run failed
    cudaFree(kept_);
    cudaStreamDestroy(queue_);
  }

  std::unique_ptr<Event> make_event(EventUse use) override {
    device_->make_current();
    return std::make_unique<Point>(device_, use);
  }
  void record(Event& event) override {
    auto& point = static_cast<Point&>(event);
    device_->make_current();
    if (point.is_timed) point.anchor = device_->clock->anchor();
    point.runs = runs_;
    check(cudaEventRecord(point.event, queue_), "cudaEventRecord");
  }
  void wait(const Event& event) override {
    const auto* const point = dynamic_cast<const Point*>(&event);
    if (!point) return annotate_happens_after(&event);
    device_->make_current();
    check(cudaStreamWaitEvent(queue_, point->event, 0), "cudaStreamWaitEvent");
  }
  void synchronize(const Event& event) override {
    const auto& point = static_cast<const Point&>(event);
    device_->make_current();
    check(cudaEventSynchronize(point.event), "waiting for the GPU");
    if (faults_) faults_->collect(point.runs);
  }
  bool is_done(const Event& event) override {
    device_->make_current();
    const cudaError_t status = cudaEventQuery(static_cast<const Point&>(event).event);
    if (status == cudaErrorNotReady) cudaGetLastError();  // it counts as an error, which the next launch would find
    return status != cudaErrorNotReady;                   // an error is done: synchronize throws it
  }

  void run(const KernelCall& call) override {
    FPDT_CHECK(faults_, "kernels run on compute streams");
    const KernelFunction function = kernel_function(call.kernel);
    FPDT_CHECK(function, "the cuda backend has no kernel " << static_cast<int>(call.kernel));
    device_->make_current();
    if (faults_->full(runs_)) {  // whoever issues so much without waiting learns of a fault here
      check(cudaStreamSynchronize(queue_), "waiting for the GPU");
      faults_->collect(runs_);
    }
    const Range range(op_name(static_cast<uint16_t>(call.kernel)));
    const Launch launch{.stream = queue_,
                        .device = device_->index,
                        .multiprocessors = device_->multiprocessors,
                        .shared_per_block = device_->shared_per_block,
                        .gemms = device_->gemms.get(),
                        .fault = faults_->slot(runs_)};
    runs_++;  // before the launch: what throws halfway may have launched something
    function(call, launch);
  }
  void copy(void* to, const void* from, size_t bytes) override {
    if (!bytes) return;
    device_->make_current();
    const Range range("copy");
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, queue_), "cudaMemcpyAsync");
  }
  void spill(Arena&, size_t, const void*, size_t) override { FPDT_CHECK(false, "a GPU's queue does not reach the disk"); }
  void load(void*, const Arena&, size_t, size_t) override { FPDT_CHECK(false, "a GPU's queue does not reach the disk"); }
  void exchange(const Exchange& what, int phase) override {
    FPDT_CHECK(kept_, "collectives run on collective streams");
    device_->make_current();
    const Range range(op_name(what.code));
    cuda::exchange(what, phase, static_cast<double*>(kept_), queue_);
  }

 private:
  const std::shared_ptr<Device> device_;
  cudaStream_t queue_ = nullptr;
  std::optional<Faults> faults_;    // of a compute stream
  uint64_t runs_ = 0;
  void* kept_ = nullptr;            // of a collective stream
};

// The host thread does the work itself. What it waits for is put on a queue of its own, on which nothing else runs: that fixes which recording of an
// event is meant without making the caller of `wait` wait, who holds a lock.
class DiskStream final : public Stream {
 public:
  explicit DiskStream(std::shared_ptr<Device> device) : device_(std::move(device)) {
    device_->make_current();
    queue_ = make_queue(StreamKind::load);
    try {
      check(cudaEventCreateWithFlags(&passed_, cudaEventBlockingSync | cudaEventDisableTiming), "cudaEventCreateWithFlags");
    } catch (...) {
      cudaStreamDestroy(queue_);
      throw;
    }
  }
  ~DiskStream() override {
    if (cudaSetDevice(device_->index) != cudaSuccess) return;
    cudaEventDestroy(passed_);
    cudaStreamDestroy(queue_);
  }

  std::unique_ptr<Event> make_event(EventUse) override { return std::make_unique<Moment>(); }
  void record(Event& event) override {
    static_cast<Moment&>(event).time = done_ns_;
    annotate_happens_after(this);  // what was done before on this stream
    annotate_happens_before(this);
    annotate_happens_before(&event);
  }
  void begin(Event& event) override { begin_ = &static_cast<Moment&>(event); }
  void wait(const Event& event) override {
    const auto* const point = dynamic_cast<const Point*>(&event);
    if (!point) return annotate_happens_after(&event);
    device_->make_current();
    check(cudaStreamWaitEvent(queue_, point->event, 0), "cudaStreamWaitEvent");
    waits_ = true;
  }
  void synchronize(const Event& event) override { annotate_happens_after(&event); }

  void run(const KernelCall&) override { FPDT_CHECK(false, "a disk stream runs no kernels"); }
  void copy(void*, const void*, size_t) override { FPDT_CHECK(false, "a disk stream copies nothing on the GPU"); }
  void exchange(const Exchange&, int) override { FPDT_CHECK(false, "a disk stream has no collectives"); }
  void spill(Arena& disk, size_t at, const void* from, size_t bytes) override {
    timed("spill", [&] { static_cast<host::DiskArena&>(disk).spill(from, at, bytes, bounce_); });
  }
  void load(void* to, const Arena& disk, size_t at, size_t bytes) override {
    timed("load", [&] { static_cast<const host::DiskArena&>(disk).load(to, at, bytes, bounce_); });
  }

 private:
  template <class Work>
  void timed(const char* name, Work&& work) {
    if (std::exchange(waits_, false)) {
      device_->make_current();
      check(cudaEventRecord(passed_, queue_), "cudaEventRecord");
      check(cudaEventSynchronize(passed_), "waiting for the GPU");
    }
    if (begin_) begin_->time = host::monotonic_ns();
    begin_ = nullptr;
    const Range range(name);
    work();
    done_ns_ = host::monotonic_ns();
  }

  const std::shared_ptr<Device> device_;
  cudaStream_t queue_ = nullptr;
  cudaEvent_t passed_ = nullptr;       // all that was waited for
  bool waits_ = false;
  Moment* begin_ = nullptr;            // to be given the time when the next piece of work begins
  double done_ns_ = host::monotonic_ns();
  host::Bounce bounce_;
};

}  // namespace

std::unique_ptr<Stream> make_stream(StreamKind kind, std::shared_ptr<Device> device, int ahead) {
  return std::make_unique<QueueStream>(kind, std::move(device), ahead);
}

std::unique_ptr<Stream> make_disk_stream(std::shared_ptr<Device> device) { return std::make_unique<DiskStream>(std::move(device)); }

}  // namespace fpdt::cuda
