// Collectives among the ranks of one process, on one GPU or several: the twin of cpu/collective.cc. Every rank pulls, by addresses: it reads its
// peers' memory and writes only its own; sums are taken in rank order whichever rank comes first.
//
// What only moves goes by copies with a pitch, one for each part and peer, and not by a kernel: between GPUs the copy engines do them, so that no
// multiprocessor is taken from the attention that an all-to-all runs beside, and any width and alignment of a head is one case. Its price is P calls
// a part, some microseconds of the host each, which issuing ahead hides. Sums are kernels (collective.cu), which read peers directly.
//
// Letters: P ranks, c local tokens, C = P·c, D head size; the heads of a part are counted over all ranks.
#include <algorithm>
#include <array>

#include "../core/error.h"
#include "../core/program.h"
#include "parts.h"
#include "status.h"

namespace fpdt::cuda {
namespace {

template <class T>
T* operand(const Exchange& what, int rank, int i) {
  return static_cast<T*>(what.operands[rank][i]);
}

// One part of an all-to-all: `offset` heads of the parts before it stand in each row of `local`, which has `all_heads`.
struct Part {
  size_t index, heads, offset, all_heads;
};

// One copy moves the heads of one part and rank, token by token: rows of `local` have room for all heads, those of a part are dense.
void move_heads(const Exchange& what, const Part& part, bool to_heads, cudaStream_t stream) {
  const auto tokens = static_cast<size_t>(what.parameters[0]);
  const auto head_bytes = static_cast<size_t>(what.parameters[1] * what.parameters[2]);
  const size_t share = std::max<size_t>(part.heads / what.ranks, 1);
  const size_t local_pitch = part.all_heads * head_bytes, split_pitch = share * head_bytes;
  for (int peer = 0; peer < what.ranks; peer++) {
    const int source = to_heads ? peer : what.rank;   // r: whose tokens these are
    const int target = to_heads ? what.rank : peer;   // s: whose heads these are
    std::byte* local = operand<std::byte>(what, source, 0) + (part.offset + target * part.heads / what.ranks) * head_bytes;
    std::byte* split = operand<std::byte>(what, target, 1 + static_cast<int>(part.index)) + source * tokens * split_pitch;
    check(to_heads ? cudaMemcpy2DAsync(split, split_pitch, local, local_pitch, split_pitch, tokens, cudaMemcpyDefault, stream)
                   : cudaMemcpy2DAsync(local, local_pitch, split, split_pitch, split_pitch, tokens, cudaMemcpyDefault, stream),
          "cudaMemcpy2DAsync");
  }
}

// Back to tokens where ranks share heads: their gradients of a head, each from its own query heads, are added.
void add_copies(const Exchange& what, const Part& part, cudaStream_t stream) {
  const auto tokens = static_cast<int64_t>(what.parameters[0]), size = static_cast<int64_t>(what.parameters[1]);
  const auto element_bytes = static_cast<int64_t>(what.parameters[2]), heads = static_cast<int64_t>(part.heads);
  std::array<const void*, kMostRanks> from;
  for (int rank = 0; rank < what.ranks; rank++)
    from[rank] = operand<const std::byte>(what, rank, 1 + static_cast<int>(part.index)) + what.rank * tokens * size * element_bytes;
  sum_ranks({.to = operand<std::byte>(what, what.rank, 0) + static_cast<int64_t>(part.offset) * size * element_bytes,
             .from = from.data(),
             .rows = tokens,
             .width = size,
             .to_stride = static_cast<int64_t>(part.all_heads) * size,
             .from_stride = size,
             .groups = static_cast<int>(heads),
             .group = what.ranks / static_cast<int>(heads),
             .bf16 = element_bytes == 2,
             .add = false},
            stream);
}

// Roughly: parts[p][r·c + t, h] on rank s = local[t, offset(p) + ⌊s·heads(p)/P⌋ + h] of rank r. toTokens is read right to left.
// local: (c, Σ heads, D); parts[p]: (C, max(heads(p)/P, 1), D). A part with fewer heads than ranks (key/value heads) gives
// each to P/heads(p) ranks in a row; toTokens adds what these hold.
void all_to_all(const Exchange& what, cudaStream_t stream) {
  const bool to_heads = what.parameters[3] == 0;
  const std::span<const double> heads = what.parameters.subspan(4);
  Part part{};
  for (double h : heads) part.all_heads += static_cast<size_t>(h);
  for (; part.index < heads.size(); part.index++) {
    part.heads = static_cast<size_t>(heads[part.index]);
    if (to_heads || part.heads >= static_cast<size_t>(what.ranks)) move_heads(what, part, to_heads, stream);
    else add_copies(what, part, stream);
    part.offset += part.heads;
  }
}

// full = part of rank 0, part of rank 1, ...
void gather(const Exchange& what, cudaStream_t stream) {
  const auto bytes = static_cast<size_t>(what.parameters[0]);
  std::byte* full = operand<std::byte>(what, what.rank, 1);
  for (int peer = 0; bytes && peer < what.ranks; peer++)
    check(cudaMemcpyAsync(full + peer * bytes, operand<std::byte>(what, peer, 0), bytes, cudaMemcpyDefault, stream), "cudaMemcpyAsync");
}

// part = (first ? 0 : part) + Σ_r full of rank r, at this rank's place.
void reduce_scatter(const Exchange& what, cudaStream_t stream) {
  const auto count = static_cast<int64_t>(what.parameters[0]);
  std::array<const void*, kMostRanks> from;
  for (int rank = 0; rank < what.ranks; rank++) from[rank] = operand<const float>(what, rank, 0) + what.rank * count;
  sum_ranks({.to = operand<float>(what, what.rank, 1),
             .from = from.data(),
             .rows = 1,
             .width = count,
             .to_stride = 0,
             .from_stride = 0,
             .groups = 1,
             .group = what.ranks,
             .bf16 = false,
             .add = what.parameters[1] == 0},
            stream);
}

void all_reduce(const Exchange& what, int phase, double* kept, cudaStream_t stream) {
  const auto count = static_cast<int64_t>(what.parameters[0]);
  if (phase == 1) {
    check(cudaMemcpyAsync(operand<double>(what, what.rank, 0), kept, count * sizeof(double), cudaMemcpyDefault, stream), "cudaMemcpyAsync");
    return;
  }
  std::array<const double*, kMostRanks> from;
  for (int rank = 0; rank < what.ranks; rank++) from[rank] = operand<const double>(what, rank, 0);
  sum_ranks(kept, from.data(), what.ranks, count, stream);
}

}  // namespace

void exchange(const Exchange& what, int phase, double* kept, cudaStream_t stream) {
  switch (what.code) {
    case opcode::allToAll: return all_to_all(what, stream);
    case opcode::gather: return gather(what, stream);
    case opcode::reduceScatter: return reduce_scatter(what, stream);
    case opcode::allReduce: return all_reduce(what, phase, kept, stream);
  }
  throw Error("native", "code " + std::to_string(what.code) + " is not a collective");
}

}  // namespace fpdt::cuda
