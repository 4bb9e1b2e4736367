// Where the host orders work of a device by itself, told to a checker of order.
//
// Streams are ordered by events, but also by what a thread of the host has waited for: who knows that an entry is done issues what needs it without a wait. No
// checker can see on what a thread builds. The mutexes that it locks say too much: two threads that meet at one by chance would know all of each other, and
// a wait that is missing would pass. So it is said here, in the words that ThreadSanitizer and Helgrind have for it (ANNOTATE_HAPPENS_BEFORE, _AFTER). All
// of them do nothing, but where a checker is linked in their place (test/cuda/emulator/runtime/host.h).
#pragma once

extern "C" {
// What this thread knows to be done is known from now on to whoever calls `after` with the same place.
void annotate_happens_before(const void* place);
void annotate_happens_after(const void* place);
// This thread forgets what it knows: what it begins now builds on nothing that it has learned so far.
void annotate_forget();
}
