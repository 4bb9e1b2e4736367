// Collectives among the ranks of one process. Every rank pulls: it reads its peers' memory and writes only its own, so two
// ranks never write the same byte, and sums are taken in rank order whichever rank comes first.
//
// Letters: P ranks, c local tokens, C = P·c, D head size; the heads of a part are counted over all ranks.
#include <algorithm>
#include <cstring>

#include "../core/error.h"
#include "../core/program.h"
#include "bf16.h"
#include "parts.h"

namespace fpdt::cpu {
namespace {

template <class T>
T* operand(const Exchange& what, int rank, int i) {
  return static_cast<T*>(what.operands[rank][i]);
}

// to[i] = (add ? to[i] : 0) + Σ_r from(r)[i] over ranks first .. end - 1: in rank order and f32, rounded once.
template <class T, class From>
void add_up(T* to, size_t n, bool add, int first, int end, From&& from) {
  constexpr size_t kBlock = 1024;  // so that the sums stay in the nearest cache over the ranks
  float sum[kBlock];
  for (size_t begin = 0; begin < n; begin += kBlock) {
    const size_t count = std::min(kBlock, n - begin);
    for (int rank = first; rank < end; rank++) {
      const T* values = from(rank) + begin;
      for (size_t i = 0; i < count; i++) sum[i] = rank == first ? to_f32(values[i]) : sum[i] + to_f32(values[i]);
    }
    for (size_t i = 0; i < count; i++) to[begin + i] = cpu::to<T>(add ? to_f32(to[begin + i]) + sum[i] : sum[i]);
  }
}

// One part of an all-to-all: `offset` heads of the parts before it stand in each row of `local`, which has `all_heads`.
struct Part {
  size_t index, heads, offset, all_heads;
};

// One copy moves the heads of one part, token and rank: contiguous on both sides.
void move_heads(const Exchange& what, const Part& part, bool to_heads) {
  const auto tokens = static_cast<size_t>(what.parameters[0]);
  const auto head_bytes = static_cast<size_t>(what.parameters[1] * what.parameters[2]);
  const size_t share = std::max<size_t>(part.heads / what.ranks, 1);
  for (int peer = 0; peer < what.ranks; peer++) {
    const int source = to_heads ? peer : what.rank;   // r: whose tokens these are
    const int target = to_heads ? what.rank : peer;   // s: whose heads these are
    std::byte* local = operand<std::byte>(what, source, 0) + (part.offset + target * part.heads / what.ranks) * head_bytes;
    std::byte* split = operand<std::byte>(what, target, 1 + static_cast<int>(part.index)) + source * tokens * share * head_bytes;
    for (size_t t = 0; t < tokens; t++) {
      std::byte* here = local + t * part.all_heads * head_bytes;
      std::byte* there = split + t * share * head_bytes;
      std::memcpy(to_heads ? there : here, to_heads ? here : there, share * head_bytes);
    }
  }
}

// Back to tokens where ranks share heads: their gradients of a head, each from its own query heads, are added.
template <class T>
void add_copies(const Exchange& what, const Part& part) {
  const auto tokens = static_cast<size_t>(what.parameters[0]), size = static_cast<size_t>(what.parameters[1]);
  const int copies = what.ranks / static_cast<int>(part.heads);
  for (size_t t = 0; t < tokens; t++) {
    const size_t row = what.rank * tokens + t;
    for (size_t head = 0; head < part.heads; head++) {
      T* local = operand<T>(what, what.rank, 0) + (t * part.all_heads + part.offset + head) * size;
      const int first = static_cast<int>(head) * copies;
      add_up(local, size, false, first, first + copies, [&](int rank) { return operand<const T>(what, rank, 1 + static_cast<int>(part.index)) + row * size; });
    }
  }
}

// Roughly: parts[p][r·c + t, h] on rank s = local[t, offset(p) + ⌊s·heads(p)/P⌋ + h] of rank r. toTokens is read right to left.
// local: (c, Σ heads, D); parts[p]: (C, max(heads(p)/P, 1), D). A part with fewer heads than ranks (key/value heads) gives
// each to P/heads(p) ranks in a row; toTokens adds what these hold.
void all_to_all(const Exchange& what) {
  const bool to_heads = what.parameters[3] == 0;
  const std::span<const double> heads = what.parameters.subspan(4);
  Part part{};
  for (double h : heads) part.all_heads += static_cast<size_t>(h);
  for (; part.index < heads.size(); part.index++) {
    part.heads = static_cast<size_t>(heads[part.index]);
    if (to_heads || part.heads >= static_cast<size_t>(what.ranks)) move_heads(what, part, to_heads);
    else if (what.parameters[2] == 2) add_copies<bf16>(what, part);
    else add_copies<float>(what, part);
    part.offset += part.heads;
  }
}

// full = part of rank 0, part of rank 1, ...
void gather(const Exchange& what) {
  const auto bytes = static_cast<size_t>(what.parameters[0]);
  std::byte* full = operand<std::byte>(what, what.rank, 1);
  for (int peer = 0; peer < what.ranks; peer++) {
    const std::byte* part = operand<std::byte>(what, peer, 0);
    std::memcpy(full + peer * bytes, part, bytes);
  }
}

// part = (first ? 0 : part) + Σ_r full of rank r, at this rank's place.
void reduce_scatter(const Exchange& what) {
  const auto count = static_cast<size_t>(what.parameters[0]);
  const bool first = what.parameters[1] != 0;
  add_up(operand<float>(what, what.rank, 1), count, !first, 0, what.ranks, [&](int rank) { return operand<const float>(what, rank, 0) + what.rank * count; });
}

void all_reduce(const Exchange& what, int phase, std::span<double> kept) {
  const auto count = static_cast<size_t>(what.parameters[0]);
  if (phase == 1) {
    std::memcpy(operand<double>(what, what.rank, 0), kept.data(), count * sizeof(double));
    return;
  }
  for (size_t i = 0; i < count; i++) {
    kept[i] = 0;
    for (int peer = 0; peer < what.ranks; peer++) kept[i] += operand<double>(what, peer, 0)[i];
  }
}

}  // namespace

void exchange(const Exchange& what, int phase, std::span<double> kept) {
  switch (what.code) {
    case opcode::allToAll: return all_to_all(what);
    case opcode::gather: return gather(what);
    case opcode::reduceScatter: return reduce_scatter(what);
    case opcode::allReduce: return all_reduce(what, phase, kept);
  }
  throw Error("native", "code " + std::to_string(what.code) + " is not a collective");
}

}  // namespace fpdt::cpu
