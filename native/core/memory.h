// The arenas of a loaded program: one per tier and rank, allocated once, exactly as large as the plan says.
//
// How far an arena was written is measured with a poison: every 8-byte word is filled with a hash of its own place, and
// `touched` looks for the highest word that no longer holds it. Written data equals the poison of its place with
// probability 2^-64 a word (2^-32 where only half a word is written), so a coincidence does not happen in practice; the
// price is that the answer is exact to 8 bytes, or to the byte at the arena's end.
#pragma once
#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "finite.h"
#include "program.h"

namespace fpdt {

// Bytes per rank that each tier's arena may have; absent = as much as the machine has.
using Budgets = std::array<std::optional<double>, kTiers>;
const char* tier_name(Tier tier);

class Memory {
 public:
  // Throws Error "out_of_memory" before anything is allocated when an arena exceeds its budget, or all of them the machine;
  // "disk_full" and "disk" when the disk tier cannot be had.
  Memory(std::shared_ptr<Backend> backend, const Program& program, const Budgets& budgets);

  Arena& arena(Tier tier, int rank);     // of a tier that has bytes
  std::byte* data(Tier tier, int rank);  // nullptr where the tier has no bytes, or is the disk
  size_t bytes(Tier tier) const { return bytes_[static_cast<int>(tier)]; }
  size_t total_bytes() const;  // of memory, over tiers and ranks: without the disk
  Medium medium(Tier tier);    // memory where the tier has no bytes

  // Copies out of and into an arena. Throws Error "range" for bytes outside it.
  void read(Tier tier, int rank, double offset, void* to, size_t bytes);
  void write(Tier tier, int rank, double offset, const void* from, size_t bytes);
  // Index of the first NaN or infinity among the elements in these bytes, or -1. Throws Error "range" like read, and for bytes
  // that are no whole number of elements.
  int64_t first_not_finite(Tier tier, int rank, double offset, double bytes, Real dtype);

  void poison(Tier tier);
  // Bytes from the arena's start to the end of the highest word written since `poison`. Throws Error "range" without one.
  size_t touched(Tier tier, int rank);

 private:
  void check_machine(const DeviceInfo& info) const;
  Arena& checked(Tier tier, int rank, double offset, double bytes);

  std::shared_ptr<Backend> backend_;
  int ranks_;
  std::array<size_t, kTiers> bytes_{};
  std::array<std::vector<std::unique_ptr<Arena>>, kTiers> arenas_;  // [tier][rank]; empty where a tier has no bytes
  std::array<bool, kTiers> poisoned_{};
};

}  // namespace fpdt
