// project, projectBackward, weightGradient: one tiled GEMM over oneDNN, on our own pool.
//
//   C (rows, columns) = A (rows, depth) B (depth, columns)
//
// An item of the pool is one tile of C. Its sum over depth runs in order, in an f32 tile in the workspace; `store` then
// takes the tile to the output, with whatever is added and the one rounding. Tiles follow from the shape alone, so the bits do not
// depend on the number of threads.
//
// oneDNN sees dense A and B only: then it takes its brgemm kernels (480 .. 510 GF/s a core on Zen 5 in bf16), while a row
// stride there sends it to gemm:jit, 320 .. 400 where it must transpose. So a tile of A or B whose rows are not adjacent is
// first copied to a panel. Without AVX-512 bf16 every bf16 tile is copied, and widened: the product is then one of f32.
//
// When A and B need no panels, oneDNN writes an f32 output itself, as the logits of a vocabulary: at a stride, so by
// gemm:jit, but that keeps up here, in wide tiles (16 % faster than through a tile). Adding into C there is not: for
// gradients of weights it waits for memory (12 % slower than through a tile).
#include <omp.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <oneapi/dnnl/dnnl.hpp>

#include "../core/error.h"
#include "dispatch.h"

namespace fpdt::cpu {

namespace {

constexpr long kTile = 256;   // rows and columns of a tile of C: with its panels it stays in a core's L2
constexpr long kWide = 1024;  // columns of a tile that oneDNN writes at a stride
constexpr long kDepth = 256;  // of a panel
constexpr long kLeastRows = 64, kEnoughItems = 16;  // smaller tiles only until this many items: 64 rows cost 10 %

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

// C = A B or C += A B with A and B dense, C in f32. A may be stored (depth, rows), B (columns, depth): the transposed forms.
struct Product {
  struct Shape {
    long rows, columns, depth, c_stride;
    bool a_transposed, b_transposed, bf16, accumulate;
    auto operator<=>(const Shape&) const = default;
  };

  explicit Product(const Shape& s) {
    using dnnl::memory;
    const auto type = s.bf16 ? memory::data_type::bf16 : memory::data_type::f32;
    using Tag = memory::format_tag;
    a = memory::desc({s.rows, s.depth}, type, s.a_transposed ? Tag::ba : Tag::ab);
    b = memory::desc({s.depth, s.columns}, type, s.b_transposed ? Tag::ba : Tag::ab);
    c = memory::desc({s.rows, s.columns}, memory::data_type::f32, memory::dims{s.c_stride, 1});
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
    const auto at = [](const dnnl::memory::desc& desc, const void* data) {
      return dnnl::memory(desc, engine(), const_cast<void*>(data));
    };
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
    throw Error("native", "oneDNN has no product of " + std::to_string(shape.rows) + " x " + std::to_string(shape.columns) +
                              " x " + std::to_string(shape.depth) + (shape.bf16 ? " in bf16: " : " in f32: ") + error.what());
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
  bool bf16;           // dtype of a and b
  float* c = nullptr;  // f32 output to which a finished tile goes as it is; nullptr when there is more to do
};

// How a GEMM is cut: by its shape alone. `depth` is what one product takes: a panel's depth, or all of it.
struct Cut {
  long row_tile, column_tile, row_tiles, column_tiles;
  long depth, parts, part_depth;  // the sum over depth in `parts`, added in order

  Cut(const Gemm& g, long columns, long product_depth) : row_tile(kTile), column_tile(columns), depth(product_depth) {
    row_tiles = tiles_of(g.rows, row_tile), column_tiles = tiles_of(g.columns, column_tile);
    // Few tiles: first split a long sum, as in the backward of a vocabulary, then narrow the tiles.
    const long steps = tiles_of(g.depth, depth), part_steps = tiles_of(steps, most_parts(row_tiles * column_tiles, steps));
    part_depth = part_steps * depth, parts = tiles_of(steps, part_steps);
    while (row_tile > kLeastRows && row_tiles * column_tiles * parts < kEnoughItems)
      row_tile /= 2, row_tiles = tiles_of(g.rows, row_tile);
  }
  static long most_parts(long tiles, long steps) { return std::max(1L, std::min(steps / 2, kEnoughItems / tiles)); }
};

// The workspace: the parts of split sums, then a slot for each thread. kernel/src/plan/cpu-workspace.ts states the same sum.
struct Workspace {
  explicit Workspace(const Gemm& g) {
    const long r = std::min(g.rows, kTile), c = std::min(g.columns, kTile), d = std::min(g.depth, kDepth);
    const long tiles = tiles_of(g.rows, kTile) * tiles_of(g.columns, kTile);
    const long most = Cut::most_parts(tiles, tiles_of(g.depth, kDepth));
    tile = round(4 * r * c);
    a = round(4 * r * d);
    b = round(4 * c * d);
    // What oneDNN asks for is its own affair; brgemm blocks A, B and C and asks for 330 KB where this gives 2 MB.
    scratchpad = round(4 * (r * c + (r + 128) * (std::min(g.depth, 4 * kDepth) + 64)));
    parts = most > 1 ? most * tiles * 4 * kTile * kTile : 0;
  }
  static size_t round(size_t bytes) { return (bytes + 63) / 64 * 64; }
  size_t slot() const { return tile + a + b + scratchpad; }
  size_t bytes(int threads) const { return parts + threads * slot(); }
  size_t tile, a, b, scratchpad, parts;
};

// Tile (row .. row + rows, column .. column + columns) of a matrix as it is stored, made dense, and f32 when `widen`.
const void* dense(const char* data, long stride, long row, long column, long rows, long columns, bool bf16_data, bool widen,
                  void* panel, Path path) {
  const size_t element = bf16_data ? sizeof(bf16) : sizeof(float);
  const char* first = data + (row * stride + column) * element;
  if (!widen) {
    if (columns == stride || rows == 1) return first;
    const size_t row_bytes = columns * element;
    for (long r = 0; r < rows; r++) std::memcpy(static_cast<char*>(panel) + r * row_bytes, first + r * stride * element, row_bytes);
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

// The products of a cut, looked up before the threads start: one for each combination of full and short extents.
class Products {
 public:
  Products(const Gemm& g, const Cut& cut, bool bf16, bool direct, size_t scratchpad) : cut_(cut) {
    for (long rows : {std::min(cut.row_tile, g.rows), g.rows % cut.row_tile})
      for (long columns : {std::min(cut.column_tile, g.columns), g.columns % cut.column_tile})
        for (long depth : {std::min(cut.depth, g.depth), g.depth % cut.depth})
          for (bool accumulate : {false, true}) {
            if (!rows || !columns || !depth || (accumulate && g.depth <= cut.depth)) continue;
            auto& made = at(rows, columns, depth, accumulate);
            const long c_stride = direct ? g.columns : columns;
            made = product({rows, columns, depth, c_stride, g.a.transposed, g.b.transposed, bf16, accumulate});
            FPDT_CHECK(made->scratchpad.get_size() <= scratchpad,
                       "oneDNN asks for " << made->scratchpad.get_size() << " bytes, " << scratchpad << " planned");
          }
  }
  std::shared_ptr<const Product>& at(long rows, long columns, long depth, bool accumulate) {
    return products_[rows < cut_.row_tile][columns < cut_.column_tile][depth < cut_.depth][accumulate];
  }

 private:
  const Cut& cut_;
  std::shared_ptr<const Product> products_[2][2][2][2];
};

INLINE inline void add(float* __restrict sum, const float* __restrict part, long count) {
  for (long i = 0; i < count; i++) sum[i] += part[i];
}

// store(row, column, rows, columns, tile): takes a finished tile of C, dense.
template <class Store>
void multiply(const Gemm& g, const KernelCall& call, Pool& pool, Path path, Store&& store) {
  const Workspace workspace(g);
  FPDT_CHECK(call.workspace_bytes >= workspace.bytes(pool.threads()),
             "GEMM workspace of " << call.workspace_bytes << " bytes, " << workspace.bytes(pool.threads()) << " needed");
  const bool widen = g.bf16 && path != Path::avx512bf16;
  // Rows of A and of B that run along depth and follow each other need no panel: then oneDNN walks depth by itself.
  const bool whole_depth = !widen && !g.a.transposed && g.a.stride == g.depth && g.b.transposed && g.b.stride == g.depth;
  const bool direct = g.c && whole_depth;
  const Cut cut(g, direct ? kWide : kTile, whole_depth ? g.depth : std::min(g.depth, kDepth));
  Products products(g, cut, g.bf16 && !widen, direct, workspace.scratchpad);
  char* const parts = static_cast<char*>(call.workspace);
  const long tiles = cut.row_tiles * cut.column_tiles;
  const auto part_of = [&](long tile, long part) {
    return reinterpret_cast<float*>(parts) + (tile * cut.parts + part) * cut.row_tile * cut.column_tile;
  };
  // Row tiles are the inner loop: neighbours share the tile of B, the weights.
  struct Place {
    long row, column, rows, columns;
  };
  const auto place_of = [&](long tile) {
    const long row = tile % cut.row_tiles * cut.row_tile, column = tile / cut.row_tiles * cut.column_tile;
    return Place{row, column, std::min(cut.row_tile, g.rows - row), std::min(cut.column_tile, g.columns - column)};
  };

  pool.for_each(tiles * cut.parts, [&](int thread, long item) {
    be_single_threaded();
    const long index = item % tiles, part = item / tiles;
    const Place at = place_of(index);
    char* slot = parts + workspace.parts + thread * workspace.slot();
    float* tile = direct          ? g.c + at.row * g.columns + at.column
                  : cut.parts > 1 ? part_of(index, part)
                                  : reinterpret_cast<float*>(slot);
    char *a_panel = slot + workspace.tile, *b_panel = a_panel + workspace.a, *scratchpad = b_panel + workspace.b;
    const auto panel = [&](const Matrix& m, long i, long j, long rows, long columns, void* to) {
      const char* data = static_cast<const char*>(m.data);
      return m.transposed ? dense(data, m.stride, j, i, columns, rows, g.bf16, widen, to, path)
                          : dense(data, m.stride, i, j, rows, columns, g.bf16, widen, to, path);
    };
    const long from = part * cut.part_depth, to = std::min(g.depth, from + cut.part_depth);
    for (long k = from; k < to; k += cut.depth) {
      const long depth = std::min(cut.depth, to - k);
      const void* a = panel(g.a, at.row, k, at.rows, depth, a_panel);
      const void* b = panel(g.b, k, at.column, depth, at.columns, b_panel);
      products.at(at.rows, at.columns, depth, k > from)->run(a, b, tile, scratchpad);
    }
    if (cut.parts == 1 && !direct) store(at.row, at.column, at.rows, at.columns, tile);
  });
  if (cut.parts == 1) return;

  pool.for_each(tiles, [&](int, long index) {
    const Place at = place_of(index);
    float* sum = part_of(index, 0);
    with_path(path, [&]() INLINE {
      for (long part = 1; part < cut.parts; part++) add(sum, part_of(index, part), at.rows * at.columns);
    });
    store(at.row, at.column, at.rows, at.columns, sum);
  });
}

}  // namespace

void project(const KernelCall& call, Pool& pool, Path path) {
  const long rows = call.integer(0), outputs = call.integer(1), inputs = call.integer(2);
  const bool out_f32 = call.integer(3), is_bf16 = call.integer(4);
  Gemm gemm{rows, outputs, inputs, {call.operand(1), inputs, false}, {call.operand(2), inputs, true}, is_bf16};
  if ((out_f32 || !is_bf16) && !call.operand(3) && !call.operand(4)) gemm.c = call.as<float>(0);
  with_hidden(is_bf16, out_f32, [&](auto t, auto h) {
    using T = decltype(t);
    using Out = decltype(h);
    Out* out = call.as<Out>(0);
    const Out* residual = call.as<Out>(3);
    const T* bias = call.as<T>(4);
    multiply(gemm, call, pool, path, [&](long row, long column, long tile_rows, long tile_columns, const float* tile) {
      with_path(path, [&]() INLINE {
        for (long r = 0; r < tile_rows; r++) {
          const long at = (row + r) * outputs + column;
          const float* __restrict sum = tile + r * tile_columns;
          for (long c = 0; c < tile_columns; c++)
            out[at + c] = to<Out>((residual ? to_f32(residual[at + c]) : 0.f) + (bias ? to_f32(bias[column + c]) : 0.f) + sum[c]);
        }
      });
    });
  });
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
