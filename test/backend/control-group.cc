// What the limits of control groups (native/host/control_group.h) are where groups are mounted at a folder: memory, free memory, cores, or "none" each.
#include <iostream>

#include "../../native/host/control_group.h"

int main(int, char** arguments) {
  const auto limits = fpdt::host::control_group_limits(arguments[1], arguments[2]);
  const auto say = [](const auto& value) { value ? std::cout << *value << ' ' : std::cout << "none "; };
  say(limits.memory_bytes), say(limits.free_memory_bytes), say(limits.cores);
}
