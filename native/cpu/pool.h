// The compute pool: one set of threads for all ranks of a CPU device. Ranks take turns kernel by kernel
// (Pool::turn), so a compute span means the whole machine worked on that op.
//
// Work is cut into items whose bounds do not depend on the number of threads and which write disjoint memory; threads take
// items in any order. So the same input gives the same bits with any number of threads. Waiting threads
// sleep, but for a first moment.
#pragma once
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace fpdt::cpu {

class Pool {
 public:
  explicit Pool(int threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return threads_; }

  // Calls f(thread, item) for item in [0, items), thread in [0, threads()); returns when all are done. The caller is thread 0.
  // Rethrows the first exception of an item. Not reentrant: call it only while holding a turn.
  template <class F>
  void for_each(long items, F&& f) {
    using Body = std::remove_reference_t<F>;
    run(items, [](void* body, int thread, long item) { (*static_cast<Body*>(body))(thread, item); }, &f);
  }

  // First come, first served, so that ranks stay in step.
  class Turn {
   public:
    explicit Turn(Pool& pool);
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    Pool& pool_;
  };

 private:
  using Call = void (*)(void* body, int thread, long item);
  void run(long items, Call call, void* body);
  void work(int thread);
  void serve(int thread);

  const int threads_;
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::atomic<uint64_t> generation_ = 0;  // of the current job; workers wait for it to change
  std::atomic<int> busy_ = 0;             // workers still in the current job
  bool closing_ = false;
  Call call_ = nullptr;
  void* body_ = nullptr;
  long items_ = 0;
  std::atomic<long> next_{0};
  std::exception_ptr failure_;

  std::mutex turn_mutex_;
  std::condition_variable turn_changed_;
  uint64_t ticket_ = 0, serving_ = 0;
};

}  // namespace fpdt::cpu
