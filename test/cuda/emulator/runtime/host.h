// What the threads of the host know of the device: each has a clock of its own, joined by what it waits for itself.
//
// On what one thread knows another builds only where the program says so: it calls annotate_happens_before and annotate_happens_after (native/core/order_annotations.h) at one
// place. A program that is linked with the emulator's options (--wrap, CMakeLists.txt) calls these functions in place of its own, which do nothing. Nothing
// else orders threads: not that they lock the same mutex, which in another run they may do the other way round. So what is reported does not depend on time.
// In a program that says nothing, all threads are taken to know what any of them has waited for.
#pragma once
#include "touched.h"

namespace emulator::runtime {

Clock& host_clock();       // of this thread
bool host_tells_order();   // the program has called one of the functions

}  // namespace emulator::runtime
