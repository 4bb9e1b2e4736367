// Runs a program on a backend. Knows nothing of JavaScript, kernels or devices beyond core/backend.h.
//
// One host thread, a *lane*, drives one stream of one rank and walks that stream's entries in order:
//
//   rank 0  compute     [norm 0][project 1]      wait 3 [attend 4] ...
//           fetch                [fetch 3]
//           collective                  [allToAll 2 ]
//   rank 1  compute     [norm 0]  ...           one program, the same entries
//
// A lane starts its next entry when (a) the entry lies below the limit, (b) the entries it waits for have been issued on
// their streams, and (c) fewer than Backend::issue_ahead of its own are under way, and no more than a cancel may wait for; then
// the stream waits for their events. No lane ever blocks another in any other way, and waits point backwards, so the lowest entry
// that has not run can always run: there is no deadlock.
//
// Stop, step and cancel are one thing: a limit, the same for all ranks. `cancel` lowers it to just above the highest entry
// started anywhere, so that when the run ends all entries up to some n are done on every rank and none above n has begun.
#pragma once
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "memory.h"
#include "program.h"

namespace fpdt {

// Where and why an entry failed; `rank` and `entry` say where.
struct Failure {
  std::string code, message;
  int rank;
  uint32_t entry;
};

// How a run ended.
struct Outcome {
  int64_t reached;  // all entries up to this one are done on every rank; -1 = none
  bool stopped;     // by cancel, below the entry that was asked for
  std::optional<Failure> failure;
};

// One executed entry; times in nanoseconds after Executor::origin_ns.
struct Span {
  int rank;
  uint32_t entry;
  double start_ns, end_ns;
};

class Executor {
 public:
  // Validates the program, allocates its arenas and starts its lanes. Throws Error "program", "shape", "out_of_memory", "disk_full", "disk".
  Executor(std::shared_ptr<Backend> backend, Program program, const Budgets& budgets);
  // Cancels a run, waits for the entries that have begun, and joins all lanes.
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Runs the entries that are not done yet up to and with `until` (capped at the last one), and calls `finish` once, on any
  // thread. `step` is the parameter block of this run. Throws Error "busy" during a run and "failed" after one that failed.
  void run(int64_t until, std::span<const double> step, std::function<void(const Outcome&)> finish);
  // Ends the run at the next entry boundary that is one for all ranks. Does not wait. What is left can be run later.
  void cancel();
  // Back to the first entry, for the next step or after a failure. Spans not taken are dropped. Throws Error "busy" during a run.
  void reset();
  // Waits until no run is under way.
  void wait();

  // Spans completed since the last call, lane by lane in the order they ran. Also during a run.
  std::vector<Span> take_spans();

  const Program& program() const { return program_; }
  double origin_ns() const { return origin_ns_; }
  // Arenas must not be touched from outside during a run: throws Error "busy".
  Memory& memory();
  size_t memory_bytes() const { return memory_.total_bytes(); }
  Medium medium(Tier tier) { return memory_.medium(tier); }
  // Arena allocations of the backend while programs of this executor ran; 0 unless something is wrong.
  uint64_t allocations_during_runs() const;

 private:
  struct Lane;

  void close();
  void serve(Lane& lane);
  void wake_startable(int rank);
  bool has_room(const Lane& lane) const;
  bool is_through(const Lane& lane) const;
  bool may_start(const Lane& lane) const;
  void start(Lane& lane, std::unique_lock<std::mutex>& lock);
  void retire(Lane& lane, std::unique_lock<std::mutex>& lock);
  void drain(Lane& lane, std::unique_lock<std::mutex>& lock);
  bool issue(Lane& lane, uint32_t entry, size_t position);
  bool exchange(Lane& lane, uint32_t entry, Event& begin);
  bool meet();
  void fail(const Lane& lane, uint32_t entry, std::exception_ptr error);
  std::string blame(Failure& failure) const;
  void finish_if_done(std::unique_lock<std::mutex>& lock);
  int64_t reached() const;
  void check_idle(const char* what) const;
  void tells_run_begins() const;
  void begins_entry() const;
  void knows_done(const Lane& lane, size_t position) const;
  void begins_retiring() const;
  void tells_done(const Lane& lane, size_t position) const;
  void tells_drained() const;
  void knows_all_done() const;
  Lane* lane_of(int rank, uint8_t stream) const { return by_stream_[rank * kStreams + stream]; }
  std::span<void* const> pointers(int rank, uint32_t entry) const;

  const std::shared_ptr<Backend> backend_;
  const Program program_;
  Memory memory_;
  const size_t ahead_;
  const double origin_ns_;
  std::array<std::vector<uint32_t>, kStreams> entries_;  // of each stream, ascending; the same on every rank
  std::vector<uint32_t> position_;                       // of an entry among its stream's
  std::vector<bool> is_awaited_;                         // whether an entry is waited for by one of another stream
  std::vector<std::vector<void*>> pointers_;             // [rank][operand]; nullptr = absent, or on disk

  mutable std::mutex mutex_;                     // guards all below and the lanes' counters
  std::condition_variable met_, idle_;
  bool running_ = false, stopped_ = false, closing_ = false;
  uint32_t limit_ = 0;     // entries below it may start
  uint32_t started_ = 0;   // one above the highest entry started on any lane
  std::optional<Failure> failure_;
  int arrived_ = 0;        // ranks at the current meeting of a collective
  uint64_t meeting_ = 0;
  std::array<double, kStepParameters> step_{};
  std::function<void(const Outcome&)> finish_;
  uint64_t allocations_ = 0, allocations_at_start_ = 0;

  std::vector<Lane*> by_stream_;              // [rank][stream]; nullptr where the program does not use the stream
  std::vector<std::unique_ptr<Lane>> lanes_;
};

}  // namespace fpdt
