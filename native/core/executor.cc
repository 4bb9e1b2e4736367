#include "executor.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "error.h"
#include "order_annotations.h"

namespace fpdt {

namespace {

constexpr std::chrono::milliseconds kLook{2};  // between two looks at what is under way: 16 lanes take 1 % of a core
constexpr double kMostAheadNs = 50e6;          // of work under way: a cancel waits for it, and a device needs far less to stay busy

}  // namespace

struct Executor::Lane {
  Lane(int rank, const std::vector<uint32_t>& entries, std::unique_ptr<Stream> stream, size_t ahead, int ranks)
      : rank(rank), entries(entries), stream(std::move(stream)), times(2 * entries.size()), peers(ranks) {
    for (size_t i = 0; i < ahead; i++) {
      begins.push_back(this->stream->make_event(EventUse::time));
      ends.push_back(this->stream->make_event(EventUse::time));
      dones.push_back(this->stream->make_event(EventUse::order));
    }
    arrived = this->stream->make_event(EventUse::order);
    exchanged = this->stream->make_event(EventUse::order);
    drained = this->stream->make_event(EventUse::order);
  }
  bool ended() const { return issued == entries.size(); }
  size_t under_way() const { return issued - done; }
  // How long an entry took when it last ran; 0 before that.
  double took_ns(size_t position) const { return times[2 * position + 1] - times[2 * position]; }

  const int rank;
  const std::vector<uint32_t>& entries;
  const std::unique_ptr<Stream> stream;
  // Rings: the events of position i are at i % ahead. They are used again once that entry is done, never before. `ends` tell the host, `dones` other
  // streams: recorded after the end, so that nothing that waited begins before it, and only for entries that one of them waits for.
  std::vector<std::unique_ptr<Event>> begins, ends, dones;
  std::unique_ptr<Event> arrived, exchanged;     // of the current collective
  std::unique_ptr<Event> drained;                // after a failure: all that was put on the stream
  std::vector<double> times;                     // start and end of every position
  std::vector<void* const*> peers;               // operands of every rank, for the current collective
  // Positions among `entries`: taken <= done <= issued.
  size_t issued = 0, done = 0, taken = 0;
  double ahead_ns = 0;                           // what is under way took when it last ran
  bool active = false;                           // outside the lock, with the stream
  std::condition_variable woken;                 // there is something to start, or an end to it all
  std::thread thread;
};

Executor::Executor(std::shared_ptr<Backend> backend, Program program, const Budgets& budgets)
    : backend_(std::move(backend)),
      program_((validate(program), std::move(program))),
      memory_(backend_, program_, budgets),
      ahead_(std::max(1, backend_->issue_ahead())),
      origin_ns_(backend_->now_ns()),
      position_(program_.length),
      is_awaited_(program_.length),
      pointers_(program_.ranks),
      by_stream_(program_.ranks * kStreams) {
  for (uint32_t entry = 0; entry < program_.length; entry++) {
    std::vector<uint32_t>& stream = entries_[program_.stream[entry]];
    position_[entry] = static_cast<uint32_t>(stream.size());
    stream.push_back(entry);
    for (uint32_t wait : program_.waits(entry)) is_awaited_[wait] = true;
  }
  for (int rank = 0; rank < program_.ranks; rank++) {
    for (size_t i = 0; i < program_.operand_tier.size(); i++) {
      const uint8_t tier = program_.operand_tier[i];
      std::byte* base = tier == kNoTier ? nullptr : memory_.data(Tier(tier), rank);
      pointers_[rank].push_back(base ? base + static_cast<size_t>(program_.operand_offset[i]) : nullptr);
    }
    for (int stream = 0; stream < kStreams; stream++) {
      if (entries_[stream].empty()) continue;
      lanes_.push_back(std::make_unique<Lane>(rank, entries_[stream], backend_->make_stream(StreamKind(stream), rank), ahead_, program_.ranks));
      by_stream_[rank * kStreams + stream] = lanes_.back().get();
    }
  }
  try {
    for (auto& lane : lanes_) {
      lane->thread = std::thread([this, lane = lane.get()] { serve(*lane); });
      pthread_setname_np(lane->thread.native_handle(), "fpdt-lane");
    }
  } catch (const std::system_error& error) {
    close();
    throw Error("native", "a thread for each of " + std::to_string(lanes_.size()) + " streams could not be started: " + error.what());
  }
}

Executor::~Executor() { close(); }

void Executor::close() {
  cancel();
  wait();
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
    for (auto& lane : lanes_) lane->woken.notify_one();
  }
  for (auto& lane : lanes_)
    if (lane->thread.joinable()) lane->thread.join();
}

void Executor::run(int64_t until, std::span<const double> step, std::function<void(const Outcome&)> finish) {
  if (step.size() != kStepParameters) throw Error("shape", "the step's parameter block has " + std::to_string(step.size()) + " numbers; it needs 4");
  std::unique_lock lock(mutex_);
  check_idle("run");
  if (failure_) throw Error("failed", "the last run failed (" + failure_->message + "): call reset before the next one");
  knows_all_done();
  std::copy(step.begin(), step.end(), step_.begin());
  finish_ = std::move(finish);
  limit_ = static_cast<uint32_t>(std::clamp<int64_t>(until + 1, 0, program_.length));
  running_ = true, stopped_ = false;
  tells_run_begins();
  allocations_at_start_ = backend_->allocations();
  for (auto& lane : lanes_) lane->woken.notify_one();
  finish_if_done(lock);  // there may be nothing left to run
}

void Executor::cancel() {
  std::unique_lock lock(mutex_);
  if (!running_ || started_ >= limit_) return;
  limit_ = started_, stopped_ = true;
  for (auto& lane : lanes_) lane->woken.notify_one();
  finish_if_done(lock);
}

void Executor::reset() {
  std::lock_guard lock(mutex_);
  check_idle("reset");
  knows_all_done();
  for (auto& lane : lanes_) lane->issued = lane->done = lane->taken = 0;
  started_ = 0, arrived_ = 0;
  failure_.reset();
}

void Executor::wait() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return !running_; });
  knows_all_done();
}

std::vector<Span> Executor::take_spans() {
  std::lock_guard lock(mutex_);
  std::vector<Span> spans;
  for (auto& lane : lanes_) {
    for (; lane->taken < lane->done; lane->taken++) {
      const double* times = &lane->times[2 * lane->taken];
      spans.push_back({lane->rank, lane->entries[lane->taken], times[0], times[1]});
    }
  }
  return spans;
}

Memory& Executor::memory() {
  std::lock_guard lock(mutex_);
  check_idle("touch the arenas");
  knows_all_done();
  return memory_;
}

uint64_t Executor::allocations_during_runs() const {
  std::lock_guard lock(mutex_);
  return allocations_ + (running_ ? backend_->allocations() - allocations_at_start_ : 0);
}

// To issue comes before to collect: a device that is to be busy must have its next entry before the last one is done. So a lane blocks on
// its device only when it may issue no more, and otherwise looks now and then whether something has ended, for whoever watches the spans.
void Executor::serve(Lane& lane) {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (has_room(lane) && may_start(lane)) {
      start(lane, lock);
    } else if (!has_room(lane) || (lane.under_way() && is_through(lane))) {
      retire(lane, lock);
    } else if (lane.under_way()) {
      const Event& oldest = *lane.ends[lane.done % ahead_];
      lock.unlock();
      const bool done = lane.stream->is_done(oldest);
      lock.lock();
      if (done) retire(lane, lock);
      else lane.woken.wait_for(lock, kLook, [&] { return may_start(lane) || is_through(lane); });
    } else if (closing_) {
      return;
    } else {
      lane.woken.wait(lock);
    }
  }
}

// Waits of one entry concern one rank. Only lanes that can go on are woken: to wake all of the rank after every op takes a
// fiftieth of the cores from the kernels, and delays the next op by 15 us.
void Executor::wake_startable(int rank) {
  for (int stream = 0; stream < kStreams; stream++)
    if (Lane* lane = lane_of(rank, stream); lane && may_start(*lane)) lane->woken.notify_one();
}

// Two are always let under way, so that the device has the next one when it ends the first.
bool Executor::has_room(const Lane& lane) const { return lane.under_way() < std::min<size_t>(ahead_, 2) || (lane.under_way() < ahead_ && lane.ahead_ns < kMostAheadNs); }

// Nothing more of this lane will start in this run.
bool Executor::is_through(const Lane& lane) const { return !running_ || failure_ || lane.ended() || lane.entries[lane.issued] >= limit_; }

bool Executor::may_start(const Lane& lane) const {
  if (is_through(lane)) return false;
  const uint32_t entry = lane.entries[lane.issued];
  return std::ranges::all_of(program_.waits(entry), [&](uint32_t wait) { return lane_of(lane.rank, program_.stream[wait])->issued > position_[wait]; });
}

void Executor::start(Lane& lane, std::unique_lock<std::mutex>& lock) {
  const size_t position = lane.issued;
  const uint32_t entry = lane.entries[position];
  started_ = std::max(started_, entry + 1);
  lane.active = true;
  bool issued = false;
  std::exception_ptr error;
  begins_entry();
  try {
    for (uint32_t wait : program_.waits(entry)) {
      const Lane& other = *lane_of(lane.rank, program_.stream[wait]);
      // Under the lock: once the entry is done, its event is used again for a later one, which must not be waited for.
      if (other.done <= position_[wait]) lane.stream->wait(*other.dones[position_[wait] % ahead_]);
      else knows_done(other, position_[wait]);
    }
    lock.unlock();
    issued = issue(lane, entry, position);
  } catch (...) {
    error = std::current_exception();
  }
  if (!lock.owns_lock()) lock.lock();
  if (error) fail(lane, entry, error);
  if (issued) {
    lane.issued++;
    lane.ahead_ns += lane.took_ns(position);
    wake_startable(lane.rank);
  } else {
    drain(lane, lock);
  }
  lane.active = false;
  finish_if_done(lock);
}

// The oldest entry under way is done: its times are known and its events are free again.
void Executor::retire(Lane& lane, std::unique_lock<std::mutex>& lock) {
  const size_t position = lane.done;
  const Event& begin = *lane.begins[position % ahead_];
  const Event& end = *lane.ends[position % ahead_];
  const double ahead_ns = lane.ahead_ns - lane.took_ns(position);
  lane.active = true;
  lock.unlock();
  begins_retiring();
  std::exception_ptr error;
  try {
    lane.stream->synchronize(end);
    // Entries of a stream do not overlap, but a device's clock is only so exact.
    double* const times = &lane.times[2 * position];
    times[0] = std::max(begin.time_ns() - origin_ns_, position ? times[-1] : 0);
    times[1] = std::max(end.time_ns() - origin_ns_, times[0]);
  } catch (...) {
    error = std::current_exception();
  }
  lock.lock();
  if (error) {
    fail(lane, lane.entries[position], error);
    drain(lane, lock);
    lane.issued = lane.done;  // what was issued behind it is lost with it
    lane.ahead_ns = 0;
  } else {
    lane.done++;
    tells_done(lane, position);
    lane.ahead_ns = lane.under_way() ? ahead_ns : 0;
  }
  lane.active = false;
  finish_if_done(lock);
}

// After a failure: what was put on the stream and is not counted as issued, or never will be as done, must not go on in memory that the end of the run
// gives back to its owner.
void Executor::drain(Lane& lane, std::unique_lock<std::mutex>& lock) {
  lock.unlock();
  try {
    lane.stream->record(*lane.drained);
    lane.stream->synchronize(*lane.drained);
  } catch (...) {  // the first failure is the cause, and has been told
  }
  lock.lock();
  tells_drained();
}

// Puts an entry on the lane's stream. False when another rank's failure ended a collective.
bool Executor::issue(Lane& lane, uint32_t entry, size_t position) {
  Event& begin = *lane.begins[position % ahead_];
  Event& end = *lane.ends[position % ahead_];
  const uint16_t code = program_.code[entry];
  const std::span<void* const> operands = pointers(lane.rank, entry);
  if (is_collective(code)) {
    if (!exchange(lane, entry, begin)) return false;
  } else if (code >= opcode::offload) {
    const uint32_t from = program_.operand_start[entry], to = from + 1;
    const auto bytes = static_cast<size_t>(program_.operand_bytes[from]);
    lane.stream->begin(begin);
    switch (code) {
      case opcode::spill: lane.stream->spill(memory_.arena(Tier::disk, lane.rank), static_cast<size_t>(program_.operand_offset[to]), operands[0], bytes); break;
      case opcode::load: lane.stream->load(operands[1], memory_.arena(Tier::disk, lane.rank), static_cast<size_t>(program_.operand_offset[from]), bytes); break;
      default: lane.stream->copy(operands[1], operands[0], bytes);
    }
  } else {
    const size_t workspace = operands.size() - 1;
    const bool has_workspace = operands[workspace] != nullptr;
    lane.stream->begin(begin);
    lane.stream->run({
        .kernel = Kernel(code),
        .operands = operands.first(workspace),
        .parameters = program_.numbers(entry),
        .workspace = operands[workspace],
        .workspace_bytes = has_workspace ? static_cast<size_t>(program_.operand_bytes[program_.operand_start[entry] + workspace]) : 0,
        .step = step_,
        .rank = lane.rank,
    });
  }
  lane.stream->record(end);
  if (is_awaited_[entry]) lane.stream->record(*lane.dones[position % ahead_]);
  return true;
}

// Entry: nobody reads a peer before that peer has reached the entry. Exit: nobody goes on, and overwrites or frees what a
// peer still reads, before all have exchanged. Events order the streams, meetings order the hosts that record them.
bool Executor::exchange(Lane& lane, uint32_t entry, Event& begin) {
  const uint8_t stream = program_.stream[entry];
  const auto wait_for_peers = [&](std::unique_ptr<Event> Lane::* event) {
    for (int peer = 0; peer < program_.ranks; peer++)
      if (peer != lane.rank) lane.stream->wait(*(lane_of(peer, stream)->*event));
  };
  for (int peer = 0; peer < program_.ranks; peer++) lane.peers[peer] = pointers(peer, entry).data();
  const Exchange what{program_.code[entry], lane.rank, program_.ranks, lane.peers, program_.numbers(entry)};

  lane.stream->record(*lane.arrived);
  if (!meet()) return false;
  wait_for_peers(&Lane::arrived);
  lane.stream->begin(begin);
  lane.stream->exchange(what, 0);
  lane.stream->record(*lane.exchanged);
  if (!meet()) return false;
  wait_for_peers(&Lane::exchanged);
  if (what.code == opcode::allReduce) lane.stream->exchange(what, 1);
  return true;
}

// All ranks meet here. False when the run failed: then nobody waits for a rank that stopped. One meeting at a time is
// enough, since collectives lie on one stream per rank, in one order.
bool Executor::meet() {
  std::unique_lock lock(mutex_);
  const uint64_t meeting = meeting_;
  if (++arrived_ == program_.ranks) {
    arrived_ = 0;
    meeting_++;
    met_.notify_all();
  }
  met_.wait(lock, [&] { return meeting_ != meeting || failure_; });
  return !failure_;
}

void Executor::fail(const Lane& lane, uint32_t entry, std::exception_ptr error) {
  if (failure_) return;  // the first one is the cause
  failure_ = Failure{"native", "unknown exception", lane.rank, entry};
  std::string among;
  try {
    std::rethrow_exception(error);
  } catch (const Error& caught) {
    failure_->code = caught.code(), failure_->message = caught.what();
    if (failure_->code == "device_lost") among = blame(*failure_);
  } catch (const std::exception& caught) {
    failure_->message = caught.what();
  } catch (...) {
  }
  failure_->message = entry_name(program_, failure_->entry) + " on rank " + std::to_string(failure_->rank) + among + ": " + failure_->message;
  for (auto& each : lanes_) each->woken.notify_one();
  met_.notify_all();
}

// A lost device answers every call with the same error, whichever op it was that failed: who hears of it first says nothing. Named is the oldest
// compute entry under way, which is the first that may have failed; those issued after it are as suspect, which the words returned say.
std::string Executor::blame(Failure& failure) const {
  bool found = false;
  for (const auto& lane : lanes_) {
    if (program_.stream[lane->entries.front()] != static_cast<uint8_t>(StreamKind::compute) || !lane->under_way()) continue;
    const uint32_t oldest = lane->entries[lane->done];
    if (!found || oldest < failure.entry) failure.rank = lane->rank, failure.entry = oldest;
    found = true;
  }
  return started_ > failure.entry + 1 ? ", or one that was issued after it up to " + entry_name(program_, started_ - 1) : "";
}

// Every lane is at rest below the limit, or the run failed and every lane is at rest.
void Executor::finish_if_done(std::unique_lock<std::mutex>& lock) {
  const auto at_rest = [this](const std::unique_ptr<Lane>& lane) {
    return !lane->active && lane->done == lane->issued && (failure_ || lane->ended() || lane->entries[lane->issued] >= limit_);
  };
  if (!running_ || !std::ranges::all_of(lanes_, at_rest)) return;
  allocations_ += backend_->allocations() - allocations_at_start_;
  const Outcome outcome{reached(), stopped_, failure_};
  const auto finish = std::move(finish_);
  running_ = false;
  idle_.notify_all();
  lock.unlock();
  finish(outcome);
  lock.lock();
}

int64_t Executor::reached() const {
  int64_t first = program_.length;  // that is not done on some lane
  for (const auto& lane : lanes_)
    if (lane->done < lane->entries.size()) first = std::min<int64_t>(first, lane->entries[lane->done]);
  return first - 1;
}

void Executor::check_idle(const char* what) const {
  if (running_) throw Error("busy", std::string("cannot ") + what + " while the program runs: await the run, or cancel it and await it");
}

// What a thread builds on, for a checker of order (order_annotations.h). Places: a run's beginning is told at `running_`, an entry's end at its times, and
// the end of whatever was under way also at the executor itself: who finds it idle knows all of that.
void Executor::tells_run_begins() const { annotate_happens_before(&running_); }
// Each entry builds on what the run began with and on what it waits for, and on nothing else.
void Executor::begins_entry() const {
  annotate_forget();
  annotate_happens_after(&running_);
}
void Executor::knows_done(const Lane& lane, size_t position) const { annotate_happens_after(&lane.times[2 * position]); }
// What is known of an entry that is done is what its own stream says, not what the lane issued last.
void Executor::begins_retiring() const { annotate_forget(); }
void Executor::tells_done(const Lane& lane, size_t position) const {
  annotate_happens_before(&lane.times[2 * position]);
  annotate_happens_before(this);
}
void Executor::tells_drained() const { annotate_happens_before(this); }
void Executor::knows_all_done() const { annotate_happens_after(this); }

std::span<void* const> Executor::pointers(int rank, uint32_t entry) const {
  return std::span<void* const>(pointers_[rank]).subspan(program_.operand_start[entry], program_.operands(entry));
}

}  // namespace fpdt
