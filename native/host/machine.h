// What this machine offers to this process.
#pragma once
#include <cstddef>
#include <string>

namespace fpdt::host {

int usable_threads();       // by affinity and by the CPU quota of control groups
size_t usable_memory();     // physical bytes, or the limit of control groups where that is less
size_t free_memory();       // of those: what can be had now without taking it from other programs
std::string processor_name();

}  // namespace fpdt::host
