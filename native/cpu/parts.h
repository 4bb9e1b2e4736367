// The parts of the CPU backend, made by backend.cc.
#pragma once
#include <memory>

#include "../core/backend.h"
#include "kernels.h"
#include "pool.h"

namespace fpdt::cpu {

std::unique_ptr<Stream> make_stream(StreamKind kind, std::shared_ptr<Pool> pool, Path path);  // stream.cc
std::unique_ptr<Arena> map_arena(size_t bytes);                                               // arena.cc
// Phase 0 of an allReduce leaves its sums in `kept` (kAllReduceElements long), phase 1 takes them from there.
void exchange(const Exchange& what, int phase, std::span<double> kept);                       // collective.cc
void copy(void* to, const void* from, size_t bytes);                                          // copy.cc

}  // namespace fpdt::cpu
