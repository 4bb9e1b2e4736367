// A launch: blocks begin in the order of their numbers or one drawn from the seed, as many are resident as the options say, and take turns that the seed draws: one
// host thread runs them all, so every run of a seed is the same. A block that spins for another one finds it running or done, provided that it waits only for
// blocks that began earlier (as a GPU demands too).
#include <algorithm>
#include <atomic>
#include <memory>
#include <numeric>
#include <vector>

#include "../ptx/syntax.h"
#include "lanes.h"
#include "schedule.h"

namespace emulator {
namespace {

constexpr uint32_t kMostThreads = 1024;
std::atomic<uint64_t> launches{0};

uint32_t value_of(Special s, const RunningBlock& b, const Warp& w, int lane) {
  const auto& c = *b.config;
  const uint32_t thread = w.number * kLanes + static_cast<uint32_t>(lane);
  switch (s) {
    case Special::tid_x: return thread % c.block.x;
    case Special::tid_y: return thread / c.block.x % c.block.y;
    case Special::tid_z: return thread / c.block.x / c.block.y;
    case Special::ntid_x: return c.block.x;
    case Special::ntid_y: return c.block.y;
    case Special::ntid_z: return c.block.z;
    case Special::ctaid_x: return b.id[0];
    case Special::ctaid_y: return b.id[1];
    case Special::ctaid_z: return b.id[2];
    case Special::nctaid_x: return c.grid.x;
    case Special::nctaid_y: return c.grid.y;
    case Special::nctaid_z: return c.grid.z;
    case Special::laneid: return static_cast<uint32_t>(lane);
    case Special::warpid: return w.number;
    case Special::nwarpid: return static_cast<uint32_t>(b.warps.size());
    case Special::smid: return 0;
    case Special::nsmid: return 1;
    case Special::gridid: return 0;
    case Special::lanemask_eq: return 1u << lane;
    case Special::lanemask_lt: return (1u << lane) - 1;
    case Special::lanemask_le: return (2u << lane) - 1;
    case Special::lanemask_gt: return ~((2u << lane) - 1);
    case Special::lanemask_ge: return ~((1u << lane) - 1);
    case Special::dynamic_smem_size: return c.dynamic_shared_bytes;
    case Special::total_smem_size: return b.shared_bytes;
  }
  return 0;
}

void check(const Kernel& kernel, const LaunchConfig& config, std::span<const std::byte> parameters) {
  const auto fail = [&](const std::string& why) { throw Fault("launch", "kernel " + kernel.shape.name + ": " + why); };
  const auto text = [](const Dim3& d) { return "(" + std::to_string(d.x) + "," + std::to_string(d.y) + "," + std::to_string(d.z) + ")"; };
  if (config.grid.count() == 0 || config.block.count() == 0) fail("a grid of " + text(config.grid) + " blocks of " + text(config.block) + " threads");
  if (config.block.count() > std::min(kMostThreads, kernel.shape.most_threads)) {
    fail("blocks of " + std::to_string(config.block.count()) + " threads, more than " + std::to_string(std::min(kMostThreads, kernel.shape.most_threads)));
  }
  if (config.grid.x > 0x7fffffff || config.grid.y > 65535 || config.grid.z > 65535) fail("a grid of " + text(config.grid) + " blocks is too large");
  if (parameters.size() < kernel.shape.parameter_bytes) fail(std::to_string(parameters.size()) + " bytes of parameters instead of " + std::to_string(kernel.shape.parameter_bytes));
}

// Where blocks run, one after another: registers, shared and local memory.
class BlockSlot {
 public:
  BlockSlot(const Kernel& kernel, const LaunchConfig& config, std::span<const std::byte> parameters, const AddressSpace& memory, const Options& options) : kernel_(kernel) {
    block_.kernel = &kernel, block_.config = &config, block_.parameters = parameters.data(), block_.parameter_bytes = kernel.shape.parameter_bytes;
    block_.memory = &memory, block_.options = &options;
    block_.threads = static_cast<uint32_t>(config.block.count());
    block_.shared_bytes = config.dynamic_shared_bytes > 0 ? kernel.dynamic_offset + config.dynamic_shared_bytes : kernel.shape.static_shared_bytes;
    const uint32_t warps = (block_.threads + kLanes - 1) / kLanes;
    const auto aligned = [](std::vector<std::byte>& store, size_t bytes) {
      store.resize(bytes + 256);
      return reinterpret_cast<std::byte*>((reinterpret_cast<uintptr_t>(store.data()) + 255) / 256 * 256);
    };
    registers_ = aligned(register_store_, size_t{warps} * kernel.register_bytes);
    local_ = aligned(local_store_, size_t{warps} * kLanes * kernel.local_bytes);
    block_.shared = aligned(shared_store_, block_.shared_bytes);
    block_.warps.resize(warps);
    if (options.observe) observer_ = options.observe();
    block_.observer = observer_.get();
  }

  void begin(uint64_t number, uint64_t seed) {
    const auto& c = *block_.config;
    block_.number = number;
    block_.id[0] = static_cast<uint32_t>(number % c.grid.x);
    block_.id[1] = static_cast<uint32_t>(number / c.grid.x % c.grid.y);
    block_.id[2] = static_cast<uint32_t>(number / c.grid.x / c.grid.y);
    block_.random = Random(seed + number * 0x100000001b3u);
    block_.instructions = 0;
    block_.barriers = {};
    const uint32_t warps = static_cast<uint32_t>(block_.warps.size());
    // What nobody has written is a NaN in float, half and bfloat.
    std::memset(registers_, 0xff, size_t{warps} * kernel_.register_bytes);
    std::memset(local_, 0xff, size_t{warps} * kLanes * kernel_.local_bytes);
    std::memset(block_.shared, 0xff, block_.shared_bytes);
    for (uint32_t n = 0; n < warps; n++) {
      Warp& w = block_.warps[n];
      const uint32_t threads = std::min<uint32_t>(kLanes, block_.threads - n * kLanes);
      w.bases[0] = registers_ + size_t{n} * kernel_.register_bytes, w.bases[1] = kernel_.constant_base;
      w.block = &block_, w.number = n, w.local = local_ + size_t{n} * kLanes * kernel_.local_bytes;
      w.exists = w.live = threads == kLanes ? ~Mask{0} : (Mask{1} << threads) - 1;
      w.region[0] = w.region[1] = nullptr, w.pc = 0, w.patience = w.spins = 0, w.parked = false;
      w.groups.clear(), w.groups.push_back({0, w.live, Group::ready});
      w.copies.clear(), w.copy_group.fill(0);
      for (const auto& [special, offset] : kernel_.presets) {
        auto* slot = result<uint32_t>(w, offset);
        for (int l = 0; l < kLanes; l++) slot[l] = value_of(special, block_, w, l);
      }
    }
    if (observer_) observer_->begin_block(kernel_.shape, number, block_.threads, block_.shared_bytes);
    steps_.begin(block_);
  }
  // False when the block is done.
  bool step() {
    if (steps_.step()) return true;
    if (observer_) observer_->end_block();
    return false;
  }

 private:
  const Kernel& kernel_;
  RunningBlock block_;
  BlockSteps steps_;
  std::vector<std::byte> register_store_, local_store_, shared_store_;
  std::byte* registers_ = nullptr;
  std::byte* local_ = nullptr;
  std::unique_ptr<Observer> observer_;
};

// A permutation of [0, n) without a table: a Feistel network on the next power of four, walked until it lands inside.
uint64_t permuted(uint64_t x, uint64_t n, uint64_t seed) {
  const int half = (std::bit_width(n - 1) + 1) / 2;
  const uint64_t mask = (uint64_t{1} << half) - 1;
  do {
    uint64_t left = x >> half, right = x & mask;
    for (uint64_t round = 0; round < 4; round++) {
      const uint64_t next = left ^ (Random(seed ^ (right * 4 + round) * 0x9e3779b97f4a7c15u).next() & mask);
      left = right, right = next;
    }
    x = left << half | right;
  } while (x >= n);
  return x;
}

}  // namespace

void fault(const Warp& w, const Instruction& i, int lane, const char* kind, const std::string& why) {
  const auto& b = *w.block;
  const auto three = [](uint32_t x, uint32_t y, uint32_t z) { return "(" + std::to_string(x) + "," + std::to_string(y) + "," + std::to_string(z) + ")"; };
  const auto thread = three(value_of(Special::tid_x, b, w, lane), value_of(Special::tid_y, b, w, lane), value_of(Special::tid_z, b, w, lane));
  throw Fault(kind, "kernel " + b.kernel->shape.name + ", block " + three(b.id[0], b.id[1], b.id[2]) + ", thread " + thread + ", PTX line " + std::to_string(i.line) + ": " +
                        line_of(*b.kernel->text, i.line) + ": " + why);
}

void launch(const Module&, const Kernel& kernel, const LaunchConfig& config, std::span<const std::byte> parameters, const AddressSpace& memory, const Options& options) {
  check(kernel, config, parameters);
  const uint64_t blocks = config.grid.count();
  const uint64_t seed = options.seed == 0 ? 0 : Random(options.seed + launches++ * 0x9e3779b9).next() | 1;
  const uint64_t resident = std::min<uint64_t>(static_cast<uint64_t>(std::max(options.resident_blocks, 1)), blocks);
  std::vector<std::unique_ptr<BlockSlot>> slots;
  uint64_t begun = 0;
  const auto begin_next = [&](BlockSlot& slot) {
    slot.begin(seed == 0 || blocks == 1 ? begun : permuted(begun, blocks, seed), seed);
    begun++;
  };
  while (slots.size() < resident) {
    slots.push_back(std::make_unique<BlockSlot>(kernel, config, parameters, memory, options));
    begin_next(*slots.back());
  }
  Random random(seed);
  for (size_t at = 0; !slots.empty(); at++) {
    if (seed != 0) at = random.below(slots.size());
    at %= slots.size();
    // A few steps or many, so that a block may get far ahead of the others.
    uint64_t steps = seed == 0 ? 1 : uint64_t{1} + random.below(uint64_t{1} << random.below(10));
    bool goes_on = true;
    while (goes_on && steps-- > 0) goes_on = slots[at]->step();
    if (goes_on) continue;
    if (begun < blocks) begin_next(*slots[at]);
    else slots.erase(slots.begin() + static_cast<std::ptrdiff_t>(at));
  }
}

}  // namespace emulator
