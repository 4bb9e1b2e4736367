// The container in which nvcc embeds device code (section .nv_fatbin): a header, then entries of PTX text or SASS for one architecture each.
#pragma once
#include <string>

namespace emulator {

// The PTX of the highest compute_XX that a device of `capability` (10 * major + minor) can be given, as a driver would choose it.
// Throws Fault "launch" that says what the binary holds instead: SASS only, compressed PTX, or PTX for newer devices.
std::string embedded_ptx(const void* wrapper, int capability);

}  // namespace emulator
