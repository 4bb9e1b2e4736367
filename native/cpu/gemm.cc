// project, projectBackward, weightGradient: one tiled GEMM over oneDNN, on our own pool.
//
//   C (rows, columns) = A (rows, depth) B (depth, columns)
//
// An item of the pool is one tile of C. Its sum over depth runs in order, in an f32 tile in the workspace; `store` then takes
// the tile to the output, with whatever is added and the one rounding. Tiles follow from the shape alone, so the bits do not
// depend on the number of threads.
//
// oneDNN sees dense operands only: then it takes its brgemm kernels (480 .. 510 GF/s a core on Zen 5 in bf16), while a row
// stride sends it to gemm:jit (270 .. 480, unsteady, and it allocates). So a tile of A or B whose rows are not adjacent is
// first copied to a panel. Without AVX-512 bf16 every bf16 tile is copied, and widened: the product is then one of f32.
#include <omp.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <oneapi/dnnl/dnnl.hpp>
#include <tuple>

#include "../core/error.h"
#include "dispatch.h"

namespace fpdt::cpu {

namespace {

constexpr long kTile = 256;   // rows and columns of a tile of C: with its panels it stays in a core's L2
constexpr long kDepth = 512;  // of a panel
constexpr long kLeastRows = 64, kEnoughTiles = 16;

// ---- one product by oneDNN

// oneDNN runs its primitives on as many OpenMP threads as the calling thread may start: the pool's threads start none.
void be_single_threaded() {
  thread_local const bool done = (omp_set_num_threads(1), true);
  (void)done;
}

const dnnl::engine& engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

// A dense product C = A B or C += A B, C in f32. A may be stored (depth, rows), B (columns, depth): the transposed forms.
struct Product {
  struct Shape {
    long rows, columns, depth;
    bool a_transposed, b_transposed, bf16, accumulate;
    auto operator<=>(const Shape&) const = default;
  };

  explicit Product(const Shape& s) {
    using dnnl::memory;
    const auto type = s.bf16 ? memory::data_type::bf16 : memory::data_type::f32;
    using Tag = memory::format_tag;
    a = memory::desc({s.rows, s.depth}, type, s.a_transposed ? Tag::ba : Tag::ab);
    b = memory::desc({s.depth, s.columns}, type, s.b_transposed ? Tag::ba : Tag::ab);
    c = memory::desc({s.rows, s.columns}, memory::data_type::f32, Tag::ab);
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (s.accumulate) {
      dnnl::post_ops sum;
      sum.append_sum(1.f);
      attributes.set_post_ops(sum);
    }
    const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(a, b, c), attributes, engine());
    scratchpad = description.scratchpad_desc();
    matmul = dnnl::matmul(description);
  }

  void run(const void* a_data, const void* b_data, float* c_data, void* scratchpad_data) const {
    thread_local const dnnl::stream stream(engine());
    auto at = [](const dnnl::memory::desc& desc, const void* data) { return dnnl::memory(desc, engine(), const_cast<void*>(data)); };
    matmul.execute(stream, {{DNNL_ARG_SRC, at(a, a_data)},
                            {DNNL_ARG_WEIGHTS, at(b, b_data)},
                            {DNNL_ARG_DST, at(c, c_data)},
                            {DNNL_ARG_SCRATCHPAD, at(scratchpad, scratchpad_data)}});
  }

  dnnl::memory::desc a, b, c, scratchpad;
  dnnl::matmul matmul;
};

// Made once for a shape. A training run has a few dozen; a notebook that tries many shapes starts over at the bound.
std::shared_ptr<const Product> product(const Product::Shape& shape) {
  constexpr size_t kMost = 1024;
  static std::mutex mutex;
  static std::map<Product::Shape, std::shared_ptr<const Product>> made;
  std::lock_guard lock(mutex);
  if (auto it = made.find(shape); it != made.end()) return it->second;
  if (made.size() >= kMost) made.clear();
  be_single_threaded();
  try {
    return made[shape] = std::make_shared<const Product>(shape);
  } catch (const dnnl::error& error) {
    throw Error("native", "oneDNN has no product of " + std::to_string(shape.rows) + " x " + std::to_string(shape.columns) + " x " +
                              std::to_string(shape.depth) + (shape.bf16 ? " in bf16: " : " in f32: ") + error.what());
  }
}

// ---- the tiled GEMM

// A matrix in memory: element (i, j) at i * stride + j, or, transposed, at j * stride + i.
struct Matrix {
  const void* data;
  long stride;
  bool transposed;
};

struct Gemm {
  long rows, columns, depth;
  Matrix a, b;
  bool bf16;  // dtype of a and b
};

// Bytes of a thread's part of the workspace; kernel/src/plan/workspace.ts states the same sum.
struct Slot {
  Slot(long rows, long columns, long depth) {
    const long r = std::min(rows, kTile), c = std::min(columns, kTile), d = std::min(depth, kDepth);
    tile = round(4 * r * c);
    a = round(4 * r * d);
    b = round(4 * c * d);
    // What oneDNN asks for is its own affair; brgemm blocks A, B and C and asks for 330 KB where this gives 2 MB.
    scratchpad = round(4 * (r * c + (r + 128) * (std::min(depth, 2 * kDepth) + 64)));
  }
  static size_t round(size_t bytes) { return (bytes + 63) / 64 * 64; }
  size_t bytes() const { return tile + a + b + scratchpad; }
  size_t tile, a, b, scratchpad;
};

// Tile (row .. row + rows, column .. column + columns) of a matrix as it is stored, made dense, and f32 when `widen`.
const void* dense(const char* data, long stride, long row, long column, long rows, long columns, bool bf16_data, bool widen, void* panel,
                  Path path) {
  const size_t element = bf16_data ? sizeof(bf16) : sizeof(float);
  const char* first = data + (row * stride + column) * element;
  if (!widen) {
    if (columns == stride || rows == 1) return first;
    for (long r = 0; r < rows; r++) std::memcpy(static_cast<char*>(panel) + r * columns * element, first + r * stride * element, columns * element);
    return panel;
  }
  with_path(path, [&]() INLINE {
    for (long r = 0; r < rows; r++) {
      const bf16* __restrict from = reinterpret_cast<const bf16*>(first) + r * stride;
      float* __restrict to = static_cast<float*>(panel) + r * columns;
      for (long c = 0; c < columns; c++) to[c] = to_f32(from[c]);
    }
  });
  return panel;
}

// store(row, column, rows, columns, tile): takes a finished tile of C, dense.
template <class Store>
void multiply(const Gemm& g, const KernelCall& call, Pool& pool, Path path, Store&& store) {
  const Slot slot(g.rows, g.columns, g.depth);
  FPDT_CHECK(call.workspace_bytes >= pool.threads() * slot.bytes(),
             "GEMM workspace of " << call.workspace_bytes << " bytes, " << pool.threads() * slot.bytes() << " needed");
  const bool widen = g.bf16 && path != Path::avx512bf16;
  // Rows of A and of B that run along depth and follow each other need no panel: then oneDNN walks depth by itself.
  const bool whole_depth = !widen && !g.a.transposed && g.a.stride == g.depth && g.b.transposed && g.b.stride == g.depth;
  const long depth = whole_depth ? g.depth : std::min(g.depth, kDepth);
  const long column_tile = std::min(g.columns, kTile), column_tiles = tiles_of(g.columns, column_tile);
  long row_tile = std::min(g.rows, kTile);
  while (row_tile > kLeastRows && tiles_of(g.rows, row_tile) * column_tiles < kEnoughTiles) row_tile = std::max(kLeastRows, row_tile / 2);
  const long row_tiles = tiles_of(g.rows, row_tile);

  // [short rows][short columns][short depth][accumulate]: looked up before the threads start.
  std::shared_ptr<const Product> products[2][2][2][2];
  const auto size = [](long extent, long tile, int is_short) { return is_short ? extent % tile : std::min(extent, tile); };
  for (int i = 0; i < 16; i++) {
    const int sr = i >> 3 & 1, sc = i >> 2 & 1, sd = i >> 1 & 1, accumulate = i & 1;
    const Product::Shape shape{size(g.rows, row_tile, sr), size(g.columns, column_tile, sc), size(g.depth, depth, sd),
                               g.a.transposed, g.b.transposed, g.bf16 && !widen, accumulate == 1};
    if (!shape.rows || !shape.columns || !shape.depth) continue;
    if (!sr && g.rows < row_tile) continue;
    if (accumulate ? tiles_of(g.depth, depth) == 1 : sd && g.depth > depth) continue;
    auto& entry = products[sr][sc][sd][accumulate] = product(shape);
    FPDT_CHECK(entry->scratchpad.get_size() <= slot.scratchpad,
               "oneDNN asks for " << entry->scratchpad.get_size() << " bytes, " << slot.scratchpad << " planned");
  }

  // Row tiles are the inner loop: neighbours share the tile of B, the weights.
  pool.for_each(row_tiles * column_tiles, [&](int thread, long item) {
    be_single_threaded();
    const long row = item % row_tiles * row_tile, column = item / row_tiles * column_tile;
    const long rows = std::min(row_tile, g.rows - row), columns = std::min(column_tile, g.columns - column);
    char* memory = static_cast<char*>(call.workspace) + thread * slot.bytes();
    float* tile = reinterpret_cast<float*>(memory);
    char *a_panel = memory + slot.tile, *b_panel = a_panel + slot.a, *scratchpad = b_panel + slot.b;
    const auto panel = [&](const Matrix& m, long i, long j, long m_rows, long m_columns, void* to) {
      const char* data = static_cast<const char*>(m.data);
      return m.transposed ? dense(data, m.stride, j, i, m_columns, m_rows, g.bf16, widen, to, path)
                          : dense(data, m.stride, i, j, m_rows, m_columns, g.bf16, widen, to, path);
    };
    for (long k = 0; k < g.depth; k += depth) {
      const long deep = std::min(depth, g.depth - k);
      const void* a = panel(g.a, row, k, rows, deep, a_panel);
      const void* b = panel(g.b, k, column, deep, columns, b_panel);
      products[rows < row_tile][columns < column_tile][deep < depth][k > 0]->run(a, b, tile, scratchpad);
    }
    store(row, column, rows, columns, tile);
  });
}

}  // namespace

void project(const KernelCall& call, Pool& pool, Path path) {
  const long rows = call.integer(0), outputs = call.integer(1), inputs = call.integer(2);
  const bool out_f32 = call.integer(3), is_bf16 = call.integer(4);
  const Gemm gemm{rows, outputs, inputs, {call.operand(1), inputs, false}, {call.operand(2), inputs, true}, is_bf16};
  const auto into = [&](auto out_type, auto residual_type) {
    using Out = decltype(out_type);
    using T = decltype(residual_type);
    Out* out = call.as<Out>(0);
    const T* residual = call.as<T>(3);
    multiply(gemm, call, pool, path, [&](long row, long column, long tile_rows, long tile_columns, const float* tile) {
      with_path(path, [&]() INLINE {
        for (long r = 0; r < tile_rows; r++) {
          const long at = (row + r) * outputs + column;
          const float* __restrict sum = tile + r * tile_columns;
          if (residual)
            for (long c = 0; c < tile_columns; c++) out[at + c] = to<Out>(to_f32(residual[at + c]) + sum[c]);
          else
            for (long c = 0; c < tile_columns; c++) out[at + c] = to<Out>(sum[c]);
        }
      });
    });
  };
  if (!is_bf16) into(float{}, float{});
  else if (out_f32) into(float{}, bf16{});
  else into(bf16{}, bf16{});
}

void projectBackward(const KernelCall& call, Pool& pool, Path path) {
  const long rows = call.integer(0), outputs = call.integer(1), inputs = call.integer(2), dout_stride = call.integer(3);
  const bool is_bf16 = call.integer(4);
  const Gemm gemm{rows, inputs, outputs, {call.operand(1), dout_stride, false}, {call.operand(2), inputs, false}, is_bf16};
  with_dtype(is_bf16, [&](auto t) {
    using T = decltype(t);
    T* da = call.as<T>(0);
    multiply(gemm, call, pool, path, [&](long row, long column, long tile_rows, long tile_columns, const float* tile) {
      with_path(path, [&]() INLINE {
        for (long r = 0; r < tile_rows; r++)
          for (long c = 0; c < tile_columns; c++) da[(row + r) * inputs + column + c] = to<T>(tile[r * tile_columns + c]);
      });
    });
  });
}

void weightGradient(const KernelCall& call, Pool& pool, Path path) {
  const long rows = call.integer(0), outputs = call.integer(1), inputs = call.integer(2), dout_stride = call.integer(3);
  const bool first = call.integer(4), is_bf16 = call.integer(5);
  float* dweight = call.as<float>(0);
  const Gemm gemm{outputs, inputs, rows, {call.operand(1), dout_stride, true}, {call.operand(2), inputs, false}, is_bf16};
  multiply(gemm, call, pool, path, [&](long row, long column, long tile_rows, long tile_columns, const float* tile) {
    with_path(path, [&]() INLINE {
      for (long r = 0; r < tile_rows; r++) {
        float* __restrict sum = dweight + (row + r) * inputs + column;
        const float* __restrict part = tile + r * tile_columns;
        if (first)
          for (long c = 0; c < tile_columns; c++) sum[c] = part[c];
        else
          for (long c = 0; c < tile_columns; c++) sum[c] += part[c];
      }
    });
  });
}

}  // namespace fpdt::cpu
