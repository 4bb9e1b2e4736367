#include "host.h"

#include <pthread.h>

#include <atomic>
#include <condition_variable>

namespace emulator::runtime {
namespace {

std::atomic<bool> seen = false;

// What is known at mutexes, by address. A mutex that is gone leaves it to the next one in its place: that orders too much, never too little.
struct Known {
  std::mutex mutex;
  std::unordered_map<const void*, Clock> of;
};
Known& known() {
  static Known& all = *new Known;   // threads may outlive what is destroyed at the end of the process
  return all;
}

void locked(const void* mutex) {
  seen.store(true, std::memory_order_relaxed);
  Known& all = known();
  const std::lock_guard lock(all.mutex);
  if (const auto at = all.of.find(mutex); at != all.of.end()) join(host_clock(), at->second);
}
void unlocking(const void* mutex) {
  if (host_clock().empty()) return;
  Known& all = known();
  const std::lock_guard lock(all.mutex);
  join(all.of[mutex], host_clock());
}

}  // namespace

Clock& host_clock() {
  static thread_local Clock clock;
  return clock;
}
bool sees_host_mutexes() { return seen.load(std::memory_order_relaxed); }

}  // namespace emulator::runtime

using emulator::runtime::locked;
using emulator::runtime::unlocking;

extern "C" {

int __wrap_pthread_mutex_lock(pthread_mutex_t* mutex) {
  const int error = pthread_mutex_lock(mutex);
  if (!error) locked(mutex);
  return error;
}
int __wrap_pthread_mutex_trylock(pthread_mutex_t* mutex) {
  const int error = pthread_mutex_trylock(mutex);
  if (!error) locked(mutex);
  return error;
}
int __wrap_pthread_mutex_unlock(pthread_mutex_t* mutex) {
  unlocking(mutex);
  return pthread_mutex_unlock(mutex);
}
int __wrap_pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex) {
  unlocking(mutex);
  const int error = pthread_cond_wait(condition, mutex);
  locked(mutex);
  return error;
}
int __wrap_pthread_cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* mutex, const timespec* until) {
  unlocking(mutex);
  const int error = pthread_cond_timedwait(condition, mutex, until);
  locked(mutex);
  return error;
}
int __wrap_pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock, const timespec* until) {
  unlocking(mutex);
  const int error = pthread_cond_clockwait(condition, mutex, clock, until);
  locked(mutex);
  return error;
}
// void std::condition_variable::wait(std::unique_lock<std::mutex>&), which the C++ library has inside.
void __wrap__ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE(std::condition_variable* condition, std::unique_lock<std::mutex>* lock) {
  unlocking(lock->mutex()->native_handle());
  condition->wait(*lock);
  locked(lock->mutex()->native_handle());
}

}  // extern "C"
