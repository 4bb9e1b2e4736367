// When things happened on a GPU, told on the host's clock (CLOCK_MONOTONIC), the same for all streams and devices.
//
// A GPU only tells how long lies between two of its events, as milliseconds in an f32: after a second that is good to 0.03 us, after a
// minute to 2 us. So there are *anchors*, events of which the host knows when they happened, made anew every second while work goes on;
// every event is measured from the anchor that was newest when it was recorded, and an anchor from the one before it.
//
//   device  --A0----e1--------e2------A1--e3-----          e3 = A1 + f32(e3 - A1)
//   host    [.A0.]                  [.A1.]                 A1 happened between `before` and `after` of its bracket
//
// What this gives: events of one device are off by at most 0.06 us against each other (f32 at up to a second; 0.25 us where an op waited 8 s in its
// queue), apart from the 0.5 us that the GPU itself resolves. Against the host and other devices they are off by a bracket (some us: a launch and its
// answer) once work has gone on for ten seconds, and by up to 100 us in the first one: crystals differ by so much, and only time tells how (timeline.h).
#pragma once
#include <cuda_runtime_api.h>

#include <memory>
#include <mutex>

#include "timeline.h"

namespace fpdt::cuda {

// The clock of one device. Any thread may use it while the device is current.
class Clock {
 public:
  struct Anchor {
    Anchor();
    ~Anchor();
    cudaEvent_t event;
    double device_ns = 0;
  };

  Clock();  // of the current device, which must be idle for as long as this takes (some launches)
  ~Clock();
  Clock(const Clock&) = delete;
  Clock& operator=(const Clock&) = delete;

  // For an event that is recorded next. Makes a new anchor where the newest is old, which takes a launch and its answer.
  std::shared_ptr<const Anchor> anchor();
  // When an event happened, in whole ns; it must have happened, and been recorded after `anchor`.
  double host_ns(const Anchor& anchor, cudaEvent_t event) const;

 private:
  struct Try;
  bool measure(Try& best);
  void renew();

  cudaStream_t stream_ = nullptr;        // nothing else runs on it
  std::mutex renewing_;                  // held by the one thread that makes an anchor
  mutable std::mutex mutex_;             // guards all below
  std::shared_ptr<const Anchor> newest_;
  std::unique_ptr<Timeline> timeline_;
  double first_ns_ = 0, due_ns_ = 0;     // when the first anchor was made, and when the next one is to be
};

}  // namespace fpdt::cuda
