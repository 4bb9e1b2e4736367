#include "clock.h"

#include <algorithm>
#include <cmath>

#include "../host/clock.h"
#include "status.h"

namespace fpdt::cuda {
namespace {

constexpr double kSecond = 1e9;
constexpr double kPatience = 1e6;        // ns that an anchor may take: one stuck behind work tells nothing
constexpr int kFirstTries = 8, kTries = 3;
constexpr double kNarrow = 1e4;          // ns: a bracket that need not be tried again

double elapsed_ns(cudaEvent_t from, cudaEvent_t to) {
  float milliseconds;
  check(cudaEventElapsedTime(&milliseconds, from, to), "cudaEventElapsedTime");
  return static_cast<double>(milliseconds) * 1e6;
}

}  // namespace

Clock::Anchor::Anchor() { check(cudaEventCreate(&event), "cudaEventCreate"); }
Clock::Anchor::~Anchor() { cudaEventDestroy(event); }

struct Clock::Try {
  std::shared_ptr<Anchor> anchor;
  double before_ns = 0, after_ns = INFINITY;
  double width() const { return after_ns - before_ns; }
};

Clock::Clock() {
  int least, greatest;
  check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "cudaDeviceGetStreamPriorityRange");
  check(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, greatest), "cudaStreamCreateWithPriority");
  Try best;
  for (int i = 0; i < kFirstTries || !best.anchor; i++) measure(best);
  newest_ = best.anchor;
  timeline_ = std::make_unique<Timeline>(best.before_ns, best.after_ns);
  first_ns_ = best.after_ns;
  due_ns_ = first_ns_ + kSecond / 10;
}

Clock::~Clock() { cudaStreamDestroy(stream_); }

// One more try; true when the device answered in time. `best` is the narrowest so far.
bool Clock::measure(Try& best) {
  Try next{std::make_shared<Anchor>()};
  next.before_ns = host::monotonic_ns();
  check(cudaEventRecord(next.anchor->event, stream_), "cudaEventRecord");
  for (;;) {
    const cudaError_t status = cudaEventQuery(next.anchor->event);
    next.after_ns = host::monotonic_ns();
    if (status == cudaSuccess) break;
    if (status != cudaErrorNotReady) check(status, "cudaEventQuery");
    cudaGetLastError();  // "not ready" is an error to it
    if (next.width() > kPatience && (newest_ || best.anchor)) return false;
  }
  if (next.width() < best.width()) best = next;
  return true;
}

void Clock::renew() {
  Try best;
  for (int i = 0; i < kTries && best.width() > kNarrow; i++)
    if (!measure(best)) break;
  const double now = host::monotonic_ns();
  if (!best.anchor) {  // the events that follow are measured from the old one: less well, but not wrong
    std::lock_guard lock(mutex_);
    due_ns_ = now + kSecond / 10;
    return;
  }
  best.anchor->device_ns = newest_->device_ns + elapsed_ns(newest_->event, best.anchor->event);  // nobody else changes newest_
  std::lock_guard lock(mutex_);
  timeline_->add(best.anchor->device_ns, best.before_ns, best.after_ns);
  newest_ = best.anchor;
  due_ns_ = now + std::clamp((now - first_ns_) / 2, kSecond / 10, kSecond);  // soon at first, until the ratio of the clocks is known
}

std::shared_ptr<const Clock::Anchor> Clock::anchor() {
  const auto is_due = [this] {
    std::lock_guard lock(mutex_);
    return host::monotonic_ns() >= due_ns_;
  };
  if (is_due()) {
    const std::unique_lock renewing(renewing_, std::try_to_lock);
    if (renewing && is_due()) renew();
  }
  std::lock_guard lock(mutex_);
  return newest_;
}

double Clock::host_ns(const Anchor& anchor, cudaEvent_t event) const {
  const double device_ns = anchor.device_ns + elapsed_ns(anchor.event, event);
  std::lock_guard lock(mutex_);
  return std::round(timeline_->host_ns(device_ns));
}

}  // namespace fpdt::cuda
