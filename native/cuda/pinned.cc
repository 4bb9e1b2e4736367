#include "pinned.h"

#include <cuda_runtime_api.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "../core/error.h"
#include "../host/machine.h"
#include "status.h"

namespace fpdt::cuda {
namespace {

constexpr size_t kLargePage = size_t{2} << 20;
constexpr size_t kPiece = size_t{64} << 20;   // that a thread commits at a time
constexpr size_t kMostThreads = 16;

[[noreturn]] void refuse(size_t bytes, const std::string& why) {
  throw Error("out_of_memory", "a pinned arena of " + std::to_string(bytes) + " bytes of the host's memory could not be had: " + why +
                                   "; use a smaller chunk or a budget for the disk tier, or end other programs");
}

// Why a driver that says no more than that may not have pinned so much.
std::string unpinned(size_t bytes) {
  rlimit locked{};
  if (getrlimit(RLIMIT_MEMLOCK, &locked) != 0 || locked.rlim_cur == RLIM_INFINITY || locked.rlim_cur >= bytes) return "the driver could not pin it";
  return "the driver could not pin it; this process may lock " + std::to_string(locked.rlim_cur) + " bytes (ulimit -l), which some systems hold against pinned memory";
}

// Takes the pages of a range from the system; 0, or errno.
int commit(std::byte* begin, size_t bytes) {
#ifdef MADV_POPULATE_WRITE
  for (;;) {
    if (madvise(begin, bytes, MADV_POPULATE_WRITE) == 0) return 0;
    if (errno == EINVAL) break;  // a system before Linux 5.14
    if (errno != EINTR && errno != EAGAIN) return errno;
  }
#endif
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  for (size_t at = 0; at < bytes; at += page) *reinterpret_cast<volatile std::byte*>(begin + at) = std::byte{0};
  return 0;
}

int commit_by_threads(std::byte* begin, size_t bytes) {
  const size_t pieces = (bytes + kPiece - 1) / kPiece;
  std::atomic<size_t> next{0};
  std::atomic<int> error{0};
  const auto work = [&] {
    for (size_t piece; !error && (piece = next++) < pieces;) {
      const size_t at = piece * kPiece;
      if (const int failed = commit(begin + at, std::min(kPiece, bytes - at))) error = failed;
    }
  };
  const size_t threads = std::min({pieces, static_cast<size_t>(host::usable_threads()), kMostThreads});
  std::vector<std::thread> others;
  others.reserve(threads);  // or a vector that cannot grow would be destroyed with threads that run
  try {
    while (others.size() + 1 < threads) others.emplace_back(work);
  } catch (const std::system_error&) {  // with those there are
  }
  work();
  for (std::thread& other : others) other.join();
  return error;
}

}  // namespace

PinnedBlock::PinnedBlock(size_t bytes) : bytes_(bytes), mapped_bytes_(bytes + kLargePage) {
  // Asked first: a system that has promised more than it has ends programs when pages are taken, rather than say no.
  if (const size_t free = host::free_memory(); free < bytes) refuse(bytes, "the machine has " + std::to_string(free) + " bytes free");
  mapping_ = mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping_ == MAP_FAILED) refuse(bytes, std::generic_category().message(errno));
  data_ = reinterpret_cast<std::byte*>((reinterpret_cast<uintptr_t>(mapping_) + kLargePage - 1) / kLargePage * kLargePage);
  try {
    madvise(data_, bytes, MADV_HUGEPAGE);             // advice alone: a system without large pages gives small ones
    madvise(mapping_, mapped_bytes_, MADV_DONTFORK);  // or the first write after a fork would move pages away from under the GPU
    if (const int error = commit_by_threads(data_, bytes)) refuse(bytes, std::generic_category().message(error));
    // One call: a copy over the border of two registered ranges is refused.
    const cudaError_t status = cudaHostRegister(data_, bytes, cudaHostRegisterPortable | cudaHostRegisterMapped);
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      refuse(bytes, unpinned(bytes));
    }
    check(status, "cudaHostRegister");
  } catch (...) {
    munmap(mapping_, mapped_bytes_);
    throw;
  }
}

PinnedBlock::~PinnedBlock() {
  if (cudaHostUnregister(data_) == cudaSuccess) {
    munmap(mapping_, mapped_bytes_);
  } else {
    cudaGetLastError();  // the device is lost: its memory stays mapped, since a GPU may still write there
  }
}

}  // namespace fpdt::cuda
