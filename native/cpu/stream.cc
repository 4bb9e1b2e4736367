// A stream of the CPU is the thread that drives it: every call returns when its work is done, so an event that was recorded
// has happened and nobody need wait for it. Its time is that of the work before it, not of the call that records it: a
// kernel ends before its turn does, however long the thread then waits for a core.
#include <algorithm>
#include <array>
#include <optional>

#include "../core/error.h"
#include "../host/clock.h"
#include "../host/disk.h"
#include "parts.h"

namespace fpdt::cpu {
namespace {

class Moment final : public Event {
 public:
  double time_ns() const override { return time; }
  double time = 0;
};

class ThreadStream final : public Stream {
 public:
  ThreadStream(StreamKind kind, std::shared_ptr<Pool> pool, Path path) : pool_(std::move(pool)), path_(path) {
    if (kind == StreamKind::spill || kind == StreamKind::load) bounce_.emplace();
  }

  std::unique_ptr<Event> make_event(EventUse) override { return std::make_unique<Moment>(); }
  void record(Event& event) override { static_cast<Moment&>(event).time = done_ns_; }
  void begin(Event& event) override { begin_ = &static_cast<Moment&>(event); }
  void wait(const Event& event) override { done_ns_ = std::max(done_ns_, event.time_ns()); }
  void synchronize(const Event&) override {}

  void run(const KernelCall& call) override {
    const KernelFunction function = kernel_function(call.kernel);
    FPDT_CHECK(function, "the cpu backend has no kernel " << static_cast<int>(call.kernel));
    Pool::Turn turn(*pool_);
    timed([&] { function(call, *pool_, path_); });
  }
  void copy(void* to, const void* from, size_t bytes) override {
    timed([&] { cpu::copy(to, from, bytes); });
  }
  void spill(Arena& disk, size_t at, const void* from, size_t bytes) override {
    timed([&] { static_cast<host::DiskArena&>(disk).spill(from, at, bytes, *bounce_); });
  }
  void load(void* to, const Arena& disk, size_t at, size_t bytes) override {
    timed([&] { static_cast<const host::DiskArena&>(disk).load(to, at, bytes, *bounce_); });
  }
  void exchange(const Exchange& what, int phase) override {
    timed([&] { cpu::exchange(what, phase, kept_); });
  }

 private:
  template <class Work>
  void timed(Work&& work) {
    if (begin_) begin_->time = host::monotonic_ns();
    begin_ = nullptr;
    work();
    done_ns_ = host::monotonic_ns();
  }

  const std::shared_ptr<Pool> pool_;
  const Path path_;
  Moment* begin_ = nullptr;                // to be given the time when the next piece of work begins
  double done_ns_ = host::monotonic_ns();  // when all that this stream did or waited for was done
  std::array<double, kAllReduceElements> kept_;
  std::optional<host::Bounce> bounce_;     // of a disk stream
};

}  // namespace

std::unique_ptr<Stream> make_stream(StreamKind kind, std::shared_ptr<Pool> pool, Path path) {
  return std::make_unique<ThreadStream>(kind, std::move(pool), path);
}

}  // namespace fpdt::cpu
