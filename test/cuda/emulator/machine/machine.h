// A GPU on the CPU: runs the kernels of a PTX module, warp by warp. What the parts of the emulator know of each other.
//
//   ptx/       text of a module  ->  Module (kernels, instructions with resolved operands)
//   machine/   Module + memory + a launch  ->  what a GPU would have computed
//   checks/    what the machine tells of every access  ->  races, bank conflicts, sectors, bytes that nobody wrote
//   runtime/   libcudart's functions: devices, memory, streams and events that lag, launches
//   cublaslt/  the cuBLASLt calls that the backend makes
//
// A *warp instruction* is done for all active lanes at once: lane l of a register is element l of an array, so one decoded
// instruction is one short loop that the compiler vectorises. Lanes of a warp have program counters of their own; those that stand at the
// same place go together (see machine/schedule.cc), as on sm_70 and later.
//
// Exactness: + - * fma and conversions are those of IEEE 754 (as PTX demands); approximations (ex2, lg2, rcp, rsqrt, sin, cos, tanh) are correctly
// rounded results of double precision, hence better than a GPU's; tensor cores multiply exactly and add in double, rounded once an instruction.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace emulator {

inline constexpr int kLanes = 32;
using Mask = uint32_t;  // bit l: lane l

struct Dim3 {
  uint32_t x = 1, y = 1, z = 1;
  uint64_t count() const { return uint64_t{x} * y * z; }
};

// What a GPU would call an error: `kind` is one of "illegal address", "misaligned address", "shared memory", "race", "uninitialised",
// "deadlock", "divergence", "trap", "assert", "unknown instruction", "launch". The message says kernel, block, thread, PTX line and why.
struct Fault : std::runtime_error {
  Fault(std::string kind, const std::string& message) : std::runtime_error(message), kind(std::move(kind)) {}
  std::string kind;
};

// ---------------------------------------------------------------------------------------------------------------- memory
// A stretch of addresses that device code may use. `address` is what programs see; `backing` is where the bytes are for the emulator. Device memory
// has another address than backing, whose pages the host cannot touch: a host that reads device memory dies of it, as it would with a GPU.
struct Region {
  uint64_t address = 0;
  uint64_t bytes = 0;
  std::byte* backing = nullptr;
  bool writable = true;
};
// Implemented by runtime/memory; safe to ask from several threads while no region is added or removed.
class AddressSpace {
 public:
  virtual ~AddressSpace() = default;
  // The region that holds this address and may be used by the device of this launch; nullptr when there is none.
  virtual const Region* find(uint64_t address) const = 0;
};

// ---------------------------------------------------------------------------------------------------------------- modules
struct Kernel;  // ptx/module.h: its code and what it needs

// What a launch must know of a kernel.
struct KernelShape {
  std::string name;                    // mangled
  std::vector<uint32_t> offsets;       // of its parameters in the packed block
  std::vector<uint32_t> sizes;
  uint32_t parameter_bytes;
  uint32_t static_shared_bytes;
  uint32_t most_threads;               // .maxntid product, 1024 where it is not said
  bool releases = false;               // has a release or a fence of scope gpu or sys: its blocks may order each other
};

class Module {
 public:
  // Reads a whole PTX module. Throws Fault "unknown instruction" with the line and its text for anything that is not known: nothing is guessed.
  static std::unique_ptr<Module> load(std::string_view ptx);
  virtual ~Module() = default;
  virtual const Kernel* find(std::string_view name) const = 0;
  virtual std::vector<std::string> names() const = 0;
  virtual const KernelShape& shape(const Kernel& kernel) const = 0;
  // Variables of the module in global and constant space: initialised bytes, to be given an address by the runtime before the first launch.
  struct Variable {
    std::string name;
    uint64_t bytes;
    uint32_t alignment;
    bool constant;
    std::vector<std::byte> initial;
  };
  virtual std::vector<Variable>& variables() = 0;
  virtual void place(std::string_view variable, uint64_t address) = 0;
};

// ---------------------------------------------------------------------------------------------------------------- observation
enum class Space : uint8_t { global, shared, local };
enum class AccessKind : uint8_t { read, write, atomic };
// Of PTX's memory model: weak is a plain ld or st; relaxed is .relaxed, .volatile and an atomic that says nothing more; both is .acq_rel.
enum class Order : uint8_t { weak, relaxed, acquire, release, both };

// One warp instruction on memory. Lane l of `lanes` touches `bytes` bytes at address[l] (of a global address, or of an offset in the block's shared
// memory). ldmatrix reads 16 bytes a lane. A cp.async is told twice, as a global read and a shared write: where it is issued, both `asynchronous` (from here on the bytes may be
// read and change at any time), and where it is waited for, both not (until here they may be read, and from here on they are there).
struct Access {
  const KernelShape* kernel;
  uint64_t block;                   // number of the block in the grid, x fastest
  uint32_t warp;
  Mask lanes;
  Space space;
  AccessKind kind;
  bool asynchronous;                // of a cp.async that is under way
  uint32_t bytes;
  const uint64_t* address;          // [32]
  uint32_t line;                    // of the PTX text; that of the cp.async where one is waited for
  Order order = Order::weak;
  bool within_block = false;        // of scope .cta or .cluster: strong, and ordering, among the threads of a block only
};
// Told by the machine, block by block (what it throws ends the launch); one Observer sees one block at a time (each of the resident ones has its own, made by `Options::observe`).
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void begin_block(const KernelShape&, uint64_t /*block*/, uint32_t /*threads*/, uint32_t /*shared_bytes*/) {}
  virtual void access(const Access&) {}
  // Threads (by their number in the block) that have met at a barrier: all that they did before it happens before all that they do after it.
  virtual void barrier(std::span<const uint32_t> /*threads*/) {}
  // Lanes of a warp that have met at a bar.warp.sync. (shfl, vote, match, redux, mma and ldmatrix bring lanes together, too, but order no memory among them.)
  virtual void warp_barrier(uint32_t /*warp*/, Mask /*lanes*/) {}
  // fence and membar of scope gpu or sys: what these lanes know to be done is ordered before their relaxed writes that follow, their relaxed reads before what follows.
  virtual void fence(uint32_t /*warp*/, Mask /*lanes*/) {}
  virtual void end_block() {}
};

// ---------------------------------------------------------------------------------------------------------------- launches
struct Options {
  uint64_t seed = 0;        // 0: blocks and warps in order; else an order drawn from it, another for each launch
  int resident_blocks = 1;  // under way at a time, in turns drawn from the seed
  uint64_t most_instructions = 0;   // per block, 0 = no limit: a kernel that spins for ever becomes Fault "deadlock"
  std::function<std::unique_ptr<Observer>()> observe;   // none: as fast as can be
};

struct LaunchConfig {
  Dim3 grid, block;
  uint32_t dynamic_shared_bytes = 0;
};

// Runs every block of a kernel to its end. `parameters` is the packed block (offsets of KernelShape). Throws Fault.
void launch(const Module& module, const Kernel& kernel, const LaunchConfig& config, std::span<const std::byte> parameters, const AddressSpace& memory, const Options& options);

}  // namespace emulator
