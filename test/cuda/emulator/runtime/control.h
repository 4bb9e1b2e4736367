// Control of the stand-in runtime, for tests: one function of JSON to JSON, and the environment variable FPDT_EMULATOR, read once at the first call.
//
//   {"reset": true, "configure": {...}, "plant": [{...}], "report": true}     done in this order; each may be left out
//
// configure: what is not named stays.
//   seed                number; draws the order of streams, blocks and warps. 0: in order
//   policy              "prompt" | "lazy" | "eager" | "random" (config.h); null: by the seed
//   checks              some of ["order", "race", "banks", "sectors", "initialised"]; at first ["order"]. "initialised" holds for what is allocated later
//   resident_blocks     blocks of one kernel that are under way at a time, in turns that the seed draws
//   most_instructions   of one block; 0: no limit
//   driver              as cudaDriverGetVersion says it; 0: none is installed
//   devices             their number, or [{name, major, minor, memory, multiprocessors, shared_per_block, shared_per_block_optin,
//                       shared_per_multiprocessor, peer}]; their number can change only while no device memory is in use
// plant: faults in the host's calls or in PTX; counted from now; they stay until reset.
//   {call: name, nth: n, what: "drop"}      the nth call of that function (from 1) does nothing and says it did
//                        what: "shorten"    a copy or memset does the first half of its bytes (rows, where it has rows)
//                        what: "swap"       a copy goes the other way
//                        what: "late"       a copy, memset or launch is done three ops after it is said to be done
//                        what: "fail"       the call fails: cudaErrorMemoryAllocation of an allocation or a registration; of a launch a lost device
//   {ptx: kernel-regex, find: regex, replace: text, nth: n}   the nth match in the bodies of such kernels, when their module is loaded
//   {ptx: kernel-regex, module: text}   PTX that takes the place of a module with such a kernel; nvcc's names for a file's own namespace are mapped
// report: what is queued is done first, as a GPU would do it unasked; `pending` is how many ops that were.
//         {faults, unordered, notes, calls, launches, devices: [{used, peak, total}], pinned, pinned_peak, default_stream_ops, pageable_copies,
//         timed_waits, banks, sectors, plants: [{..., used | applied}], streams, pending, seed, policy}
//         banks, sectors: [{kernel, line, instructions, taken, fewest, asynchronous}]
// reset:  does all work that is queued, then forgets faults, lost devices, counts and planted faults. Memory, streams and events stay.
//
// FPDT_EMULATOR holds the same, without reset; "report": "a file" writes the report there when the process ends.
#pragma once
#include <string>

namespace emulator {

// Throws std::runtime_error for what it does not know.
std::string control(const std::string& json);

namespace runtime {
class Runtime;
void configure_from_environment(Runtime& runtime, const std::string& json);
}  // namespace runtime

}  // namespace emulator
