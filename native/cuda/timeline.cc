#include "timeline.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace fpdt::cuda {
namespace {

constexpr double kSecond = 1e9;
constexpr double kCrystals = 1e-4;       // two clocks may differ by this much, as far as one knows before measuring
constexpr double kMostRate = 1e-3;       // what differs more is no clock: a machine that slept, or was moved
constexpr double kRateError = 2e-6;      // a ratio known to this is good enough to be replaced by a newer one: 2 us a second
constexpr size_t kBrackets = 32;
constexpr double kLongGap = 8 * kSecond; // an f32 of so many ms is good to 0.25 us

}  // namespace

Timeline::Timeline(double before_ns, double after_ns) : rate_error_(kCrystals) {
  const double middle = (before_ns + after_ns) / 2;
  brackets_.push_back({0, middle, (after_ns - before_ns) / 2});
  pieces_.push_back({0, middle, 1});
}

void Timeline::add(double device_ns, double before_ns, double after_ns) {
  const Bracket bracket{device_ns, (before_ns + after_ns) / 2, (after_ns - before_ns) / 2};
  const Bracket& first = brackets_.front();
  const double span = device_ns - first.device_ns, gap = device_ns - brackets_.back().device_ns;
  if (!(gap > 0)) return;
  const double rate = (bracket.middle_ns - first.middle_ns) / span, error = (bracket.half_ns + first.half_ns) / span;
  if (error < std::max(rate_error_, kRateError) && std::abs(rate - 1) < kMostRate) rate_ = rate, rate_error_ = error;

  const double told = host_ns(device_ns);
  if (gap > kLongGap) {
    pieces_.push_back({device_ns, bracket.middle_ns, rate_});  // nothing was measured for so long that there is nothing to be joined
  } else {
    // Outside the bracket by `off`: made good within a second, or as fast as a clock may run.
    const double off = told - std::clamp(told, before_ns, after_ns);
    pieces_.push_back({device_ns, told, rate_ - std::clamp(off / kSecond, -kMostRate, kMostRate)});
  }
  brackets_.push_back(bracket);
  if (brackets_.size() > kBrackets) brackets_.pop_front();
  if (pieces_.size() > kBrackets) pieces_.pop_front();
}

double Timeline::host_ns(double device_ns) const {
  const auto after = std::upper_bound(pieces_.begin(), pieces_.end(), device_ns, [](double at, const Piece& piece) { return at < piece.device_ns; });
  const Piece& piece = after == pieces_.begin() ? *after : *std::prev(after);
  const double told = piece.host_ns + (device_ns - piece.device_ns) * piece.slope;
  return after == pieces_.end() || after == pieces_.begin() ? told : std::min(told, after->host_ns);  // a piece after a long gap may begin lower
}

}  // namespace fpdt::cuda
