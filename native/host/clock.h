// The clock that all times of a backend are told on.
#pragma once

namespace fpdt::host {

double monotonic_ns();  // CLOCK_MONOTONIC

}  // namespace fpdt::host
