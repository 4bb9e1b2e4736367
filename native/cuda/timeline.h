// Device time told as host time: the arithmetic of the clock alone, without a device.
#pragma once
#include <deque>

namespace fpdt::cuda {

// Straight pieces that meet, so that what happened later is never told earlier. A piece begins at each *anchor*, of which the host knows between
// which two moments it happened: its bracket. The slope of a piece is the measured ratio of the two clocks, plus what leads back into the brackets where the
// line has left them; inside a bracket nothing says that the line is wrong. Times in ns; device time 0 is the first anchor.
class Timeline {
 public:
  // An anchor at device time `device_ns` happened at some moment between the host times `before_ns` and `after_ns`.
  Timeline(double before_ns, double after_ns);
  void add(double device_ns, double before_ns, double after_ns);
  double host_ns(double device_ns) const;

 private:
  struct Bracket {
    double device_ns, middle_ns, half_ns;
  };
  struct Piece {
    double device_ns, host_ns, slope;
  };
  std::deque<Bracket> brackets_;   // the last half minute of them: the longer, the better known the ratio; the shorter, the sooner a drift is followed
  std::deque<Piece> pieces_;
  double rate_ = 1, rate_error_;   // host ns of a device ns
};

}  // namespace fpdt::cuda
