// Chunk attention in f32 arithmetic for any head size that is a multiple of 8, over the vectors of simd_avx2.h or
// simd_avx512.h; bf16 is widened when packed. The including file sets the target and names the vectors.
//
// Scores are TRANSPOSED as in attention_avx512bf16.h: rows are kv positions, lanes are q positions, so statistics are
// lane-wise. One 6-row product does all seven: its left side is read by broadcast at any two strides, so p and ds serve both
// as they lie and transposed, and its right side is rows of vectors. f32 products are so much slower than exponentials that
// the textbook order (score tile, maximum, exponentials, product) is enough.
#pragma once
#include <cstring>

#include "attention_items.h"
#include "simd_exp2.h"

namespace fpdt::cpu {
namespace {

template <class V>
struct AttentionF32 {
  using Vector = typename V::Vector;
  static constexpr int W = V::width;
  static constexpr int kTile = 96;  // rows of a kv tile, and of a backward q tile: multiple of 6, W and kPanel
  static_assert(kTile % kPanel == 0 && kPanel % 6 == 0 && kPanel % W == 0 && BackwardItems::kMinTile == kTile);

  // Row length of packed tiles: D, padded with zeros to whole vectors.
  static int padded(int head_size) { return (head_size + W - 1) / W * W; }

  // ---- packing: rows beyond n up to pad, and columns beyond D, become zeros.
  template <class T>
  static void pack_rows(float* out, const T* x, long stride, long n, long pad, int D) {
    const int Dp = padded(D);
    for (long r = 0; r < n; r++)
      for (int d = 0; d < Dp; d += W) V::store(out + r * Dp + d, load_row(x + r * stride + d, D - d));
    std::memset(out + n * Dp, 0, (pad - n) * Dp * 4);
  }
  template <class T>
  INLINE static Vector load_row(const T* x, int left) {
    if (left >= W) return V::load_unaligned(x);
    alignas(64) T last[W] = {};
    std::memcpy(last, x, left * sizeof(T));
    return V::load_unaligned(last);
  }
  // [D][pad]: the transpose, by squares of 8 x 8, from rows that pack_rows made.
  static void transpose(float* out, const float* rows, long pad, int D) {
    const int Dp = padded(D);
    for (long r = 0; r < pad; r += 8)
      for (int d = 0; d < D; d += 8) {
        __m256 x[8], y[8];
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) x[i] = _mm256_load_ps(rows + (r + i) * Dp + d);
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++)
          y[i] = i & 1 ? _mm256_unpackhi_ps(x[i - 1], x[i]) : _mm256_unpacklo_ps(x[i], x[i + 1]);
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {  // x[4g + c]: columns c and 4 + c of rows 4g .. 4g + 3
          const int s = (i & 4) + ((i >> 1) & 1);
          x[i] = i & 1 ? _mm256_shuffle_ps(y[s], y[s + 2], 0xee) : _mm256_shuffle_ps(y[s], y[s + 2], 0x44);
        }
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++) {
          _mm256_store_ps(out + (d + c) * pad + r, _mm256_permute2f128_ps(x[c], x[4 + c], 0x20));
          _mm256_store_ps(out + (d + 4 + c) * pad + r, _mm256_permute2f128_ps(x[c], x[4 + c], 0x31));
        }
      }
  }

  // ---- product: out[R][C vectors] (+)= sum over k < n of a[r * row + k * step] * b[k * ldb + column]. A sum that begins here (a
  // score) is made of sums of kPart terms: summed in one go, scores in the thousands were off by 18 units of 2^-24, D being 256.
  static constexpr long kPart = 32;
  template <int C, bool Add>
  INLINE static void product6(float* out, long ldo, const float* a, long row, long step, const float* b, long ldb, long n) {
    const float* a3 = a + 3 * row;
    for (long done = 0; done < n;) {
      Vector s[6][C];
#pragma GCC unroll 8
      for (int r = 0; r < 6; r++)
#pragma GCC unroll 8
        for (int c = 0; c < C; c++) s[r][c] = Add ? V::load(out + r * ldo + c * W) : V::zero();
      const bool begins = Add || done == 0;
      const long part = Add ? n : std::min(kPart, n - done);
      done += part;
      for (long k = 0; k < part; k++, a += step, a3 += step, b += ldb) {
        Vector bb[C];
#pragma GCC unroll 8
        for (int c = 0; c < C; c++) bb[c] = V::load(b + c * W);
#pragma GCC unroll 8
        for (int r = 0; r < 6; r++) {
          const Vector aa = V::all(r < 3 ? a[r * row] : a3[(r - 3) * row]);
#pragma GCC unroll 8
          for (int c = 0; c < C; c++) s[r][c] = V::fmadd(aa, bb[c], s[r][c]);
        }
      }
#pragma GCC unroll 8
      for (int r = 0; r < 6; r++)
#pragma GCC unroll 8
        for (int c = 0; c < C; c++) {
          float* o = out + r * ldo + c * W;
          V::store(o, begins ? s[r][c] : V::add(V::load(o), s[r][c]));
        }
    }
  }
  // The same over `rows` (a multiple of 6) and `columns` (of W). Not inlined: inside a caller, its inner loop is left without
  // registers for its addresses.
  template <bool Add>
  [[gnu::noinline]] static void product(float* out, long ldo, long rows, long columns, const float* a, long row, long step,
                                        const float* b, long ldb, long n) {
    constexpr int M = V::product_vectors;
    for (long c = 0; c < columns; c += M * W) {
      const long left = std::min<long>(M, (columns - c) / W);
      for (long r = 0; r < rows; r += 6) {
        float* o = out + r * ldo + c;
        const float* left_side = a + r * row;
        if (left == M) product6<M, Add>(o, ldo, left_side, row, step, b + c, ldb, n);
        else if (M > 2 && left == 3) product6<3, Add>(o, ldo, left_side, row, step, b + c, ldb, n);
        else if (M > 2 && left == 2) product6<2, Add>(o, ldo, left_side, row, step, b + c, ldb, n);
        else product6<1, Add>(o, ldo, left_side, row, step, b + c, ldb, n);
      }
    }
  }

  // ---- products under a mask. A pair that does not see each other has weight 0, but 0 times a NaN or an infinity is NaN: where a
  // product may meet such a row of b for a pair that is not to see it, `product_seen` takes its place.
  static bool finite(const float* x, long n) {  // n is a multiple of W
    Vector s[4] = {V::zero(), V::zero(), V::zero(), V::zero()};  // 0 times what is finite
    for (; n >= 4 * W; n -= 4 * W, x += 4 * W)
      for (int i = 0; i < 4; i++) s[i] = V::fmadd(V::load(x + i * W), V::zero(), s[i]);
    for (; n > 0; n -= W, x += W) s[0] = V::fmadd(V::load(x), V::zero(), s[0]);
    alignas(64) float lanes[W];
    V::store(lanes, V::add(V::add(s[0], s[1]), V::add(s[2], s[3])));
    return std::all_of(lanes, lanes + W, [](float lane) { return lane == 0; });
  }
  // Of kv rows [j, j + n), packed from b on, those that not all of `view` see.
  static bool masked_rows_finite(const View& view, const float* b, int Dp, long j, long n) {
    const auto [from, to] = view.seen_by_all(j, n);
    return finite(b, from * Dp) && finite(b + to * Dp, (n - to) * Dp);
  }
  // product<true>, of the pairs (row of out, row of b) with sees(r, k) alone, one after the other: rare, and slow.
  template <class Sees>
  [[gnu::noinline]] static void product_seen(float* out, long ldo, long rows, long columns, const float* a, long row, long step,
                                             const float* b, long ldb, long n, Sees sees) {
    for (long r = 0; r < rows; r++)
      for (long k = 0; k < n; k++) {
        if (!sees(r, k)) continue;
        const Vector x = V::all(a[r * row + k * step]);
        for (long c = 0; c < columns; c += W)
          V::store(out + r * ldo + c, V::fmadd(x, V::load(b + k * ldb + c), V::load(out + r * ldo + c)));
      }
  }

  // ------------------------------------------------------------------ forward

  struct ForwardScratch {
    float *k, *v, *S, *qT, *rows, *acc;
    ForwardScratch(Carver& c, int D)
        : k(c.take<float>(kTile * padded(D))), v(c.take<float>(kTile * padded(D))), S(c.take<float>(kTile * kPanel)),
          qT(c.take<float>(kMaxPanels * kPanel * padded(D))), rows(c.take<float>(kPanel * padded(D))),
          acc(c.take<float>(kMaxPanels * kPanel * padded(D))) {}
  };
  struct Panel {
    alignas(64) float m[kPanel], l[kPanel];
    alignas(64) int from[kPanel], limit[kPanel];
    View view;
    int head;
    long row, rows;
  };

  template <class T>
  static void load_panel(const Attend& a, Panel& p, float* qT, float* rows, float* acc) {
    const int D = a.head_size, Dp = padded(D);
    const long stride = static_cast<long>(a.heads) * D, at = p.row * stride + p.head * D;
    pack_rows(rows, static_cast<const T*>(a.q) + at, stride, p.rows, kPanel, D);
    transpose(qT, rows, kPanel, D);
    for (int r = 0; r < kPanel; r++) {
      const bool known = r < p.rows && !a.first;
      p.m[r] = known ? a.m[p.head * a.rows + p.row + r] : kUnset;
      p.l[r] = known ? a.l[p.head * a.rows + p.row + r] : 0;
      const long row = p.row + std::min<long>(r, p.rows - 1);  // padding lanes copy the last row
      p.from[r] = a.from(row), p.limit[r] = a.limit(row);
    }
    p.view = a.view(p.row, p.rows);
    if (a.first) std::memset(acc, 0, kPanel * Dp * 4);
    else pack_rows(acc, a.acc + at, stride, p.rows, kPanel, D);
  }
  static void store_panel(const Attend& a, const Panel& p, const float* acc) {
    const int D = a.head_size;
    const long stride = static_cast<long>(a.heads) * D, at = p.row * stride + p.head * D;
    std::memcpy(a.m + p.head * a.rows + p.row, p.m, p.rows * 4);
    std::memcpy(a.l + p.head * a.rows + p.row, p.l, p.rows * 4);
    for (int r = 0; r < p.rows; r++) std::memcpy(a.acc + at + r * stride, acc + r * padded(D), D * 4);
  }

  // Online softmax of one panel over kv rows [j0, j0 + n), whose scores are in S; leaves p there.
  static void softmax(Panel& p, float* S, float* acc, int Dp, float log2_scale, int j0, int n) {
    const Vector scale = V::all(log2_scale);
    const auto masked = [&](int j) { return !p.view.sees_all(j0 + j, j0 + j + 1); };
    alignas(64) float factor[kPanel];
    bool raised = false;
    for (int v = 0; v < kPanel; v += W) {
      Vector top = V::all(kMasked);
      for (int j = 0; j < n; j++) {
        Vector s = V::load(S + j * kPanel + v);
        if (masked(j)) {
          s = V::where_within(p.from + v, p.limit + v, j0 + j, s, V::all(kMasked));
          V::store(S + j * kPanel + v, s);
        }
        top = V::max(top, s);
      }
      const Vector old = V::load(p.m + v), m = V::max(old, V::mul(top, scale)), f = exp2<V>(V::sub(old, m));
      raised |= V::any_above(m, old);
      Vector sum = V::zero();
      for (int j = 0; j < n; j++) {
        const Vector e = exp2<V>(V::fmsub(V::load(S + j * kPanel + v), scale, m));
        V::store(S + j * kPanel + v, e);
        sum = V::add(sum, e);
      }
      V::store(factor + v, f), V::store(p.m + v, m);
      V::store(p.l + v, V::fmadd(V::load(p.l + v), f, sum));
    }
    for (int r = 0; r < kPanel && raised; r++)
      for (int d = 0; d < Dp; d += W) V::store(acc + r * Dp + d, V::mul(V::load(acc + r * Dp + d), V::all(factor[r])));
  }

  template <class T>
  static void forward_item(const Attend& a, const ForwardItems::Item& item, const ForwardScratch& w) {
    const int D = a.head_size, Dp = padded(D);
    const long kv_stride = static_cast<long>(a.kv_heads) * D;
    const T *k = static_cast<const T*>(a.k) + item.kv_head * D, *v = static_cast<const T*>(a.v) + item.kv_head * D;
    Panel panels[kMaxPanels];
    int count = 0, first = static_cast<int>(a.columns), last = 0;
    for (int h = item.head; h < item.head + item.heads; h++)
      for (long row = item.row; row < item.row + item.rows; row += kPanel) {
        Panel& p = panels[count];
        p.head = h, p.row = row, p.rows = std::min<long>(kPanel, item.row + item.rows - row);
        load_panel<T>(a, p, w.qT + count * kPanel * Dp, w.rows, w.acc + count * kPanel * Dp);
        first = std::min(first, p.view.from), last = std::max(last, p.view.to), count++;
      }
    // Tiles lie where they lie for any other panel: results do not depend on which panels share an item.
    for (int j0 = first / kTile * kTile; j0 < last; j0 += kTile) {
      const int tile = std::min(kTile, last - j0);
      pack_rows(w.k, k + j0 * kv_stride, kv_stride, tile, (tile + 5) / 6 * 6, D);
      pack_rows(w.v, v + j0 * kv_stride, kv_stride, tile, tile, D);
      for (int x = 0; x < count; x++) {
        Panel& p = panels[x];
        float* acc = w.acc + x * kPanel * Dp;
        // Of the tile, in whole row groups, what any lane sees: [begin, begin + n).
        const int begin = std::max(0, p.view.from - j0) / 6 * 6, n = std::min(tile, p.view.to - j0) - begin;
        if (n <= 0) continue;
        product<false>(w.S, kPanel, (n + 5) / 6 * 6, kPanel, w.k + begin * Dp, Dp, 1, w.qT + x * kPanel * Dp, kPanel, D);
        softmax(p, w.S, acc, Dp, a.log2_scale(), j0 + begin, n);
        const float* v_seen = w.v + begin * Dp;
        if (masked_rows_finite(p.view, v_seen, Dp, j0 + begin, n)) product<true>(acc, Dp, kPanel, Dp, w.S, 1, kPanel, v_seen, Dp, n);
        else
          product_seen(acc, Dp, kPanel, Dp, w.S, 1, kPanel, v_seen, Dp, n, [&](long r, long k) {
            return p.from[r] <= j0 + begin + k && j0 + begin + k < p.limit[r];
          });
      }
    }
    for (int x = 0; x < count; x++) store_panel(a, panels[x], w.acc + x * kPanel * Dp);
  }

  // ------------------------------------------------------------------ backward

  struct KvTile {
    float *k, *v, *dk, *dv;
    KvTile(Carver& c, int D) {
      for (float** x : {&k, &v, &dk, &dv}) *x = c.take<float>(kTile * padded(D));
    }
  };
  struct BackwardScratch {
    KvTile kv[BackwardItems::kMaxKvTiles];
    float *q, *o, *qT, *oT, *P, *dS, *dq, *lse, *delta;
    int *from, *limit;
    BackwardScratch(Carver& c, int D) : kv{KvTile(c, D), KvTile(c, D)} {
      for (float** x : {&q, &o, &qT, &oT, &dq}) *x = c.take<float>(kTile * padded(D));
      for (float** x : {&P, &dS}) *x = c.take<float>(kTile * kTile);
      lse = c.take<float>(kTile), delta = c.take<float>(kTile);
      from = c.take<int>(kTile), limit = c.take<int>(kTile);
    }
  };

  // P holds q kᵀ and becomes p; dS holds dO vᵀ and becomes ds, but for the scale.
  static void gradient_scores(const BackwardScratch& w, const View& view, float log2_scale, long j0, int n) {
    const Vector scale = V::all(log2_scale);
    for (int v = 0; v < kTile; v += W) {
      const Vector lse = V::load(w.lse + v), delta = V::load(w.delta + v);
      for (int j = 0; j < n; j++) {
        float *p = w.P + j * kTile + v, *ds = w.dS + j * kTile + v;
        Vector e = exp2<V>(V::fmsub(V::load(p), scale, lse)), x = V::mul(e, V::sub(V::load(ds), delta));
        if (!view.sees_all(j0 + j, j0 + j + 1)) {  // any of these may be NaN where nothing is seen
          e = V::where_within(w.from + v, w.limit + v, static_cast<int>(j0 + j), e, V::zero());
          x = V::where_within(w.from + v, w.limit + v, static_cast<int>(j0 + j), x, V::zero());
        }
        V::store(p, e), V::store(ds, x);
      }
    }
  }

  // out (rows `stride` apart) = or += factor * tile.
  static void add_tile(float* out, long stride, const float* tile, long rows, int D, float factor, bool write) {
    const int Dp = padded(D);
    for (long r = 0; r < rows; r++, out += stride, tile += Dp) {
      int d = 0;
      for (; d + W <= D; d += W) {
        const Vector x = V::mul(V::all(factor), V::load(tile + d));
        V::store_unaligned(out + d, write ? x : V::add(V::load_unaligned(out + d), x));
      }
      for (; d < D; d++) out[d] = write ? factor * tile[d] : out[d] + factor * tile[d];
    }
  }

  // q rows [row, row + rows) of head h against the packed kv tiles: their dk and dv grow, dq is added to the tensor.
  template <class T>
  static void backward_rows(const AttendBackward& a, const BackwardItems::Item& item, const BackwardScratch& w, int h, long row,
                            long rows) {
    const int D = a.head_size, Dp = padded(D);
    const long stride = static_cast<long>(a.heads) * D, at = row * stride + h * D;
    const bool write = a.first_q && item.q_turn == 0;
    View view = a.view(row, rows);
    if (!view.sees_any(item.column, item.column + item.columns) && !write) return;
    pack_rows(w.q, static_cast<const T*>(a.q) + at, stride, rows, kTile, D);
    pack_rows(w.o, static_cast<const T*>(a.dout) + at, stride, rows, kTile, D);
    transpose(w.qT, w.q, kTile, D), transpose(w.oT, w.o, kTile, D);
    for (int r = 0; r < kTile; r++) {
      const long s = h * a.rows + row + r;
      const bool real = r < rows && a.lse[s] != -INFINITY;  // else a padding lane, or a row that saw nothing
      w.lse[r] = real ? a.lse[s] * kLog2e : 0;
      w.delta[r] = real ? a.delta[s] : 0;
      w.from[r] = real ? a.from(row + r) : 0, w.limit[r] = real ? a.limit(row + r) : 0;
      if (!real) view.all_to = 0;
    }
    std::memset(w.dq, 0, kTile * Dp * 4);
    const long end = std::min<long>(item.column + item.columns, view.to);
    for (long j0 = item.column, t = 0; j0 < end; j0 += item.tile, t++) {
      if (j0 + item.tile <= view.from) continue;
      const KvTile& kv = w.kv[t];
      const int n = static_cast<int>(std::min(item.tile, item.column + item.columns - j0)), n6 = (n + 5) / 6 * 6;
      product<false>(w.P, kTile, n6, kTile, kv.k, Dp, 1, w.qT, kTile, D);
      product<false>(w.dS, kTile, n6, kTile, kv.v, Dp, 1, w.oT, kTile, D);
      gradient_scores(w, view, a.log2_scale(), j0, n6);
      const bool whole = view.sees_all(j0, j0 + n);
      const auto sees = [&](long i, long j) { return w.from[i] <= j0 + j && j0 + j < w.limit[i]; };
      const auto rows_see = [&](long j, long i) { return sees(i, j); };
      if (whole || finite(w.o, rows * Dp)) product<true>(kv.dv, Dp, n6, Dp, w.P, kTile, 1, w.o, Dp, rows);
      else product_seen(kv.dv, Dp, n, Dp, w.P, kTile, 1, w.o, Dp, rows, rows_see);
      if (whole || finite(w.q, rows * Dp)) product<true>(kv.dk, Dp, n6, Dp, w.dS, kTile, 1, w.q, Dp, rows);
      else product_seen(kv.dk, Dp, n, Dp, w.dS, kTile, 1, w.q, Dp, rows, rows_see);
      if (masked_rows_finite(view, kv.k, Dp, j0, n)) product<true>(w.dq, Dp, kTile, Dp, w.dS, 1, kTile, kv.k, Dp, n);
      else product_seen(w.dq, Dp, rows, Dp, w.dS, 1, kTile, kv.k, Dp, n, sees);
    }
    BackwardItems::await_turn(item.q_turns, item.q_turn);
    add_tile(a.dq + at, stride, w.dq, rows, D, a.scale(), write);
  }

  template <class T>
  static void backward_item(const AttendBackward& a, const BackwardItems::Item& item, const BackwardScratch& w) {
    const int D = a.head_size;
    const long stride = static_cast<long>(a.kv_heads) * D, end = item.column + item.columns;
    auto each_kv_tile = [&](auto body) {
      for (long j0 = item.column, t = 0; j0 < end; j0 += item.tile, t++)
        body(w.kv[t], j0 * stride + item.kv_head * D, std::min(item.tile, end - j0));
    };
    each_kv_tile([&](const KvTile& kv, long at, long columns) {
      pack_rows(kv.k, static_cast<const T*>(a.k) + at, stride, columns, tiles_of(columns, 6) * 6, D);
      pack_rows(kv.v, static_cast<const T*>(a.v) + at, stride, columns, tiles_of(columns, 6) * 6, D);
      std::memset(kv.dk, 0, kTile * padded(D) * 4), std::memset(kv.dv, 0, kTile * padded(D) * 4);
    });
    for (int h = item.kv_head * a.group(); h < (item.kv_head + 1) * a.group(); h++)
      for (long row = item.row; row < item.row + item.rows; row += item.tile)
        backward_rows<T>(a, item, w, h, row, std::min(item.tile, item.row + item.rows - row));
    BackwardItems::await_turn(item.kv_turns, item.kv_turn);
    each_kv_tile([&](const KvTile& kv, long at, long columns) {
      const bool write = a.first_kv && item.kv_turn == 0;
      add_tile(a.dk + at, stride, kv.dk, columns, D, a.scale(), write);
      add_tile(a.dv + at, stride, kv.dv, columns, D, 1, write);
    });
  }

  static void attend(const Attend& a, Pool& pool, Carver workspace) {
    const PerThread<ForwardScratch> scratch(workspace, pool.threads(), a.head_size);
    const ForwardItems items(a, pool.threads());
    pool.for_each(items.count(), [&](int thread, long i) {
      (a.is_bf16 ? forward_item<bf16> : forward_item<float>)(a, items[i], scratch.of(thread));
    });
  }
  static void attend_backward(const AttendBackward& a, Pool& pool, Carver workspace) {
    const PerThread<BackwardScratch> scratch(workspace, pool.threads(), a.head_size);
    BackwardItems items(a, kTile, workspace);
    items.run(pool, [&](int thread, const BackwardItems::Item& item) {
      (a.is_bf16 ? backward_item<bf16> : backward_item<float>)(a, item, scratch.of(thread));
    });
  }
};

}  // namespace
}  // namespace fpdt::cpu
