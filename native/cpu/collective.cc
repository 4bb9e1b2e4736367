// Collectives among the ranks of one process. Every rank pulls: it reads its peers' memory and writes only its own, so two
// ranks never write the same byte, and sums are taken in rank order whichever rank comes first.
//
// Letters: P ranks, c local tokens, C = P·c, D head size; the heads of a part are counted over all ranks.
#include <cstring>

#include "../core/error.h"
#include "../core/program.h"
#include "parts.h"

namespace fpdt::cpu {
namespace {

template <class T>
T* operand(const Exchange& what, int rank, int i) {
  return static_cast<T*>(what.operands[rank][i]);
}

// Roughly: parts[p][r·c + t, h] on rank s = local[t, offset(p) + s·heads(p)/P + h] of rank r. toTokens is read right to left.
// local: (c, Σ heads, D); parts[p]: (C, heads(p)/P, D). One copy moves the heads of one part, token and rank: contiguous on both sides.
void all_to_all(const Exchange& what) {
  const auto tokens = static_cast<size_t>(what.parameters[0]);
  const auto head_bytes = static_cast<size_t>(what.parameters[1] * what.parameters[2]);
  const bool to_heads = what.parameters[3] == 0;
  const std::span<const double> heads = what.parameters.subspan(4);
  size_t all_heads = 0;
  for (double h : heads) all_heads += static_cast<size_t>(h);

  size_t offset = 0;  // heads of the parts before this one
  for (size_t part = 0; part < heads.size(); part++) {
    const size_t share = static_cast<size_t>(heads[part]) / what.ranks;
    for (int peer = 0; peer < what.ranks; peer++) {
      const int source = to_heads ? peer : what.rank;   // r: whose tokens these are
      const int target = to_heads ? what.rank : peer;   // s: whose heads these are
      std::byte* local = operand<std::byte>(what, source, 0) + (offset + target * share) * head_bytes;
      std::byte* split = operand<std::byte>(what, target, 1 + static_cast<int>(part)) + source * tokens * share * head_bytes;
      for (size_t t = 0; t < tokens; t++) {
        std::byte* here = local + t * all_heads * head_bytes;
        std::byte* there = split + t * share * head_bytes;
        std::memcpy(to_heads ? there : here, to_heads ? here : there, share * head_bytes);
      }
    }
    offset += static_cast<size_t>(heads[part]);
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
  float* part = operand<float>(what, what.rank, 1);
  constexpr size_t kBlock = 1024;  // so that the sums stay in the nearest cache over the ranks
  float sum[kBlock];
  for (size_t begin = 0; begin < count; begin += kBlock) {
    const size_t n = std::min(kBlock, count - begin);
    for (int peer = 0; peer < what.ranks; peer++) {
      const float* full = operand<float>(what, peer, 0) + what.rank * count + begin;
      for (size_t i = 0; i < n; i++) sum[i] = peer == 0 ? full[i] : sum[i] + full[i];
    }
    for (size_t i = 0; i < n; i++) part[begin + i] = first ? sum[i] : part[begin + i] + sum[i];
  }
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
