#include "pool.h"

#include <pthread.h>

#include <chrono>

namespace fpdt::cpu {
namespace {

// How long a thread looks out for what mostly comes within microseconds before it sleeps: most gaps between two jobs are
// shorter. To wake a sleeper costs 60 us on a virtual machine, a third of a product of a layer at 512 rows.
constexpr auto kLookOut = std::chrono::microseconds(100);

// Returns when `ready` holds or kLookOut is over. Any thread that has work may take the core meanwhile.
template <class Ready>
void look_out(Ready&& ready) {
  const auto until = std::chrono::steady_clock::now() + kLookOut;
  while (!ready() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
}

}  // namespace

Pool::Pool(int threads) : threads_(threads < 1 ? 1 : threads) {
  for (int t = 1; t < threads_; t++) {
    workers_.emplace_back([this, t] { serve(t); });
    pthread_setname_np(workers_.back().native_handle(), "fpdt-pool");
  }
}

Pool::~Pool() {
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wake_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void Pool::run(long items, Call call, void* body) {
  if (items <= 0) return;
  const bool shared = items > 1 && threads_ > 1;
  {
    std::lock_guard lock(mutex_);
    call_ = call, body_ = body, items_ = items;
    next_.store(0, std::memory_order_relaxed);
    failure_ = nullptr;
    busy_ = shared ? threads_ - 1 : 0;
    if (shared) generation_++;
  }
  if (shared) wake_.notify_all();
  work(0);
  look_out([this] { return busy_ == 0; });
  std::unique_lock lock(mutex_);
  done_.wait(lock, [this] { return busy_ == 0; });
  if (failure_) std::rethrow_exception(failure_);
}

void Pool::work(int thread) {
  try {
    for (long item; (item = next_.fetch_add(1, std::memory_order_relaxed)) < items_;) call_(body_, thread, item);
  } catch (...) {
    std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::current_exception();
    next_.store(items_, std::memory_order_relaxed);  // the rest is not begun
  }
}

void Pool::serve(int thread) {
  uint64_t seen = 0;
  for (;;) {
    look_out([&] { return generation_ != seen; });
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [&] { return closing_ || generation_ != seen; });
    if (closing_) return;
    seen = generation_;
    lock.unlock();
    work(thread);
    lock.lock();
    if (--busy_ == 0) done_.notify_one();
  }
}

Pool::Turn::Turn(Pool& pool) : pool_(pool) {
  std::unique_lock lock(pool.turn_mutex_);
  const uint64_t mine = pool.ticket_++;
  pool.turn_changed_.wait(lock, [&] { return pool.serving_ == mine; });
}

Pool::Turn::~Turn() {
  {
    std::lock_guard lock(pool_.turn_mutex_);
    pool_.serving_++;
  }
  pool_.turn_changed_.notify_all();
}

}  // namespace fpdt::cpu
