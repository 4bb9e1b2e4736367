// Host memory that GPUs reach by themselves: page-locked, at the same address for the host and every device.
#pragma once
#include <cstddef>

namespace fpdt::cuda {

// A block of zeros. Its pages are taken from the system when it is made, in large pages where there are some, by several threads: to clear hundreds of
// GiB takes one alone long. Each takes the next piece, so that on a machine with several NUMA nodes the pieces lie on those whose cores took part, or as the process's
// own memory policy (numactl) says. Ordinary memory to the system, which is then registered with CUDA: files can be read into it past the page cache.
class PinnedBlock {
 public:
  // Throws Error "out_of_memory" in words. A device must be current.
  explicit PinnedBlock(size_t bytes);
  ~PinnedBlock();
  PinnedBlock(const PinnedBlock&) = delete;
  PinnedBlock& operator=(const PinnedBlock&) = delete;

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  const size_t bytes_;
  size_t mapped_bytes_;
  void* mapping_;
  std::byte* data_;   // within the mapping, where a large page may begin
};

}  // namespace fpdt::cuda
