// What the threads of the host know of the device: each has a clock of its own, joined by what it waits for itself.
//
// Threads tell each other what they know by mutexes: who locks one knows all that was known to those who unlocked it. A program that is linked with
// the emulator's options (--wrap, CMakeLists.txt) calls these functions in place of pthread's and std::condition_variable's, so that is exact. In any other
// program nobody can see how threads talk: there all threads are taken to know what any of them has waited for.
//
// Not seen in a linked program: what threads tell each other by atomics, or through a library (Node's queue of calls): work that only this orders is
// reported. Not reported: a wait that is missing where a thread learned by chance, through a mutex that both lock for another reason, that the work was done.
#pragma once
#include "touched.h"

namespace emulator::runtime {

Clock& host_clock();            // of this thread
bool sees_host_mutexes();       // a linked program has locked one

}  // namespace emulator::runtime
