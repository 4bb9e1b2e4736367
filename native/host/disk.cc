#include "disk.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include "../core/error.h"

namespace fpdt::host {
namespace {

std::string in_words(int error) { return std::generic_category().message(error) + " (errno " + std::to_string(error) + ")"; }

// No room: on the disk, in the user's quota, or under the process's limit on the size of a file.
bool is_full(int error) { return error == ENOSPC || error == EDQUOT || error == EFBIG; }

bool is_aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % kDiskBlock == 0; }

}  // namespace

std::string disk_folder(const std::string& named) {
  if (!named.empty()) return named;
  const char* temporary = std::getenv("TMPDIR");
  return temporary && *temporary ? temporary : "/tmp";
}

Descriptor::~Descriptor() {
  if (number_ >= 0) close(number_);
}

Bounce::Bounce() : data_(static_cast<std::byte*>(std::aligned_alloc(kDiskBlock, kBytes))) {
  if (!data_) throw std::bad_alloc();
}
void Bounce::Free::operator()(std::byte* data) const { std::free(data); }

DiskArena::DiskArena(const std::string& folder, size_t bytes, int rank, std::byte* memory) : folder_(folder), bytes_(bytes), rank_(rank) {
  std::string path = folder + "/fpdt-rank-" + std::to_string(rank) + "-XXXXXX";
  cached_ = Descriptor(mkostemp(path.data(), O_CLOEXEC));
  if (!cached_) {
    const std::string why = in_words(errno);
    throw Error("disk", "no file for the disk tier can be made in " + folder + ": " + why + "; name a folder that can be written to (diskFolder)");
  }
  direct_ = Descriptor(open(path.c_str(), O_RDWR | O_CLOEXEC | O_DIRECT));
  unlink(path.c_str());
  posix_fadvise(cached_.number(), 0, 0, POSIX_FADV_RANDOM);  // single partial blocks: reading ahead would only fill the cache
  reserve();

  struct statfs system;
  if (fstatfs(cached_.number(), &system) == 0 && system.f_type == TMPFS_MAGIC) {
    medium_ = Medium::memory;
    direct_ = Descriptor();
  } else if (const Bounce block; reads_directly(block.data())) {
    medium_ = Medium::disk;
    bounces_ = memory && !reads_directly(memory);
  } else {
    direct_ = Descriptor();
  }
}

void DiskArena::reserve() {
  // Asked first, since a reservation that fails may have taken all that was free from everybody else for a moment.
  struct statvfs space;
  const bool known = fstatvfs(cached_.number(), &space) == 0 && space.f_blocks > 0;
  const double free_bytes = known ? static_cast<double>(space.f_bavail) * static_cast<double>(space.f_frsize) : 0;
  int error = known && static_cast<double>(bytes_) > free_bytes ? ENOSPC : 0;
  if (!error) {
    do error = posix_fallocate(cached_.number(), 0, static_cast<off_t>(bytes_));
    while (error == EINTR);
  }
  if (!error) return;
  std::ostringstream text;
  text << "the disk arena of rank " << rank_ << " needs " << bytes_ << " bytes in " << folder_ << ", which ";
  if (known) text << "has " << static_cast<size_t>(free_bytes) << " free";
  else text << "does not say what is free";
  text << ": " << in_words(error) << "; free some space, name another folder (diskFolder), or plan for less on the disk tier";
  throw Error(is_full(error) ? "disk_full" : "disk", text.str());
}

// Some file systems open a file with O_DIRECT and refuse its use.
bool DiskArena::reads_directly(std::byte* memory) const {
  if (!direct_ || bytes_ < kDiskBlock) return false;
  return pread(direct_.number(), memory, kDiskBlock, 0) == static_cast<ssize_t>(kDiskBlock);
}

bool DiskArena::goes_directly(const void* memory) const { return !bounces_ && is_aligned(memory); }

void DiskArena::read(void* to, size_t at, size_t bytes) const { pull(cached_.number(), static_cast<std::byte*>(to), at, bytes); }
void DiskArena::write(const void* from, size_t at, size_t bytes) { push(cached_.number(), static_cast<const std::byte*>(from), at, bytes); }

void DiskArena::load(void* to, size_t at, size_t bytes, const Bounce& bounce) const {
  auto* const memory = static_cast<std::byte*>(to);
  split(
      at, bytes, [&](size_t skip, size_t n) { pull(cached_.number(), memory + skip, at + skip, n); },
      [&](size_t skip, size_t n) {
        if (goes_directly(memory + skip)) return pull(direct_.number(), memory + skip, at + skip, n);
        for (size_t done = 0; done < n; done += Bounce::kBytes) {
          const size_t piece = std::min(Bounce::kBytes, n - done);
          pull(direct_.number(), bounce.data(), at + skip + done, piece);
          std::memcpy(memory + skip + done, bounce.data(), piece);
        }
      });
}

void DiskArena::spill(const void* from, size_t at, size_t bytes, const Bounce& bounce) {
  const auto* const memory = static_cast<const std::byte*>(from);
  split(
      at, bytes, [&](size_t skip, size_t n) { push(cached_.number(), memory + skip, at + skip, n); },
      [&](size_t skip, size_t n) {
        if (goes_directly(memory + skip)) return push(direct_.number(), memory + skip, at + skip, n);
        for (size_t done = 0; done < n; done += Bounce::kBytes) {
          const size_t piece = std::min(Bounce::kBytes, n - done);
          std::memcpy(bounce.data(), memory + skip + done, piece);
          push(direct_.number(), bounce.data(), at + skip + done, piece);
        }
      });
}

// Bytes at .. at + bytes as a partial first block, whole blocks and a partial last block, each given as (bytes skipped, count).
template <class Cached, class Direct>
void DiskArena::split(size_t at, size_t bytes, Cached&& cached, Direct&& direct) const {
  const size_t first = (at + kDiskBlock - 1) / kDiskBlock * kDiskBlock, last = (at + bytes) / kDiskBlock * kDiskBlock;
  if (!direct_ || first >= last) {
    if (bytes) cached(0, bytes);
    return;
  }
  if (first > at) cached(0, first - at);
  direct(first - at, last - first);
  if (last < at + bytes) cached(last - at, at + bytes - last);
}

void DiskArena::pull(int file, std::byte* to, size_t at, size_t bytes) const {
  while (bytes) {
    const ssize_t n = pread(file, to, bytes, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail("reading", at, bytes, n < 0 ? errno : 0);
    to += n, at += n, bytes -= n;
  }
}

void DiskArena::push(int file, const std::byte* from, size_t at, size_t bytes) {
  while (bytes) {
    const ssize_t n = pwrite(file, from, bytes, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail("writing", at, bytes, n < 0 ? errno : 0);
    from += n, at += n, bytes -= n;
  }
}

void DiskArena::fail(const char* what, size_t at, size_t bytes, int error) const {
  std::ostringstream text;
  text << what << " bytes " << at << " .. " << at + bytes << " of rank " << rank_ << "'s disk arena in " << folder_ << " failed: ";
  if (error) text << in_words(error);
  else text << "the file ends before them";
  text << "; see whether the disk is sound and has room, or name another folder (diskFolder)";
  throw Error(is_full(error) ? "disk_full" : "disk", text.str());
}

}  // namespace fpdt::host
