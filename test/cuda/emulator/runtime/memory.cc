#include "memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace emulator::runtime {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kAlignment = 256;                       // of device memory: what CUDA promises and no more
constexpr uint64_t kReserved = uint64_t{256} << 30;        // addresses of a device
constexpr uint64_t kTemplate = uint64_t{4} << 20;

uint64_t round_up(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }

// A file of 0xff, mapped privately as often as it takes: fresh memory is NaN and costs nothing before it is written.
int template_file() {
  static const int file = [] {
    const int created = memfd_create("emulator", MFD_CLOEXEC);
    if (created < 0 || ftruncate(created, kTemplate) != 0) throw std::runtime_error("emulator: memfd_create failed");
    void* bytes = mmap(nullptr, kTemplate, PROT_READ | PROT_WRITE, MAP_SHARED, created, 0);
    if (bytes == MAP_FAILED) throw std::runtime_error("emulator: mapping the template of fresh memory failed");
    std::memset(bytes, 0xff, kTemplate);
    munmap(bytes, kTemplate);
    return created;
  }();
  return file;
}

// `bytes` (whole pages) of 0xff and an untouchable page behind; nullptr where the system gives none.
std::byte* map_fresh(uint64_t bytes) {
  void* range = mmap(nullptr, bytes + kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) return nullptr;
  auto* begin = static_cast<std::byte*>(range);
  for (uint64_t at = 0; at < bytes; at += kTemplate) {
    const uint64_t part = std::min(kTemplate, bytes - at);
    if (mmap(begin + at, part, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, template_file(), 0) == MAP_FAILED) {
      munmap(range, bytes + kPage);
      return nullptr;
    }
  }
  return begin;
}

}  // namespace

void fill(std::byte* backing, int value, uint64_t bytes) {
  constexpr uint64_t kLarge = uint64_t{1} << 20;
  const auto address = reinterpret_cast<uint64_t>(backing);
  const uint64_t begin = round_up(address, kPage), end = (address + bytes) / kPage * kPage;
  constexpr int kFlags = MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE;
  if (value == 0 && bytes >= kLarge && mmap(reinterpret_cast<void*>(begin), end - begin, PROT_READ | PROT_WRITE, kFlags, -1, 0) != MAP_FAILED) {
    std::memset(backing, 0, begin - address);
    std::memset(reinterpret_cast<void*>(end), 0, address + bytes - end);
    return;
  }
  std::memset(backing, value, bytes);
}

const Region* View::find(uint64_t address) const {
  auto after = std::upper_bound(regions.begin(), regions.end(), address, [](uint64_t value, const Region& region) { return value < region.address; });
  if (after == regions.begin()) return nullptr;
  const Region& region = *std::prev(after);
  return address - region.address < region.bytes ? &region : nullptr;
}

void Memory::set_devices(const std::vector<DeviceConfig>& devices) {
  const bool same = devices.size() == devices_.size();
  if (!same) {
    for (const Device& device : devices_) {
      if (device.used) throw std::runtime_error("emulator: the number of devices cannot change while device memory is in use");
    }
    for (const Device& device : devices_) munmap(reinterpret_cast<void*>(device.begin), kReserved);
    devices_.assign(devices.size(), {});
    peers_.clear();
    for (Device& device : devices_) {
      void* range = mmap(nullptr, kReserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (range == MAP_FAILED) throw std::runtime_error("emulator: no range of addresses for a device's memory");
      device.begin = device.next = reinterpret_cast<uint64_t>(range);
      device.end = device.begin + kReserved;
    }
  }
  for (size_t i = 0; i < devices.size(); ++i) devices_[i].total = devices[i].memory;
}

void Memory::forget_views() {
  for (Device& device : devices_) device.view = nullptr;
}

const Allocation* Memory::allocate_device(int number, uint64_t bytes, bool tracked) {
  Device& device = devices_[static_cast<size_t>(number)];
  const uint64_t taken = round_up(bytes, kAlignment);
  if (taken < bytes || taken > device.total - std::min(device.total, device.used)) return nullptr;
  const uint64_t pages = round_up(taken, kPage);
  if (device.end - device.next < pages + kPage) {   // round again: find room between what is still in use
    device.next = device.begin;
    for (const auto& [address, allocation] : allocations_) {
      if (address < device.begin || address >= device.end) continue;
      if (address / kPage * kPage - device.next >= pages + kPage) break;
      device.next = round_up(allocation.end(), kPage) + kPage;
    }
    if (device.end - device.next < pages + kPage) return nullptr;
  }
  std::byte* backing = map_fresh(pages);
  if (!backing) return nullptr;
  const uint64_t address = device.next + pages - taken;
  device.next += pages + kPage;
  device.used += taken;
  device.peak = std::max(device.peak, device.used);
  forget_views();
  auto written = tracked ? std::make_shared<WrittenBytes>(bytes) : nullptr;
  return &(allocations_[address] = {{address, bytes, backing + (pages - taken), true}, Place::device, number, backing, pages, std::move(written)});
}

const Allocation* Memory::allocate_pinned(int device, uint64_t bytes) {
  const uint64_t pages = round_up(bytes, kPage);
  std::byte* mapping = pages < bytes ? nullptr : map_fresh(pages);
  if (!mapping) return nullptr;
  std::byte* begin = mapping + (pages - round_up(bytes, kAlignment));
  const auto address = reinterpret_cast<uint64_t>(begin);
  pinned_ += bytes;
  pinned_peak_ = std::max(pinned_peak_, pinned_);
  forget_views();
  return &(allocations_[address] = {{address, bytes, begin, true}, Place::pinned, device, mapping, pages, nullptr});
}

const Allocation* Memory::register_host(int device, void* begin, uint64_t bytes) {
  const auto address = reinterpret_cast<uint64_t>(begin);
  pinned_ += bytes;
  pinned_peak_ = std::max(pinned_peak_, pinned_);
  forget_views();
  return &(allocations_[address] = {{address, bytes, static_cast<std::byte*>(begin), true}, Place::registered, device, nullptr, 0, nullptr});
}

void Memory::release(uint64_t address) {
  const auto at = allocations_.find(address);
  const Allocation& allocation = at->second;
  if (allocation.place == Place::device) devices_[static_cast<size_t>(allocation.device)].used -= round_up(allocation.region.bytes, kAlignment);
  else pinned_ -= allocation.region.bytes;
  if (allocation.mapping) munmap(allocation.mapping, allocation.mapped_bytes + kPage);
  allocations_.erase(at);
  forget_views();
}

const Allocation* Memory::find(uint64_t address) const {
  auto after = allocations_.upper_bound(address);
  if (after == allocations_.begin()) return nullptr;
  const Allocation& allocation = std::prev(after)->second;
  return address - allocation.region.address < allocation.region.bytes ? &allocation : nullptr;
}

const Allocation* Memory::overlapping(uint64_t begin, uint64_t end) const {
  if (const Allocation* holds = find(begin)) return holds;
  const auto next = allocations_.lower_bound(begin);
  return next != allocations_.end() && next->first < end ? &next->second : nullptr;
}

std::vector<const Allocation*> Memory::all() const {
  std::vector<const Allocation*> list;
  for (const auto& [address, allocation] : allocations_) list.push_back(&allocation);
  return list;
}

void Memory::untrack() {
  for (auto& [address, allocation] : allocations_) allocation.written = nullptr;
}

void Memory::set_peer(int device, int peer, bool enabled) {
  if (enabled) peers_.insert({device, peer});
  else peers_.erase({device, peer});
  forget_views();
}

std::shared_ptr<const View> Memory::view(int number) {
  auto& current = devices_[static_cast<size_t>(number)].view;
  if (!current) {
    auto fresh = std::make_shared<View>();
    for (const auto& [address, allocation] : allocations_) {
      if (allocation.place != Place::device || allocation.device == number || peer(number, allocation.device)) fresh->regions.push_back(allocation.region);
    }
    current = fresh;
  }
  return current;
}

void Memory::reset_peaks() {
  for (Device& device : devices_) device.peak = device.used;
  pinned_peak_ = pinned_;
}

}  // namespace emulator::runtime
