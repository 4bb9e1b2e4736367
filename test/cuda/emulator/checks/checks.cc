#include "checks.h"

#include "banks.h"
#include "block_race.h"
#include "race.h"
#include "sectors.h"

namespace emulator {
namespace {

// Tells several observers.
class Several : public Observer {
 public:
  explicit Several(std::vector<std::unique_ptr<Observer>> parts) : parts_(std::move(parts)) {}
  void begin_block(const KernelShape& kernel, uint64_t block, uint32_t threads, uint32_t shared_bytes) override {
    for (const auto& part : parts_) part->begin_block(kernel, block, threads, shared_bytes);
  }
  void access(const Access& access) override {
    for (const auto& part : parts_) part->access(access);
  }
  void barrier(std::span<const uint32_t> threads) override {
    for (const auto& part : parts_) part->barrier(threads);
  }
  void warp_barrier(uint32_t warp, Mask lanes) override {
    for (const auto& part : parts_) part->warp_barrier(warp, lanes);
  }
  void fence(uint32_t warp, Mask lanes) override {
    for (const auto& part : parts_) part->fence(warp, lanes);
  }
  void end_block() override {
    for (const auto& part : parts_) part->end_block();
  }

 private:
  std::vector<std::unique_ptr<Observer>> parts_;
};

}  // namespace

std::function<std::unique_ptr<Observer>()> Checks::launch() {
  if (!options_.races && !options_.initialised && !options_.banks && !options_.sectors) return {};
  auto races = options_.races ? std::make_shared<LaunchRaces>() : nullptr;
  return [this, races] {
    std::vector<std::unique_ptr<Observer>> parts;
    if (options_.initialised) parts.push_back(std::make_unique<Initialised>(options_.written));
    if (races) {
      parts.push_back(std::make_unique<ThreadRaces>());
      parts.push_back(std::make_unique<BlockRaces>(races));
    }
    if (options_.banks) parts.push_back(std::make_unique<Banks>(banks_));
    if (options_.sectors) parts.push_back(std::make_unique<Sectors>(sectors_));
    return std::make_unique<Several>(std::move(parts));
  };
}

}  // namespace emulator
