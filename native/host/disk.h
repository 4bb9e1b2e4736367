// The disk tier of both backends: one file per rank, past the page cache where the file system allows it, so that what is spilt
// neither takes the host memory that the spill was to free, nor pretends to be as fast as memory.
//
// Whole blocks that begin at a multiple of kDiskBlock go past the cache. The plan aligns every residency to it, so at most
// the last, partial block of a value goes through it. The two ways do not meet: who moves a whole block owns all bytes of
// it, and entries that use the same bytes are ordered (core/order.h).
#pragma once
#include <memory>
#include <string>
#include <utility>

#include "../core/backend.h"

namespace fpdt::host {

inline constexpr size_t kDiskBlock = 4096;  // the twin of ALIGNMENT.disk in kernel/src/plan/arena.ts

std::string disk_folder(const std::string& named);  // that, or $TMPDIR, or /tmp

// A file descriptor, closed by its destructor; -1 = none.
class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  int number() const { return number_; }
  explicit operator bool() const { return number_ >= 0; }

 private:
  int number_;
};

// Block-aligned memory through which a transfer goes that begins or ends in memory which is not; one for each disk stream.
class Bounce {
 public:
  static constexpr size_t kBytes = 1 << 20;  // stays in the second cache: 2.0 GB/s written, where 4 MiB gave 1.5 and none at all 3.6
  Bounce();
  std::byte* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(std::byte* data) const;
  };
  std::unique_ptr<std::byte, Free> data_;
};

// An unlinked temporary file of exactly `bytes`, all of it reserved: a full disk shows here and not in the middle of a step,
// and a process that is killed leaves nothing behind. Several threads may transfer at once.
class DiskArena final : public Arena {
 public:
  // `memory`: a block of what transfers will be from and to, zeros, which it keeps; nullptr where that is the program's own. A disk may read into the one and
  // not into the other. Throws Error "disk_full" when the folder cannot give that many bytes, "disk" when it cannot be used.
  DiskArena(const std::string& folder, size_t bytes, int rank, std::byte* memory = nullptr);

  std::byte* data() override { return nullptr; }
  size_t bytes() const override { return bytes_; }
  Medium medium() const override { return medium_; }

  // Through the page cache. All transfers throw Error "disk", or "disk_full" where the disk has no room after all.
  void read(void* to, size_t at, size_t bytes) const;
  void write(const void* from, size_t at, size_t bytes);
  // Past it, but for partial blocks.
  void load(void* to, size_t at, size_t bytes, const Bounce& bounce) const;
  void spill(const void* from, size_t at, size_t bytes, const Bounce& bounce);

 private:
  void reserve();
  bool reads_directly(std::byte* memory) const;
  bool goes_directly(const void* memory) const;
  template <class Cached, class Direct>
  void split(size_t at, size_t bytes, Cached&& cached, Direct&& direct) const;
  void pull(int file, std::byte* to, size_t at, size_t bytes) const;
  void push(int file, const std::byte* from, size_t at, size_t bytes);
  [[noreturn]] void fail(const char* what, size_t at, size_t bytes, int error) const;

  const std::string folder_;
  const size_t bytes_;
  const int rank_;
  Descriptor cached_, direct_;  // two ways into the same file; no direct one where the file system has none
  bool bounces_ = false;        // the direct way takes the program's own memory and no other
  Medium medium_ = Medium::cached_disk;
};

}  // namespace fpdt::host
