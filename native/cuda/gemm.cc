// project, projectBackward, weightGradient: one product each, by cuBLASLt.
//
// cuBLASLt counts columns first: a dense matrix (i, j) of ours is, in its eyes, the transposed one. So for C = A B it is asked for
// Cᵀ = Bᵀ Aᵀ: its first factor is our B, its second our A, its rows are our columns, and a bias along its rows is one along our columns.
//
// What it may choose from is narrowed to what keeps the promises of kernels.ts: sums in f32 (no tf32 for f32 operands), parts of a sum that is split over
// depth added in f32 and in order, one rounding. The same shape, alignment and workspace on the same device give the same algorithm, and that the same
// bits. Where it has none, odd shapes go to our own kernel; a bf16 product that tensor cores take is an error, in words: on our kernel a run would seem
// to work, at a fraction of its speed. Its workspace is the plan's: 4 bytes an element of C, which a split into a few parts of a small C needs (a large C
// fills the GPU unsplit), 32 MiB at most, as NVIDIA advises for its largest GPUs.
#include "gemm.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string>

#include "../core/error.h"
#include "kernels.h"
#include "status.h"

namespace fpdt::cuda {
namespace {

using namespace cublaslt;

constexpr size_t kWorkspaceLimit = size_t{32} << 20;
constexpr uint64_t kMostAlignment = 256;
constexpr size_t kMostPlans = 4096;  // a training run has a few dozen; a notebook that tries many shapes starts over here

void check(const Library& library, Status status, const char* what) {
  if (status != kSuccess) throw Error("native", std::string(what) + " of cuBLASLt (" + library.where + ") failed: " + library.GetStatusString(status));
}

uint16_t alignment(const void* pointer) {
  const auto address = reinterpret_cast<uint64_t>(pointer);
  return static_cast<uint16_t>(std::min(kMostAlignment, address ? address & -address : kMostAlignment));
}

DataType type(bool bf16) { return bf16 ? kBf16 : kF32; }

std::string words(const Product& p) {
  return std::to_string(p.rows) + " x " + std::to_string(p.columns) + " x " + std::to_string(p.depth) + (p.bf16 ? " in bf16" : " in f32");
}

// What cuBLASLt's handles are freed by.
template <class T>
class Owned {
 public:
  explicit Owned(Status (*destroy)(T*)) : destroy_(destroy) {}
  ~Owned() {
    if (handle_) destroy_(handle_);
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  T** out() { return &handle_; }
  operator T*() const { return handle_; }

 private:
  Status (*destroy_)(T*);
  T* handle_ = nullptr;
};

}  // namespace

size_t gemm_workspace_bytes(int64_t rows, int64_t columns) {
  const double bytes = 4.0 * static_cast<double>(rows) * static_cast<double>(columns);  // exact below 2^53, and 32 MiB is below
  const size_t whole = bytes < static_cast<double>(kWorkspaceLimit) ? static_cast<size_t>(bytes) : kWorkspaceLimit;
  return (whole + kMostAlignment - 1) / kMostAlignment * kMostAlignment;
}

// How one shape is multiplied: cuBLASLt's descriptions and its choice; no choice where it has no algorithm for the shape and need not have one.
class Gemms::Plan {
 public:
  Plan(const Library& library, Context* context, const Key& key, const Product& p)
      : library_(library), desc_(library.MatmulDescDestroy), a_(library.MatrixLayoutDestroy), b_(library.MatrixLayoutDestroy), c_(library.MatrixLayoutDestroy) {
    check(library, library.MatmulDescCreate(desc_.out(), kComputeF32, kF32), "MatmulDescCreate");
    set(kOperationA, p.b.transposed ? kTransposed : kAsIs);
    set(kOperationB, p.a.transposed ? kTransposed : kAsIs);
    if (p.bias) {
      set(kEpilogue, kBias);
      set(kBiasPointer, p.bias);  // its alignment counts in the choice
    }
    const auto lay = [&](Owned<MatrixLayout>& layout, bool bf16, int64_t rows, int64_t columns, int64_t leading) {
      check(library, library.MatrixLayoutCreate(layout.out(), type(bf16), static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), leading), "MatrixLayoutCreate");
    };
    lay(a_, p.bf16, p.b.transposed ? p.depth : p.columns, p.b.transposed ? p.columns : p.depth, p.b.stride);
    lay(b_, p.bf16, p.a.transposed ? p.rows : p.depth, p.a.transposed ? p.depth : p.rows, p.a.stride);
    lay(c_, p.c_bf16, p.columns, p.rows, p.columns);

    Owned<Preference> preference(library.MatmulPreferenceDestroy);
    check(library, library.MatmulPreferenceCreate(preference.out()), "MatmulPreferenceCreate");
    const auto prefer = [&](PreferenceAttribute attribute, auto value) {
      check(library, library.MatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value), "MatmulPreferenceSetAttribute");
    };
    prefer(kMostWorkspace, key.workspace_bytes);
    prefer(kReductions, kReduceInF32);
    prefer(kAlignmentA, uint32_t{key.b_alignment});
    prefer(kAlignmentB, uint32_t{key.a_alignment});
    prefer(kAlignmentC, uint32_t{key.added_alignment});
    prefer(kAlignmentD, uint32_t{key.c_alignment});
    Choice choice{};
    int found = 0;
    const Status status = library.MatmulAlgoGetHeuristic(context, desc_, a_, b_, c_, c_, preference, 1, &choice, &found);
    if (status == kNotSupported || (status == kSuccess && (found == 0 || choice.state != kSuccess))) {
      if (!is_regular(key)) return;
      throw Error("native", "cuBLASLt (" + library.where + ", version " + std::to_string(library.GetVersion()) + ") has no algorithm for the product " + words(p) +
                                ", as every whole installation of it has on GPUs of bf16 tensor cores: install another version, or name its file in FPDT_CUBLASLT");
    }
    check(library, status, "MatmulAlgoGetHeuristic");
    algorithm_ = choice.algorithm;
  }

  bool has_algorithm() const { return algorithm_.has_value(); }

  void run(Context* context, const Product& p, void* workspace, size_t workspace_bytes, cudaStream_t stream) {
    const float one = 1, beta = p.added ? 1 : 0;
    if (p.bias) set(kBiasPointer, p.bias);
    const Status status = library_.Matmul(context, desc_, &one, p.b.data, a_, p.a.data, b_, &beta, p.added ? p.added : p.c, c_, p.c, c_, &*algorithm_, workspace, workspace_bytes, stream);
    if (status != kSuccess) {
      cuda::check(cudaGetLastError(), "a matrix product");  // where it was CUDA's, its own words are better
      throw Error("native", "the product " + words(p) + " failed in cuBLASLt (" + library_.where + "): " + library_.GetStatusString(status));
    }
  }

 private:
  // Whether tensor cores take the product by whole 16-byte vectors: any cuBLASLt can do these.
  static bool is_regular(const Key& k) {
    constexpr int kElements = 8, kBytes = 16;
    const auto whole = [](int64_t n) { return n % kElements == 0; };
    return k.bf16 && whole(k.rows) && whole(k.columns) && whole(k.depth) && whole(k.a_stride) && whole(k.b_stride) && k.a_alignment >= kBytes && k.b_alignment >= kBytes &&
           k.added_alignment >= kBytes && k.c_alignment >= kBytes && (k.bias_alignment == 0 || k.bias_alignment >= kBytes);
  }

  template <class T>
  void set(DescAttribute attribute, T value) {
    check(library_, library_.MatmulDescSetAttribute(desc_, attribute, &value, sizeof value), "MatmulDescSetAttribute");
  }

  const Library& library_;
  Owned<MatmulDesc> desc_;
  Owned<MatrixLayout> a_, b_, c_;
  std::optional<Algorithm> algorithm_;
};

Gemms::Gemms() : without_library_(std::getenv("FPDT_CUBLASLT") && std::string(std::getenv("FPDT_CUBLASLT")) == "none") {}

Gemms::~Gemms() {
  plans_.clear();
  if (context_) library().Destroy(context_);
}

Gemms::Plan& Gemms::plan(const Key& key, const Product& product) {
  if (const auto it = plans_.find(key); it != plans_.end()) return *it->second;
  const Library& loaded = library();
  if (!context_) check(loaded, loaded.Create(&context_), "Create");
  if (plans_.size() >= kMostPlans) plans_.clear();
  return *(plans_[key] = std::make_unique<Plan>(loaded, context_, key, product));
}

void Gemms::multiply(const Product& p, void* workspace, size_t workspace_bytes, cudaStream_t stream) {
  if (without_library_) return multiply_any(p, stream);
  const Key key{.rows = p.rows,
                .columns = p.columns,
                .depth = p.depth,
                .a_stride = p.a.stride,
                .b_stride = p.b.stride,
                .workspace_bytes = workspace_bytes,
                .a_alignment = alignment(p.a.data),
                .b_alignment = alignment(p.b.data),
                .added_alignment = alignment(p.added ? p.added : p.c),
                .c_alignment = alignment(p.c),
                .bias_alignment = p.bias ? alignment(p.bias) : uint16_t{0},
                .a_transposed = p.a.transposed,
                .b_transposed = p.b.transposed,
                .bf16 = p.bf16,
                .c_bf16 = p.c_bf16};
  // The lock covers the launch too: the pointer of the bias is an attribute of the description. A launch takes microseconds.
  const std::lock_guard lock(mutex_);
  Plan& chosen = plan(key, p);
  if (chosen.has_algorithm()) return chosen.run(context_, p, workspace, workspace_bytes, stream);
  multiply_any(p, stream);
}

namespace {

void multiply(const KernelCall& call, const Launch& launch, Product product) {
  const size_t need = gemm_workspace_bytes(product.rows, product.columns);
  FPDT_CHECK(call.workspace_bytes >= need, "GEMM workspace of " << call.workspace_bytes << " bytes, " << need << " needed");
  // cuBLASLt's bias has the dtype of C. An f32 C with a bf16 bias begins as the bias, and the product is added to it: one more pass over C.
  if (product.bias && product.c_bf16 != product.bf16) {
    spread_bias(static_cast<float*>(product.c), static_cast<const float*>(product.added), product.bias, product.rows, product.columns, launch.stream);
    product.added = product.c;
    product.bias = nullptr;
  }
  FPDT_CHECK(reinterpret_cast<uint64_t>(call.workspace) % kMostAlignment == 0, "the GEMM workspace is not aligned to " << kMostAlignment << " bytes, as plans have it and cuBLASLt wants it");
  launch.gemms->multiply(product, call.workspace, need, launch.stream);
}

}  // namespace

void project(const KernelCall& call, const Launch& launch) {
  const int64_t rows = call.integer(0), outputs = call.integer(1), inputs = call.integer(2);
  const bool out_f32 = call.integer(3), bf16 = call.integer(4);
  multiply(call, launch,
           {.rows = rows,
            .columns = outputs,
            .depth = inputs,
            .a = {call.operand(1), inputs, false},
            .b = {call.operand(2), inputs, true},
            .bf16 = bf16,
            .c = call.operand(0),
            .c_bf16 = bf16 && !out_f32,
            .added = call.operand(3),
            .bias = call.operand(4)});
}

void projectBackward(const KernelCall& call, const Launch& launch) {
  const int64_t rows = call.integer(0), outputs = call.integer(1), inputs = call.integer(2), dout_stride = call.integer(3);
  const bool bf16 = call.integer(4);
  multiply(call, launch,
           {.rows = rows,
            .columns = inputs,
            .depth = outputs,
            .a = {call.operand(1), dout_stride, false},
            .b = {call.operand(2), inputs, false},
            .bf16 = bf16,
            .c = call.operand(0),
            .c_bf16 = bf16});
}

void weightGradient(const KernelCall& call, const Launch& launch) {
  const int64_t rows = call.integer(0), outputs = call.integer(1), inputs = call.integer(2), dout_stride = call.integer(3);
  const bool first = call.integer(4), bf16 = call.integer(5);
  multiply(call, launch,
           {.rows = outputs,
            .columns = inputs,
            .depth = rows,
            .a = {call.operand(1), dout_stride, true},
            .b = {call.operand(2), inputs, false},
            .bf16 = bf16,
            .c = call.operand(0),
            .c_bf16 = false,
            .added = first ? nullptr : call.operand(0)});
}

}  // namespace fpdt::cuda
