// A stream of the CPU is the thread that drives it: every call returns when its work is done, so an event that was recorded
// has happened and waiting for it is nothing.
#include <ctime>

#include <array>

#include "../core/error.h"
#include "parts.h"

namespace fpdt::cpu {
namespace {

class Moment final : public Event {
 public:
  double time_ns() const override { return time_ns_; }
  void stamp() { time_ns_ = monotonic_ns(); }

 private:
  double time_ns_ = 0;
};

class ThreadStream final : public Stream {
 public:
  ThreadStream(std::shared_ptr<Pool> pool, Path path) : pool_(std::move(pool)), path_(path) {}

  std::unique_ptr<Event> make_event() override { return std::make_unique<Moment>(); }
  void record(Event& event) override { static_cast<Moment&>(event).stamp(); }
  void begin(Event& event) override { begin_ = &static_cast<Moment&>(event); }
  void wait(const Event&) override {}
  void synchronize(const Event&) override {}

  void run(const KernelCall& call) override {
    const KernelFunction function = kernel_function(call.kernel);
    FPDT_CHECK(function, "the cpu backend has no kernel " << static_cast<int>(call.kernel));
    Pool::Turn turn(*pool_);
    stamp_begin();
    function(call, *pool_, path_);
  }
  void copy(void* to, const void* from, size_t bytes) override {
    stamp_begin();
    cpu::copy(to, from, bytes);
  }
  void exchange(const Exchange& what, int phase) override {
    stamp_begin();
    cpu::exchange(what, phase, kept_);
  }

 private:
  void stamp_begin() {
    if (begin_) begin_->stamp();
    begin_ = nullptr;
  }

  const std::shared_ptr<Pool> pool_;
  const Path path_;
  Moment* begin_ = nullptr;  // to stamp when the next piece of work begins
  std::array<double, kAllReduceElements> kept_;
};

}  // namespace

double monotonic_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

std::unique_ptr<Stream> make_stream(std::shared_ptr<Pool> pool, Path path) { return std::make_unique<ThreadStream>(std::move(pool), path); }

}  // namespace fpdt::cpu
