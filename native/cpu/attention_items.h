// How the work of attention is cut for the pool. No sum is cut by the number of threads, so results do not depend on it.
#pragma once
#include <atomic>

#include "attention.h"

namespace fpdt::cpu {

// Forward: items of a few panels, a panel being kPanel q rows of one head. Panels do not depend on one another, so how
// they are dealt out cannot change a bit of the result. Panels of one item share the packed kv tile: different heads of a
// group where there are groups, neighbouring rows where there are none.
constexpr int kPanel = 48;
constexpr int kMaxPanels = 4;

class ForwardItems {
 public:
  ForwardItems(const Attention& a, int threads) : a_(a) {
    const long panels = tiles_of(a.rows, kPanel) * a.heads;
    // Fewer in an item when threads would run out of items. An item of one panel spends a quarter of its time on packing.
    int wanted = kMaxPanels;
    while (wanted > 1 && panels / wanted < 8 * threads) wanted /= 2;
    head_sets_ = static_cast<int>(tiles_of(a.group(), wanted));
    heads_ = static_cast<int>(tiles_of(a.group(), head_sets_));
    row_panels_ = wanted / heads_;
    row_sets_ = tiles_of(a.rows, rows());
  }
  struct Item {
    int kv_head, head, heads;  // q heads [head, head + heads)
    long row, rows;
  };
  long count() const { return a_.kv_heads * head_sets_ * row_sets_; }
  // A head's longest causal rows come first, so that no long item is left for the end.
  Item operator[](long i) const {
    const long row = (row_sets_ - 1 - i % row_sets_) * rows();
    const int set = static_cast<int>(i / row_sets_), kv_head = set / head_sets_, offset = set % head_sets_ * heads_;
    return {kv_head, kv_head * a_.group() + offset, std::min(heads_, a_.group() - offset), row, std::min(rows(), a_.rows - row)};
  }

 private:
  long rows() const { return static_cast<long>(row_panels_) * kPanel; }
  const Attention& a_;
  int head_sets_, heads_, row_panels_;
  long row_sets_;
};

// Backward: an item is one q block (of every head of a group) against one kv block. It adds to the dq of the one and the
// dk and dv of the other, and sums must not depend on the threads. Private sums would cost a dq per part; so items add in a
// fixed order instead, and wait for their turn. Step s pairs kv block a with q block (a + s) mod n: items of a step share
// nothing, and the item before in either chain is a whole step earlier in the list, so waiting is rare.
class BackwardItems {
 public:
  static constexpr long kMinTile = 96;  // smallest extent of a block, which bounds the number of turns

  // Blocks are a few tiles: the larger, the less often are tiles packed and sums read and written (10 % of a pass with single
  // tiles). They are smaller when fewer than kSideBySide items could be at work at once.
  static constexpr long kSideBySide = 6, kMaxKvTiles = 2, kMaxQTiles = 4;
  BackwardItems(const AttendBackward& a, long tile, Carver& carver) : a_(a), tile_(tile) {
    const auto enough = [&](long q, long kv) {
      return a.kv_heads * std::min(tiles_of(a.rows, q), tiles_of(a.columns, kv)) >= kSideBySide;
    };
    if (!enough(tile, tile)) tile_ = std::max(tile / 2, kMinTile);
    q_block_ = kv_block_ = tile_;
    if (enough(2 * tile_, 2 * tile_)) q_block_ = kv_block_ = 2 * tile_;
    if (enough(kMaxQTiles * tile_, kMaxKvTiles * tile_)) q_block_ = kMaxQTiles * tile_;
    q_blocks_ = tiles_of(a.rows, q_block_), kv_blocks_ = tiles_of(a.columns, kv_block_);
    width_ = std::max(q_blocks_, kv_blocks_);
    turns_ = carver.take<std::atomic<int>>(a.kv_heads * (q_blocks_ + kv_blocks_));
    for (long i = 0; i < a.kv_heads * (q_blocks_ + kv_blocks_); i++) new (turns_ + i) std::atomic<int>(0);
    kv_begin_ = carver.take<int>(q_blocks_);
    for (long q = q_blocks_ - 1, first = kv_blocks_; q >= 0; q--) {
      first = std::min(first, a.view(q * q_block_, std::min(q_block_, a.rows - q * q_block_)).from / kv_block_);
      kv_begin_[q] = static_cast<int>(first);
    }
  }

  struct Item {
    int kv_head;
    long row, rows, column, columns, tile;  // q rows and kv rows, both to be taken in tiles of `tile`
    int q_turn, kv_turn;  // how many items add to these rows of dq, and of dk and dv, before this one
    std::atomic<int>*q_turns, *kv_turns;
  };

  // Calls work(thread, item) for every item with anything to see. Items are taken in list order: the earliest unfinished one
  // waits for none, so there is no deadlock.
  template <class Work>
  void run(Pool& pool, Work work) {
    write_unseen();
    std::atomic<long> next{0};
    pool.for_each(width_ * a_.kv_heads * width_, [&](int thread, long) {
      const long i = next.fetch_add(1, std::memory_order_relaxed), pair = i % (a_.kv_heads * width_);
      const long step = i / (a_.kv_heads * width_), g = pair / width_, kv = pair % width_, q = (kv + step) % width_;
      if (kv >= kv_blocks_ || q < q_begin(kv) || q >= q_end(kv)) return;
      Item item{static_cast<int>(g), q * q_block_, std::min(q_block_, a_.rows - q * q_block_), kv * kv_block_,
                std::min(kv_block_, a_.columns - kv * kv_block_), tile_,
                // before this step, q block q met kv blocks q, q - 1, ... and kv block a met q blocks a, a + 1, ...
                static_cast<int>(met(q - step + 1 + width_, step, kv_begin_[q], kv_end(q))),
                static_cast<int>(met(kv, step, q_begin(kv), q_end(kv))), turns_ + g * q_blocks_ + q,
                turns_ + a_.kv_heads * q_blocks_ + g * kv_blocks_ + kv};
      work(thread, item);
      finish_turn(item.q_turns, item.q_turn), finish_turn(item.kv_turns, item.kv_turn);
    });
  }
  static void await_turn(std::atomic<int>* turns, int turn) {
    for (int now; (now = turns->load(std::memory_order_acquire)) != turn;) turns->wait(now, std::memory_order_acquire);
  }

 private:
  // kv blocks that q block q may see any of: [kv_begin_[q], kv_end(q)); q blocks that may see any of kv block `kv`:
  // [q_begin(kv), q_end(kv)). The same pairs both ways, because neither end ever falls: kv_begin_ takes the least of all later q
  // blocks, which is its own where documents follow one another.
  long kv_end(long q) const { return tiles_of(a_.limit(std::min((q + 1) * q_block_, a_.rows) - 1), kv_block_); }
  long q_begin(long kv) const {
    const long row = std::max(0L, a_.kv_start + kv * kv_block_ - a_.q_start);
    return row < a_.rows ? row / q_block_ : q_blocks_;
  }
  long q_end(long kv) const { return std::upper_bound(kv_begin_, kv_begin_ + q_blocks_, kv) - kv_begin_; }
  // Rows and kv rows of blocks that belong to no item: nothing is added to them, but they may hold garbage.
  void write_unseen() {
    const long q_width = static_cast<long>(a_.heads) * a_.head_size, kv_width = static_cast<long>(a_.kv_heads) * a_.head_size;
    const auto zero = [](float* x, long width, long begin, long end) { std::fill(x + begin * width, x + end * width, 0.f); };
    for (long q = 0; q < q_blocks_ && a_.first_q; q++)
      if (kv_begin_[q] >= kv_end(q)) zero(a_.dq, q_width, q * q_block_, std::min((q + 1) * q_block_, a_.rows));
    for (long kv = 0; kv < kv_blocks_ && a_.first_kv; kv++)
      if (q_begin(kv) >= q_end(kv))
        for (float* x : {a_.dk, a_.dv}) zero(x, kv_width, kv * kv_block_, std::min((kv + 1) * kv_block_, a_.columns));
  }
  // How many of from, from + 1, ..., from + steps - 1, modulo width_, lie in [first, last).
  long met(long from, long steps, long first, long last) const {
    long n = 0;
    for (long lap = 0; lap <= 2 * width_; lap += width_)
      n += std::max(0L, std::min(from + steps, last + lap) - std::max(from, first + lap));
    return n;
  }
  static void finish_turn(std::atomic<int>* turns, int turn) {
    await_turn(turns, turn);  // also when the item had nothing to add
    turns->fetch_add(1, std::memory_order_release);
    turns->notify_all();
  }

  const AttendBackward& a_;
  long tile_, q_block_, kv_block_, q_blocks_, kv_blocks_, width_;
  std::atomic<int>* turns_;
  int* kv_begin_;
};

}  // namespace fpdt::cpu
