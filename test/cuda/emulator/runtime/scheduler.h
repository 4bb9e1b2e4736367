// Streams and events that lag: ops stand in queues until something needs them, and a seed says which of those that could run goes next.
//
// An op may run when it is first in its stream and the ops that it waits for are done. Which thread runs it: one that waits (or whose call the policy takes
// as a chance), with the lock released; one op at a time over all devices, host functions apart. So what can change places on a GPU does change places here,
// and nothing is computed twice at once.
//
// Time: an op begins when a GPU could have begun it (when it was issued, and all before it had ended) and takes as long as its emulation took. That is never
// later than the host's clock when the host learns that it is done, and ops of different streams overlap in it although they were computed one by one.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "config.h"
#include "touched.h"

namespace emulator::runtime {

using Lock = std::unique_lock<std::mutex>;
struct Stream;

struct Op {
  enum class Kind { work, host_function, marker };   // marker: an event's record, or a wait
  uint64_t number;             // in the order of issue over all streams
  Kind kind;
  Stream* stream;
  OpName name;
  std::vector<std::shared_ptr<Op>> after;   // beside the op before it in its stream
  std::function<Touched()> body;            // runs without the lock
  Clock clock;
  double issue_ns, end_ns = 0;              // CLOCK_MONOTONIC
  bool running = false, done = false;
  bool late = false;                        // planted: said to be done before its work is
};

struct Stream {
  int device;
  uint32_t ordinal;
  unsigned flags = 0;
  int priority = 0;
  bool live = true;
  std::deque<std::shared_ptr<Op>> queue;    // issued and not done
  std::shared_ptr<Op> last;                 // issued last
  Clock clock;                              // of the last op
  uint32_t issued = 0;
  double end_ns = 0;                        // of the last op that is done
};

struct Event {
  int device;
  unsigned flags;
  std::shared_ptr<Op> record;   // the most recent; nullptr: never recorded
};

double monotonic_ns();

class Scheduler {
 public:
  explicit Scheduler(std::mutex& mutex) : mutex_(mutex) {}   // that every call is made under
  // Called with what an op touched, when it has run (with the lock); and with what it threw.
  std::function<void(const Op&, const Touched&)> on_done;
  std::function<void(const Op&, const Fault&)> on_fault;
  // Whether the work of an op is to be left out (its device is lost).
  std::function<bool(const Op&)> is_void;

  void configure(uint64_t seed, Policy policy);
  Stream* make_stream(int device, unsigned flags, int priority);
  const std::vector<std::unique_ptr<Stream>>& streams() const { return streams_; }

  // Puts an op at the end of a stream. `label` is the op in words; reports add the stream.
  std::shared_ptr<Op> issue(Stream& stream, Op::Kind kind, const std::string& label, std::function<Touched()> body, std::vector<std::shared_ptr<Op>> after = {});
  // The policy's chance after a call.
  void advance(Lock& lock);
  void wait(Lock& lock, const std::vector<std::shared_ptr<Op>>& ops);
  void wait(Lock& lock, const std::shared_ptr<Op>& op) { wait(lock, std::vector{op}); }
  bool query(Lock& lock, const std::shared_ptr<Op>& op);   // done? May run something first
  // The last ops of all streams of a device, or of all devices (-1).
  std::vector<std::shared_ptr<Op>> tails(int device) const;
  void run_all(Lock& lock);   // whatever is queued; the host learns nothing of it
  void finish_late(Lock& lock);

 private:
  Clock host_knows() const;   // this thread of it
  bool ready(const Stream& stream) const;
  bool favoured(const Stream& stream) const;
  uint64_t rank(const Stream& stream) const;
  Stream* choose(const std::vector<Stream*>& list);
  void run(Lock& lock, Stream& stream);
  void run_late(Lock& lock, bool all);
  void finish(Lock& lock, const std::vector<std::shared_ptr<Op>>& ops);
  std::vector<Stream*> needed(const std::vector<std::shared_ptr<Op>>& ops) const;   // ready ones
  uint64_t draw(uint64_t below);
  void serve_host_functions();

  std::vector<std::unique_ptr<Stream>> streams_;
  std::condition_variable changed_;
  bool executing_ = false;
  uint64_t issued_ = 0;
  uint64_t seed_ = 0, random_ = 0, ran_ = 0;
  Policy policy_ = Policy::prompt;
  Clock host_;   // what any thread has waited for (host.h)
  std::set<std::string> labels_;
  struct Late {
    std::shared_ptr<Op> op;
    std::function<Touched()> body;
    int after;   // so many more ops
  };
  std::vector<Late> late_;
  bool serving_ = false;
  std::mutex& mutex_;
};

}  // namespace emulator::runtime
