// The calls of cuBLASLt that native/cuda/gemm.cc makes. A product is an op of its stream like any other: it lags, it is checked against the ops of other
// streams, and it reads what it is given when it runs. The workspace is filled with NaN: who keeps something there, or shares it, finds out.
//
// As in cuBLASLt: alpha and beta are read from the host when the call is made; the bias is read along the rows of the result; an algorithm holds for the
// shape, the alignments and the workspace it was chosen for.
#include <bit>
#include <cstring>
#include <limits>
#include <optional>

#include "../runtime/runtime.h"
#include "product.h"

namespace emulator::cublaslt {
namespace {

// Values of cublasLt.h, CUDA 13.
enum Status : int { kSuccess = 0, kNotInitialized = 1, kInvalidValue = 7, kExecutionFailed = 13, kNotSupported = 15 };
enum DataType : int { kF32 = 0, kBf16 = 14 };
constexpr int kCompute32F = 68;
enum : uint32_t { kEpilogueDefault = 1, kEpilogueBias = 4 };
enum DescAttribute : int { kComputeType = 0, kScaleType = 1, kPointerMode = 2, kTransA = 3, kTransB = 4, kTransC = 5, kEpilogue = 7, kBiasPointer = 8, kBiasDataType = 26 };
enum PreferenceAttribute : int { kSearchMode = 0, kMaxWorkspace = 1, kReductionSchemes = 3, kAlignmentA = 5, kAlignmentB = 6, kAlignmentC = 7, kAlignmentD = 8 };
constexpr size_t kWorkspaceAlignment = 256;

struct Context {
  int device;
};
struct Desc {
  int32_t pointer_mode = 0, transposed_a = 0, transposed_b = 0;
  uint32_t epilogue = kEpilogueDefault;
  const void* bias = nullptr;
  int32_t bias_type = -1;   // that of D
};
struct Layout {
  int32_t type;
  uint64_t rows, columns;
  int64_t leading;
};
struct Preference {
  uint64_t workspace = 0;
  uint32_t alignment[4] = {256, 256, 256, 256};   // of a, b, c, d
};
struct Algorithm {   // 64 bytes that the caller keeps
  uint64_t shape;
  uint64_t workspace;
  uint32_t alignment[4];
  uint64_t unused[4];
};
static_assert(sizeof(Algorithm) == 64);
struct Heuristic {
  Algorithm algorithm;
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};

struct Shape {
  int64_t rows, columns, depth;
  Type in, out;
};

std::optional<Type> type_of(int32_t type) {
  if (type == kF32) return Type::f32;
  if (type == kBf16) return Type::bf16;
  return std::nullopt;
}

// What a product of these is; the status says why there is none.
Status shape_of(const Desc& desc, const Layout& a, const Layout& b, const Layout& c, const Layout& d, Shape* shape) {
  const uint64_t rows = desc.transposed_a ? a.columns : a.rows, depth = desc.transposed_a ? a.rows : a.columns;
  const uint64_t columns = desc.transposed_b ? b.rows : b.columns, depth_b = desc.transposed_b ? b.columns : b.rows;
  if (depth != depth_b || d.rows != rows || d.columns != columns || c.rows != rows || c.columns != columns) return kInvalidValue;
  for (const Layout* layout : {&a, &b, &c, &d}) {
    if (!layout->rows || !layout->columns || layout->leading < static_cast<int64_t>(layout->rows)) return kInvalidValue;
  }
  const auto in = type_of(a.type), out = type_of(d.type);
  if (!in || !out || a.type != b.type || c.type != d.type || (*in == Type::f32 && *out != Type::f32)) return kNotSupported;
  if (desc.epilogue != kEpilogueDefault && desc.epilogue != kEpilogueBias) return kNotSupported;
  if (desc.epilogue == kEpilogueBias && desc.bias_type >= 0 && !type_of(desc.bias_type)) return kNotSupported;
  if (desc.pointer_mode != 0) return kNotSupported;
  *shape = {static_cast<int64_t>(rows), static_cast<int64_t>(columns), static_cast<int64_t>(depth), *in, *out};
  return kSuccess;
}

uint64_t fingerprint(const Desc& desc, const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
  uint64_t hash = 1469598103934665603u;
  const auto add = [&](uint64_t value) { hash = (hash ^ value) * 1099511628211u; };
  add(static_cast<uint64_t>(desc.transposed_a * 2 + desc.transposed_b));
  add(desc.epilogue);
  for (const Layout* layout : {&a, &b, &c, &d}) {
    add(static_cast<uint64_t>(layout->type));
    add(layout->rows);
    add(layout->columns);
    add(static_cast<uint64_t>(layout->leading));
  }
  return hash;
}

// One matrix or vector in memory that a product uses.
struct Place {
  std::byte* data;
  std::vector<runtime::Interval> intervals;
  std::shared_ptr<WrittenBytes> written;
  uint64_t written_at;
};

// `columns` stretches of `bytes`, `pitch` apart. Throws Fault where the device cannot use them.
Place place(runtime::Runtime& state, int device, const void* pointer, uint64_t bytes, uint64_t columns, uint64_t pitch, const char* what) {
  const auto address = reinterpret_cast<uint64_t>(pointer);
  const uint64_t all = (columns - 1) * pitch + bytes;
  const auto view = state.memory.view(device);
  const Region* region = view->find(address);
  if (!region) throw Fault("illegal address", std::string("cublasLtMatmul: ") + what + " is not in memory that device " + std::to_string(device) + " may use");
  if (all > region->bytes - (address - region->address)) {
    throw Fault("illegal address", std::string("cublasLtMatmul: ") + what + " takes " + std::to_string(all) + " bytes from byte " + std::to_string(address - region->address) +
                                       " on of an allocation of " + std::to_string(region->bytes) + " bytes");
  }
  Place result{region->backing + (address - region->address), {}, nullptr, 0};
  if (bytes == pitch) {
    result.intervals.push_back({address, address + all});
  } else {
    for (uint64_t column = 0; column < columns; ++column) result.intervals.push_back({address + column * pitch, address + column * pitch + bytes});
  }
  if (const runtime::Allocation* allocation = state.memory.find(address)) {
    result.written = allocation->written;
    result.written_at = address - allocation->region.address;
  }
  return result;
}

Place place(runtime::Runtime& state, int device, const void* pointer, const Layout& layout, const char* what) {
  const uint64_t element = bytes_of(*type_of(layout.type));
  return place(state, device, pointer, layout.rows * element, layout.columns, static_cast<uint64_t>(layout.leading) * element, what);
}

void check_written(const Place& place, const char* what) {
  if (!place.written) return;
  for (const runtime::Interval& interval : place.intervals) {
    const uint64_t at = place.written_at + (interval.begin - place.intervals[0].begin), bytes = interval.end - interval.begin;
    if (const uint64_t first = place.written->first_unwritten(at, bytes); first != at + bytes) {
      throw Fault("uninitialised", std::string("cublasLtMatmul: byte ") + std::to_string(first) + " of the allocation of " + what + " is read and nobody wrote it");
    }
  }
}

// Intervals of several places in order, without overlap.
std::vector<runtime::Interval> merged(std::vector<const Place*> places) {
  runtime::ByteSet set;
  for (const Place* place : places) {
    for (const runtime::Interval& interval : place->intervals) set.add(interval.begin, interval.end - interval.begin);
  }
  return set.intervals();
}

struct Product {
  Shape shape;
  Desc desc;
  Layout a_layout, b_layout, d_layout;
  float alpha, beta;
  Type bias_type;
  std::optional<Place> a, b, c, d, bias, workspace;
};

runtime::Touched run(const Product& p) {
  const auto [rows, columns, depth, in, out] = p.shape;
  check_written(*p.a, "A");
  check_written(*p.b, "B");
  if (p.c) check_written(*p.c, "C");
  if (p.bias) check_written(*p.bias, "the bias");
  // Before anything is read: what lies in the workspace is lost.
  if (p.workspace) std::memset(p.workspace->data, 0xff, p.workspace->intervals[0].end - p.workspace->intervals[0].begin);
  std::vector<float> sums(static_cast<size_t>(rows * columns));
  multiply({p.a->data, p.a_layout.leading, p.desc.transposed_a != 0, in}, {p.b->data, p.b_layout.leading, p.desc.transposed_b != 0, in}, rows, columns, depth, sums.data());
  for (int64_t column = 0; column < columns; ++column) {
    for (int64_t row = 0; row < rows; ++row) {
      float value = p.alpha * sums[static_cast<size_t>(column * rows + row)];
      const int64_t at = column * p.d_layout.leading + row;
      if (p.c) value += p.beta * load(p.c->data, at, out);
      if (p.bias) value += load(p.bias->data, row, p.bias_type);
      store(p.d->data, at, out, value);
    }
  }
  if (p.workspace) std::memset(p.workspace->data, 0xff, p.workspace->intervals[0].end - p.workspace->intervals[0].begin);
  for (const auto* written : {&p.d, &p.workspace}) {
    if (!*written || !(*written)->written) continue;
    for (const runtime::Interval& interval : (*written)->intervals) {
      (*written)->written->mark((*written)->written_at + (interval.begin - (*written)->intervals[0].begin), interval.end - interval.begin);
    }
  }
  std::vector<const Place*> read = {&*p.a, &*p.b}, written = {&*p.d};
  if (p.c) read.push_back(&*p.c);
  if (p.bias) read.push_back(&*p.bias);
  if (p.workspace) written.push_back(&*p.workspace);
  return {merged(read), merged(written)};
}

Status matmul(runtime::Call& call, const Context& context, const Desc& desc, const void* alpha, const void* a, const Layout& a_layout, const void* b, const Layout& b_layout,
              const void* beta, const void* c, const Layout& c_layout, void* d, const Layout& d_layout, const Algorithm* algorithm, void* workspace, size_t workspace_bytes,
              cudaStream_t handle) {
  runtime::Runtime& state = call.runtime;
  const auto refuse = [&](Status status, const std::string& why) {
    state.note("cublasLtMatmul: " + why);
    return status;
  };
  Shape shape;
  if (const Status status = shape_of(desc, a_layout, b_layout, c_layout, d_layout, &shape); status != kSuccess) return refuse(status, "layouts or types that do not go together");
  if (!alpha || !beta || !a || !b || !d) return refuse(kInvalidValue, "a pointer is missing");
  if (c == d && c_layout.leading != d_layout.leading) return refuse(kInvalidValue, "C and D are the same memory with different layouts");
  if (c != d && c_layout.leading != d_layout.leading) return refuse(kNotSupported, "C and D have different layouts");
  runtime::Stream* stream = state.stream(handle);
  if (!stream || stream->device != context.device) return refuse(kInvalidValue, "a stream of another device than that of the handle");
  if (!algorithm) return refuse(kNotSupported, "no algorithm is given");
  if (algorithm->shape != fingerprint(desc, a_layout, b_layout, c_layout, d_layout)) return refuse(kInvalidValue, "the algorithm was chosen for another shape");
  if (workspace_bytes < algorithm->workspace) return refuse(kInvalidValue, "the workspace is smaller than the algorithm needs");
  if (algorithm->workspace && reinterpret_cast<uint64_t>(workspace) % kWorkspaceAlignment) return refuse(kInvalidValue, "the workspace is not aligned to 256 bytes");
  const void* pointers[] = {a, b, c ? c : d, d};
  for (int i = 0; i < 4; ++i) {
    if (reinterpret_cast<uint64_t>(pointers[i]) % algorithm->alignment[i]) return refuse(kInvalidValue, "a matrix is less aligned than the algorithm was chosen for");
  }

  Product product{shape, desc, a_layout, b_layout, d_layout, 0, 0, desc.bias_type >= 0 ? *type_of(desc.bias_type) : shape.out, {}, {}, {}, {}, {}, {}};
  std::memcpy(&product.alpha, alpha, sizeof(float));
  std::memcpy(&product.beta, beta, sizeof(float));
  const std::string label = "cublasLtMatmul " + std::to_string(shape.rows) + " x " + std::to_string(shape.columns) + " x " + std::to_string(shape.depth);
  std::function<runtime::Touched()> body;
  try {
    product.a = place(state, context.device, a, a_layout, "A");
    product.b = place(state, context.device, b, b_layout, "B");
    if (product.beta != 0) {
      if (!c) return refuse(kInvalidValue, "C is missing and beta is not 0");
      product.c = place(state, context.device, c, c_layout, "C");
    }
    product.d = place(state, context.device, d, d_layout, "D");
    if (desc.epilogue == kEpilogueBias) {
      const uint64_t bytes = d_layout.rows * bytes_of(product.bias_type);
      product.bias = place(state, context.device, desc.bias, bytes, 1, bytes, "the bias");
    }
    if (algorithm->workspace) product.workspace = place(state, context.device, workspace, algorithm->workspace, 1, algorithm->workspace, "the workspace");
    body = [product = std::move(product)] { return run(product); };
  } catch (const Fault& fault) {
    body = [fault]() -> runtime::Touched { throw fault; };   // a GPU says so when it gets there
  }
  ++state.launches["cublasLtMatmul"];
  const auto op = state.issue(*stream, runtime::Op::Kind::work, label, std::move(body));
  op->late = call.is_planted("late");
  return kSuccess;
}

template <class T>
Status take(T& value, const void* from, size_t bytes) {
  if (!from || bytes != sizeof value) return kInvalidValue;
  std::memcpy(&value, from, sizeof value);
  return kSuccess;
}

}  // namespace
}  // namespace emulator::cublaslt

using namespace emulator;
using namespace emulator::cublaslt;

extern "C" {

size_t cublasLtGetVersion() { return 130002; }

const char* cublasLtGetStatusString(int status) {
  switch (status) {
    case kSuccess: return "CUBLAS_STATUS_SUCCESS";
    case kNotInitialized: return "CUBLAS_STATUS_NOT_INITIALIZED";
    case kInvalidValue: return "CUBLAS_STATUS_INVALID_VALUE";
    case kExecutionFailed: return "CUBLAS_STATUS_EXECUTION_FAILED";
    case kNotSupported: return "CUBLAS_STATUS_NOT_SUPPORTED";
    default: return "unknown error code";
  }
}

int cublasLtCreate(void** handle) {
  const cudaError_t error = runtime::call("cublasLtCreate", runtime::a_live_device, [&](runtime::Call& call) {
    *handle = new Context{call.device};
    return cudaSuccess;
  });
  return error == cudaSuccess ? kSuccess : kNotInitialized;
}
int cublasLtDestroy(void* handle) {
  delete static_cast<Context*>(handle);
  return kSuccess;
}

int cublasLtMatmulDescCreate(void** desc, int compute, int scale) {
  if (compute != kCompute32F || scale != kF32) return kNotSupported;
  *desc = new Desc;
  return kSuccess;
}
int cublasLtMatmulDescDestroy(void* desc) {
  delete static_cast<Desc*>(desc);
  return kSuccess;
}
int cublasLtMatmulDescSetAttribute(void* handle, int attribute, const void* value, size_t bytes) {
  Desc& desc = *static_cast<Desc*>(handle);
  switch (attribute) {
    case kPointerMode: return take(desc.pointer_mode, value, bytes);
    case kTransA: return take(desc.transposed_a, value, bytes);
    case kTransB: return take(desc.transposed_b, value, bytes);
    case kEpilogue: return take(desc.epilogue, value, bytes);
    case kBiasPointer: return take(desc.bias, value, bytes);
    case kBiasDataType: return take(desc.bias_type, value, bytes);
    default: return kNotSupported;
  }
}

int cublasLtMatrixLayoutCreate(void** layout, int type, uint64_t rows, uint64_t columns, int64_t leading) {
  *layout = new Layout{type, rows, columns, leading};
  return kSuccess;
}
int cublasLtMatrixLayoutDestroy(void* layout) {
  delete static_cast<Layout*>(layout);
  return kSuccess;
}

int cublasLtMatmulPreferenceCreate(void** preference) {
  *preference = new Preference;
  return kSuccess;
}
int cublasLtMatmulPreferenceDestroy(void* preference) {
  delete static_cast<Preference*>(preference);
  return kSuccess;
}
int cublasLtMatmulPreferenceSetAttribute(void* handle, int attribute, const void* value, size_t bytes) {
  Preference& preference = *static_cast<Preference*>(handle);
  uint32_t ignored;
  switch (attribute) {
    case kMaxWorkspace: return take(preference.workspace, value, bytes);
    case kAlignmentA: case kAlignmentB: case kAlignmentC: case kAlignmentD: return take(preference.alignment[attribute - kAlignmentA], value, bytes);
    case kSearchMode: case kReductionSchemes: return take(ignored, value, bytes);   // the sum is never split here
    default: return kNotSupported;
  }
}

// One algorithm for every shape. It takes 4 bytes an element of the result as workspace where it is given that much: what one that splits the depth would.
int cublasLtMatmulAlgoGetHeuristic(void*, void* desc, void* a, void* b, void* c, void* d, void* preferred, int most, Heuristic* found, int* count) {
  if (most < 1 || !found || !count) return kInvalidValue;
  *count = 0;
  const Layout &a_layout = *static_cast<Layout*>(a), &b_layout = *static_cast<Layout*>(b), &c_layout = *static_cast<Layout*>(c), &d_layout = *static_cast<Layout*>(d);
  const Preference& preference = *static_cast<Preference*>(preferred);
  Shape shape;
  if (const Status status = shape_of(*static_cast<Desc*>(desc), a_layout, b_layout, c_layout, d_layout, &shape); status != kSuccess) return status;
  *found = {};
  for (int i = 0; i < 4; ++i) {
    if (!std::has_single_bit(preference.alignment[i])) return kInvalidValue;
    if (preference.alignment[i] < bytes_of(i < 2 ? shape.in : shape.out)) return kNotSupported;
    found->algorithm.alignment[i] = preference.alignment[i];
  }
  const uint64_t wanted = static_cast<uint64_t>(shape.rows) * static_cast<uint64_t>(shape.columns) * 4;
  found->algorithm.shape = fingerprint(*static_cast<Desc*>(desc), a_layout, b_layout, c_layout, d_layout);
  found->algorithm.workspace = found->workspace = wanted <= preference.workspace ? wanted : 0;
  found->state = kSuccess;
  found->waves = 1;
  *count = 1;
  return kSuccess;
}

int cublasLtMatmul(void* handle, void* desc, const void* alpha, const void* a, void* a_layout, const void* b, void* b_layout, const void* beta, const void* c, void* c_layout,
                   void* d, void* d_layout, const Algorithm* algorithm, void* workspace, size_t workspace_bytes, cudaStream_t stream) {
  if (!handle || !desc || !a_layout || !b_layout || !c_layout || !d_layout) return kInvalidValue;
  Status status = kSuccess;
  const cudaError_t error = runtime::call("cublasLtMatmul", runtime::a_live_device, [&](runtime::Call& call) {
    status = matmul(call, *static_cast<Context*>(handle), *static_cast<Desc*>(desc), alpha, a, *static_cast<Layout*>(a_layout), b, *static_cast<Layout*>(b_layout), beta, c,
                    *static_cast<Layout*>(c_layout), d, *static_cast<Layout*>(d_layout), algorithm, workspace, workspace_bytes, stream);
    return cudaSuccess;
  });
  return error == cudaSuccess ? status : kExecutionFailed;
}

}  // extern "C"
