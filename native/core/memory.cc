#include "memory.h"

#include <algorithm>
#include <cmath>

#include "error.h"

namespace fpdt {
namespace {

constexpr size_t kBlock = 1 << 16;  // words compared or filled at once
constexpr size_t kPiece = 1 << 18;  // bytes scanned at once: they stay in the second cache

// splitmix64 of the word's place: neighbours share no pattern that data could share too.
uint64_t poison_word(uint64_t place) {
  uint64_t z = (place + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

void fill(std::vector<uint64_t>& words, size_t first) {
  for (size_t i = 0; i < words.size(); i++) words[i] = poison_word(first + i);
}

}  // namespace

const char* tier_name(Tier tier) {
  switch (tier) {
    case Tier::device: return "device";
    case Tier::host: return "host";
    case Tier::disk: return "disk";
  }
  return "unknown";
}

Memory::Memory(std::shared_ptr<Backend> backend, const Program& program, const Budgets& budgets) : backend_(std::move(backend)), ranks_(program.ranks) {
  std::ostringstream text;
  text.precision(17);
  for (int tier = 0; tier < kTiers; tier++) {
    const double bytes = program.arena_bytes[tier];
    if (budgets[tier] && bytes > *budgets[tier]) {
      text << "the plan needs " << bytes << " bytes of " << tier_name(Tier(tier)) << (Tier(tier) == Tier::disk ? " space" : " memory")
           << " per rank; the budget is " << *budgets[tier] << ": use a smaller chunk or a larger budget";
      throw Error("out_of_memory", text.str());
    }
    bytes_[tier] = static_cast<size_t>(bytes);
  }
  check_machine(backend_->info());
  for (int tier = 0; tier < kTiers; tier++)
    for (int rank = 0; bytes_[tier] && rank < ranks_; rank++) arenas_[tier].push_back(backend_->allocate(Tier(tier), bytes_[tier], rank));
}

// What can never fit is refused before anything is allocated; what other programs leave of the memory shows when it is.
void Memory::check_machine(const DeviceInfo& info) const {
  const auto check = [](double bytes, size_t there, int ranks, const std::string& tiers, const std::string& place) {
    if (bytes <= static_cast<double>(there)) return;
    std::ostringstream text;
    text.precision(17);
    text << "the " << tiers << "arenas of " << ranks << " ranks need " << bytes << " bytes; " << place << " has " << there
         << ": use a smaller chunk or fewer ranks";
    throw Error("out_of_memory", text.str());
  };
  const auto of = [this](Tier tier) { return static_cast<double>(bytes(tier)); };
  if (info.host_bytes == 0) return check((of(Tier::device) + of(Tier::host)) * ranks_, info.memory_bytes, ranks_, "", "this machine");
  const int sharing = (ranks_ + info.devices - 1) / info.devices;  // ranks on one device
  check(of(Tier::device) * sharing, info.memory_bytes, sharing, "device ", "the GPU");
  check(of(Tier::host) * ranks_, info.host_bytes, ranks_, "host ", "this machine");
}

size_t Memory::total_bytes() const {
  size_t total = 0;
  for (Tier tier : {Tier::device, Tier::host}) total += bytes(tier) * ranks_;
  return total;
}

Medium Memory::medium(Tier tier) { return bytes(tier) ? arena(tier, 0).medium() : Medium::memory; }

std::byte* Memory::data(Tier tier, int rank) { return bytes(tier) ? arena(tier, rank).data() : nullptr; }

Arena& Memory::arena(Tier tier, int rank) { return *arenas_[static_cast<int>(tier)][rank]; }

Arena& Memory::checked(Tier tier, int rank, double offset, double bytes) {
  const size_t size = this->bytes(tier);
  const double last = static_cast<double>(size) - bytes;  // the highest offset that leaves room
  if (rank < 0 || rank >= ranks_ || size == 0 || !(offset >= 0 && offset <= last) || offset != std::floor(offset) || bytes < 0) {
    std::ostringstream text;
    text.precision(17);
    text << "bytes " << offset << " .. " << offset + bytes << " of rank " << rank << " do not lie in the " << tier_name(tier) << " arenas, which have "
         << size << " bytes on each of " << ranks_ << " ranks";
    throw Error("range", text.str());
  }
  return arena(tier, rank);
}

void Memory::read(Tier tier, int rank, double offset, void* to, size_t bytes) {
  Arena& from = checked(tier, rank, offset, static_cast<double>(bytes));
  backend_->read(to, from, static_cast<size_t>(offset), bytes);
}

void Memory::write(Tier tier, int rank, double offset, const void* from, size_t bytes) {
  Arena& to = checked(tier, rank, offset, static_cast<double>(bytes));
  backend_->write(to, static_cast<size_t>(offset), from, bytes);
}

int64_t Memory::first_not_finite(Tier tier, int rank, double offset, double bytes, Real dtype) {
  const Arena& from = checked(tier, rank, offset, bytes);
  const size_t element = real_bytes(dtype);
  if (std::fmod(bytes, static_cast<double>(element)) != 0) {
    std::ostringstream text;
    text << bytes << " bytes are no whole number of elements of " << element << " bytes";
    throw Error("range", text.str());
  }
  const auto begin = static_cast<size_t>(offset), end = begin + static_cast<size_t>(bytes);
  std::vector<std::byte> piece(std::min(end - begin, kPiece));
  for (size_t at = begin; at < end; at += piece.size()) {
    const size_t n = std::min(piece.size(), end - at);
    backend_->read(piece.data(), from, at, n);
    const int64_t found = fpdt::first_not_finite(std::span(piece).first(n), dtype);
    if (found >= 0) return static_cast<int64_t>((at - begin) / element) + found;
  }
  return -1;
}

void Memory::poison(Tier tier) {
  const size_t bytes = this->bytes(tier);
  std::vector<uint64_t> words(kBlock);
  for (auto& arena : arenas_[static_cast<int>(tier)]) {
    for (size_t offset = 0; offset < bytes; offset += kBlock * 8) {
      fill(words, offset / 8);
      backend_->write(*arena, offset, words.data(), std::min(bytes - offset, kBlock * 8));
    }
  }
  poisoned_[static_cast<int>(tier)] = true;
}

size_t Memory::touched(Tier tier, int rank) {
  const size_t bytes = this->bytes(tier);
  if (bytes == 0 && rank >= 0 && rank < ranks_) return 0;
  Arena& arena = checked(tier, rank, 0, static_cast<double>(bytes));
  if (!poisoned_[static_cast<int>(tier)]) throw Error("range", std::string("the ") + tier_name(tier) + " arenas were never poisoned: call poison before the run");
  std::vector<uint64_t> wanted(kBlock), found(kBlock);
  for (size_t end = bytes; end > 0;) {
    const size_t begin = (end - 1) / (kBlock * 8) * (kBlock * 8);
    fill(wanted, begin / 8);
    found = wanted;  // so that the bytes past the arena's end compare equal
    backend_->read(found.data(), arena, begin, end - begin);
    const auto differs = std::mismatch(found.rbegin(), found.rend(), wanted.rbegin());
    if (differs.first != found.rend()) return std::min(bytes, begin + 8 * static_cast<size_t>(found.rend() - differs.first));
    end = begin;
  }
  return 0;
}

}  // namespace fpdt
