// Device and pinned memory.
//
// A device address lies in a range that is reserved for its device and mapped to nothing, so that a host that follows a device pointer dies of it; the bytes
// are elsewhere (Region::backing). Addresses are given out once and not again while the range lasts: what uses memory after it was freed is found out.
// Memory ends where a page ends, with a page of nothing behind it, and begins as bytes of 0xff: NaN in every floating-point format.
// Pinned memory has one address for the host and all devices, as with unified addressing.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "../checks/initialised.h"
#include "../machine/machine.h"
#include "config.h"

namespace emulator::runtime {

enum class Place { device, pinned, registered };

struct Allocation {
  Region region;
  Place place;
  int device;            // that it was allocated on
  std::byte* mapping;    // of the backing
  uint64_t mapped_bytes;
  std::shared_ptr<WrittenBytes> written;   // nullptr: not followed from the beginning
  uint64_t end() const { return region.address + region.bytes; }
};

// memset, by fresh pages where it is a large one of 0: an arena that is cleared as a whole costs nothing before it is used.
void fill(std::byte* backing, int value, uint64_t bytes);

// What one device sees, as it is at some time: launches keep theirs.
class View final : public AddressSpace {
 public:
  const Region* find(uint64_t address) const override;
  std::vector<Region> regions;   // by address
};

class Memory {
 public:
  void set_devices(const std::vector<DeviceConfig>& devices);   // throws std::runtime_error where memory of the former is in use

  // nullptr where the device has not so many bytes left, or the host has not.
  const Allocation* allocate_device(int device, uint64_t bytes, bool tracked);
  const Allocation* allocate_pinned(int device, uint64_t bytes);
  const Allocation* register_host(int device, void* address, uint64_t bytes);   // that overlap no other
  void release(uint64_t address);
  // The allocation that holds this byte.
  const Allocation* find(uint64_t address) const;
  const Allocation* overlapping(uint64_t begin, uint64_t end) const;
  std::vector<const Allocation*> all() const;
  void untrack();   // from here on writes are not followed

  void set_peer(int device, int peer, bool enabled);
  bool peer(int device, int peer) const { return peers_.count({device, peer}) > 0; }
  std::shared_ptr<const View> view(int device);

  uint64_t total(int device) const { return devices_[static_cast<size_t>(device)].total; }
  uint64_t used(int device) const { return devices_[static_cast<size_t>(device)].used; }
  uint64_t peak(int device) const { return devices_[static_cast<size_t>(device)].peak; }
  uint64_t pinned() const { return pinned_; }
  uint64_t pinned_peak() const { return pinned_peak_; }
  void reset_peaks();
  bool empty() const { return allocations_.empty(); }

 private:
  struct Device {
    uint64_t total = 0, used = 0, peak = 0;
    uint64_t begin = 0, next = 0, end = 0;   // of its addresses
    std::shared_ptr<const View> view;        // nullptr: to be made anew
  };
  void forget_views();

  std::vector<Device> devices_;
  std::map<uint64_t, Allocation> allocations_;   // by first address
  std::set<std::pair<int, int>> peers_;          // (device, peer whose memory it may use)
  uint64_t pinned_ = 0, pinned_peak_ = 0;
};

}  // namespace emulator::runtime
