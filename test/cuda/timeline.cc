// Drives native/cuda/timeline.h from text: "anchor DEVICE BEFORE AFTER" (the first makes the timeline) and "ask DEVICE", answered by a line with the host
// time. Numbers in ns.
#include "../../native/cuda/timeline.h"

#include <cstdio>
#include <iostream>
#include <optional>
#include <string>

int main() {
  std::optional<fpdt::cuda::Timeline> timeline;
  for (std::string what; std::cin >> what;) {
    double device, before, after;
    std::cin >> device;
    if (what == "anchor") {
      std::cin >> before >> after;
      if (timeline) timeline->add(device, before, after);
      else timeline.emplace(before, after);
    } else {
      std::printf("%.17g\n", timeline->host_ns(device));
    }
  }
}
