#include "scheduler.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <thread>

#include "host.h"

namespace emulator::runtime {
namespace {

constexpr size_t kQueueLimit = 1024;   // of ops in one stream: then a launch waits for the oldest, as with a GPU

uint64_t mix(uint64_t value) {   // splitmix64
  value += 0x9e3779b97f4a7c15;
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
  value = (value ^ value >> 27) * 0x94d049bb133111eb;
  return value ^ value >> 31;
}

}  // namespace

double monotonic_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

void Scheduler::configure(uint64_t seed, Policy policy) {
  seed_ = random_ = seed;
  ran_ = 0;
  policy_ = policy;
}

uint64_t Scheduler::draw(uint64_t below) {
  random_ = mix(random_ + 1);
  return random_ % below;
}

Stream* Scheduler::make_stream(int device, unsigned flags, int priority) {
  // Clocks have a number for each stream, and a long life of a process makes many streams. So one that was destroyed is taken again, if this thread knows all
  // its work to be done: then what the new one does comes after it anyway, and nothing else does.
  const Clock known = host_knows();
  const auto is_known = [&](const Stream& stream) { return stream.issued == 0 || (stream.ordinal < known.size() && known[stream.ordinal] >= stream.issued); };
  auto at = std::find_if(streams_.begin(), streams_.end(), [&](const auto& stream) { return !stream->live && stream->queue.empty() && is_known(*stream); });
  if (at == streams_.end()) {
    at = streams_.insert(at, std::make_unique<Stream>());
    (*at)->ordinal = static_cast<uint32_t>(streams_.size() - 1);
  }
  Stream& stream = **at;
  stream.device = device;
  stream.flags = flags;
  stream.priority = priority;
  stream.live = true;
  stream.last = nullptr;
  stream.clock = known;
  stream.end_ns = monotonic_ns();
  return &stream;
}

Clock Scheduler::host_knows() const {
  Clock clock = host_clock();
  if (!host_tells_order()) join(clock, host_);
  return clock;
}

std::shared_ptr<Op> Scheduler::issue(Stream& stream, Op::Kind kind, const std::string& label, std::function<Touched()> body, std::vector<std::shared_ptr<Op>> after) {
  auto op = std::make_shared<Op>();
  op->number = ++issued_;
  op->kind = kind;
  op->stream = &stream;
  op->body = std::move(body);
  op->issue_ns = monotonic_ns();
  join(stream.clock, host_clock());
  if (!host_tells_order()) join(stream.clock, host_);
  for (const auto& earlier : after) join(stream.clock, earlier->clock);
  if (stream.clock.size() <= stream.ordinal) stream.clock.resize(stream.ordinal + 1);
  stream.clock[stream.ordinal] = ++stream.issued;
  op->clock = stream.clock;
  op->name = {stream.ordinal, stream.issued, &*labels_.insert(label + " on stream " + std::to_string(stream.ordinal) + " of device " + std::to_string(stream.device)).first};
  op->after = std::move(after);
  stream.queue.push_back(op);
  stream.last = op;
  if (kind == Op::Kind::host_function) serve_host_functions();
  changed_.notify_all();
  return op;
}

bool Scheduler::ready(const Stream& stream) const {
  if (stream.queue.empty()) return false;
  const Op& op = *stream.queue.front();
  if (op.running || (executing_ && op.kind == Op::Kind::work)) return false;
  return std::all_of(op.after.begin(), op.after.end(), [](const auto& earlier) { return earlier->done; });
}

// Drawn from the seed, and anew now and then. One stream that gets far ahead of another, or behind it, shows most of what a missing wait can do; choices
// that are each drawn for themselves rarely let it come so far.
uint64_t Scheduler::rank(const Stream& stream) const {
  constexpr uint64_t kRanked = 64;   // ops
  return mix((seed_ * 1000003 + ran_ / kRanked) * 1000003 + stream.ordinal);
}
bool Scheduler::favoured(const Stream& stream) const { return mix(seed_ * 1000003 + stream.ordinal) % 2 == 0; }

Stream* Scheduler::choose(const std::vector<Stream*>& list) {
  if (policy_ == Policy::random) return list[draw(list.size())];
  return *std::min_element(list.begin(), list.end(), [&](const Stream* a, const Stream* b) {
    return policy_ == Policy::prompt ? a->queue.front()->number < b->queue.front()->number : rank(*a) < rank(*b);
  });
}

// Runs the first op of a stream that is ready.
void Scheduler::run(Lock& lock, Stream& stream) {
  const std::shared_ptr<Op> op = stream.queue.front();
  ++ran_;
  double begin_ns = std::max(op->issue_ns, stream.end_ns);
  for (const auto& earlier : op->after) begin_ns = std::max(begin_ns, earlier->end_ns);
  double took_ns = 0;
  if (op->kind != Op::Kind::marker && !is_void(*op)) {
    if (op->late) {
      late_.push_back({op, std::move(op->body), 3});
    } else {
      op->running = true;
      if (op->kind == Op::Kind::work) executing_ = true;
      Touched touched;
      std::unique_ptr<Fault> fault;
      lock.unlock();
      const double start_ns = monotonic_ns();
      try {
        touched = op->body();
      } catch (const Fault& thrown) {
        fault = std::make_unique<Fault>(thrown);
      } catch (const std::exception& thrown) {
        fault = std::make_unique<Fault>("launch", thrown.what());
      }
      took_ns = monotonic_ns() - start_ns;
      lock.lock();
      if (fault) on_fault(*op, *fault);
      else on_done(*op, touched);
      if (op->kind == Op::Kind::work) executing_ = false;
      op->running = false;
    }
  }
  op->end_ns = stream.end_ns = begin_ns + took_ns;
  op->done = true;
  op->body = nullptr;
  op->after.clear();
  stream.queue.pop_front();
  if (op->kind == Op::Kind::work && !op->late) run_late(lock, false);
  changed_.notify_all();
}

// The work of ops that were said to be done before (planted faults).
void Scheduler::run_late(Lock& lock, bool all) {
  for (size_t i = 0; i < late_.size();) {
    if (!all && late_[i].after-- > 0) {
      ++i;
      continue;
    }
    const Late late = std::move(late_[i]);
    late_.erase(late_.begin() + static_cast<ptrdiff_t>(i));
    executing_ = true;
    lock.unlock();
    late.body();
    lock.lock();
    executing_ = false;
    changed_.notify_all();
  }
}

void Scheduler::run_all(Lock& lock) { finish(lock, tails(-1)); }

void Scheduler::finish_late(Lock& lock) { run_late(lock, true); }

std::vector<Stream*> Scheduler::needed(const std::vector<std::shared_ptr<Op>>& ops) const {
  // need[s]: the highest number of an op of stream s that some wanted op comes after.
  std::vector<uint64_t> need(streams_.size(), 0), seen(streams_.size(), 0);
  std::vector<uint32_t> open;
  const auto want = [&](const Op& op) {
    if (op.done || need[op.stream->ordinal] >= op.number) return;
    need[op.stream->ordinal] = op.number;
    open.push_back(op.stream->ordinal);
  };
  for (const auto& op : ops) want(*op);
  while (!open.empty()) {
    const uint32_t ordinal = open.back();
    open.pop_back();
    for (const auto& op : streams_[ordinal]->queue) {
      if (op->number > need[ordinal]) break;
      if (op->number <= seen[ordinal]) continue;
      for (const auto& earlier : op->after) want(*earlier);
    }
    seen[ordinal] = need[ordinal];
  }
  std::vector<Stream*> list;
  for (const auto& stream : streams_) {
    if (need[stream->ordinal] && ready(*stream)) list.push_back(stream.get());
  }
  return list;
}

void Scheduler::advance(Lock& lock) {
  for (size_t i = 0; i < streams_.size(); ++i) {
    if (streams_[i]->queue.size() > kQueueLimit) finish(lock, {streams_[i]->queue.front()});
  }
  if (policy_ == Policy::lazy) return;
  for (;;) {
    if (policy_ == Policy::random && draw(3) == 0) return;
    std::vector<Stream*> list;
    for (const auto& stream : streams_) {
      if (ready(*stream) && (policy_ != Policy::eager || favoured(*stream))) list.push_back(stream.get());
    }
    if (list.empty()) return;
    run(lock, *choose(list));
  }
}

void Scheduler::wait(Lock& lock, const std::vector<std::shared_ptr<Op>>& ops) {
  finish(lock, ops);
  for (const auto& op : ops) {
    join(host_clock(), op->clock);
    join(host_, op->clock);
  }
}

void Scheduler::finish(Lock& lock, const std::vector<std::shared_ptr<Op>>& ops) {
  const auto all_done = [&] { return std::all_of(ops.begin(), ops.end(), [](const auto& op) { return op->done; }); };
  while (!all_done()) {
    std::vector<Stream*> list;
    if (policy_ == Policy::random) {
      for (const auto& stream : streams_) {
        if (ready(*stream)) list.push_back(stream.get());
      }
    } else {
      list = needed(ops);
    }
    if (list.empty()) {
      changed_.wait(lock);
      continue;
    }
    run(lock, *choose(list));
  }
}

bool Scheduler::query(Lock& lock, const std::shared_ptr<Op>& op) {
  // Somebody who asks again and again must see it done some time.
  if (!op->done && (policy_ == Policy::prompt || draw(2) == 0)) {
    if (auto list = needed({op}); !list.empty()) run(lock, *choose(list));
  }
  return op->done;   // orders nothing: who builds on it waits, too
}

std::vector<std::shared_ptr<Op>> Scheduler::tails(int device) const {
  std::vector<std::shared_ptr<Op>> list;
  for (const auto& stream : streams_) {
    if (stream->last && (device < 0 || stream->device == device)) list.push_back(stream->last);
  }
  return list;
}

// A host function is seen by the host without any call that waits for it, so a thread of its own needs it, after a while.
void Scheduler::serve_host_functions() {
  if (serving_) return;
  serving_ = true;
  std::thread([this] {
    Lock lock(mutex_);
    for (;;) {
      std::shared_ptr<Op> oldest;
      for (const auto& stream : streams_) {
        for (const auto& op : stream->queue) {
          if (op->kind == Op::Kind::host_function && (!oldest || op->number < oldest->number)) oldest = op;
        }
      }
      if (!oldest) {
        changed_.wait(lock);
        continue;
      }
      lock.unlock();
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      lock.lock();
      finish(lock, {oldest});
    }
  }).detach();
}

}  // namespace emulator::runtime
