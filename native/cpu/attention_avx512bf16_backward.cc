// Chunk attention with AVX-512 bf16 dot products, backward. attention_avx512bf16.h says how scores, tiles and products lie.
#ifdef __x86_64__
#include "attention_items.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,bmi2,fma")
// The target holds for all that follows.
#include "attention_avx512bf16.h"

namespace fpdt::cpu::avx512bf16 {
namespace {

struct KvTile {
  uint32_t *K, *V, *Kpairs;
  float *dk, *dv;
  KvTile(Carver& c, int D)
      : K(c.take<uint32_t>(kTile * D / 2)), V(c.take<uint32_t>(kTile * D / 2)), Kpairs(c.take<uint32_t>(kTile * D / 2)),
        dk(c.take<float>(kTile * D)), dv(c.take<float>(kTile * D)) {}
};
struct BackwardScratch {
  KvTile kv[BackwardItems::kMaxKvTiles];
  uint32_t *qT, *oT, *qPairs, *oPairs;  // of the q tile: q and dO
  uint32_t *P, *dS, *dSpairs;           // p and ds as bf16 rows (pairs along q), ds once more as pairs along kv
  float *lse, *delta, *dq;
  int *from, *limit;
  BackwardScratch(Carver& c, int D) : kv{KvTile(c, D), KvTile(c, D)} {
    for (uint32_t** x : {&qT, &oT, &qPairs, &oPairs}) *x = c.take<uint32_t>(kTile * D / 2);
    for (uint32_t** x : {&P, &dS, &dSpairs}) *x = c.take<uint32_t>(kTile * kTile / 2);
    dq = c.take<float>(kTile * D), lse = c.take<float>(kTile), delta = c.take<float>(kTile);
    from = c.take<int>(kTile), limit = c.take<int>(kTile);
  }
};

// The q tile in hand: rows [row, row + 48 panels), and what each panel sees.
struct QTile {
  long row;
  int panels;
  View view[kTile / kPanel];
};

// p and ds of kv rows [j0, j0 + n) against panel x of the q tile, which sees `view`.
template <int D>
void gradient_scores(const BackwardScratch& w, const KvTile& kv, int x, const View& view, float log2_scale, long j0, int n) {
  const uint32_t *qT = w.qT + x * kPanel * D / 2, *oT = w.oT + x * kPanel * D / 2;
  uint32_t *P = w.P + x * kPanel / 2, *dS = w.dS + x * kPanel / 2, *dSpairs = w.dSpairs + x * kPanel * kTile / 2;
  const float *lse = w.lse + x * kPanel, *delta = w.delta + x * kPanel;
  const int *from = w.from + x * kPanel, *limit = w.limit + x * kPanel;
  const __m512 scale = _mm512_set1_ps(log2_scale);
  for (int j = 0; j < n; j += 8) {
    if (!view.sees_any(j0 + j, j0 + j + 8)) {  // no lane sees these rows, but the products below read them
      for (int r = 0; r < 8; r++) {
        std::memset(P + (j + r) * (kTile / 2), 0, kPanel * 2), std::memset(dS + (j + r) * (kTile / 2), 0, kPanel * 2);
        if (r % 2 == 0) std::memset(dSpairs + (j + r) / 2 * kPanel, 0, kPanel * 4);
      }
      continue;
    }
    Block s, p;
    score_block<D>(p, kv.K + j * (D / 2), qT, kNoWork);
    score_block<D>(s, kv.V + j * (D / 2), oT, [&](int v, int r) {
      const __m512 l = _mm512_load_ps(lse + 16 * v);
      p[v][r] = exp2_bf16(_mm512_fmsub_ps(p[v][r], scale, l));
      p[v][r + 1] = exp2_bf16(_mm512_fmsub_ps(p[v][r + 1], scale, l));
    });
    const bool masked = !view.sees_all(j0 + j, j0 + j + 8);
    const __m512 d0 = _mm512_load_ps(delta), d1 = _mm512_load_ps(delta + 16), d2 = _mm512_load_ps(delta + 32);
    for (int r = 0; r < 8; r += 2) {
      __m512 e[2][3];
#pragma GCC unroll 2
      for (int i = 0; i < 2; i++) {
        __m512 a = p[0][r + i], b = p[1][r + i], c = p[2][r + i];
        e[i][0] = _mm512_mul_ps(a, _mm512_sub_ps(s[0][r + i], d0));
        e[i][1] = _mm512_mul_ps(b, _mm512_sub_ps(s[1][r + i], d1));
        e[i][2] = _mm512_mul_ps(c, _mm512_sub_ps(s[2][r + i], d2));
        if (masked) {  // any of these may be NaN, or infinite, where nothing is seen
          const __mmask16 see[] = {seen(from, limit, 0, j0 + j + r + i), seen(from, limit, 1, j0 + j + r + i), seen(from, limit, 2, j0 + j + r + i)};
          a = _mm512_maskz_mov_ps(see[0], a), b = _mm512_maskz_mov_ps(see[1], b), c = _mm512_maskz_mov_ps(see[2], c);
          // no loop: an index that varies would keep e in memory
          e[i][0] = _mm512_maskz_mov_ps(see[0], e[i][0]), e[i][1] = _mm512_maskz_mov_ps(see[1], e[i][1]);
          e[i][2] = _mm512_maskz_mov_ps(see[2], e[i][2]);
        }
        uint32_t *p_row = P + (j + r + i) * (kTile / 2), *ds_row = dS + (j + r + i) * (kTile / 2);
        _mm512_storeu_si512(p_row, (__m512i)_mm512_cvtne2ps_pbh(b, a));
        _mm256_storeu_si256((__m256i*)(p_row + 16), (__m256i)_mm512_cvtneps_pbh(c));
        _mm512_storeu_si512(ds_row, (__m512i)_mm512_cvtne2ps_pbh(e[i][1], e[i][0]));
        _mm256_storeu_si256((__m256i*)(ds_row + 16), (__m256i)_mm512_cvtneps_pbh(e[i][2]));
      }
#pragma GCC unroll 3
      for (int v = 0; v < 3; v++) _mm512_store_si512(dSpairs + (j + r) / 2 * kPanel + 16 * v, pair_rows(e[0][v], e[1][v]));
    }
  }
}

// out (rows `stride` apart) = or += factor * tile.
template <int D>
void add_tile(float* out, long stride, const float* tile, long rows, float factor, bool write) {
  const __m512 f = _mm512_set1_ps(factor);
  for (long r = 0; r < rows; r++)
    for (int d = 0; d < D; d += 16) {
      const __m512 x = _mm512_mul_ps(f, _mm512_load_ps(tile + r * D + d));
      float* o = out + r * stride + d;
      _mm512_storeu_ps(o, write ? x : _mm512_add_ps(_mm512_loadu_ps(o), x));
    }
}

// kv rows of a tile against the packed q rows of a tile: dq, dk and dv of the tiles grow. `fetch(i)` is called 64 times between
// the products, to bring what the next tile needs closer.
template <int D, class Fetch>
void multiply_tiles(const AttendBackward& a, const BackwardScratch& w, const KvTile& kv, const QTile& q, long j0, int n,
                    Fetch fetch) {
  // The q row of the tile that is the first to see kv row 0 of its tile, if not negative. Products over q rows take pairs of
  // rows from the first that may see kv row r, by causality, to the end of the last panel that sees it or a row before.
  const long first_row = a.kv_start + j0 - a.q_start - q.row;
  const int first_panel = static_cast<int>(std::max(0L, first_row) / kPanel);
  auto panels = [&](long kv_rows) {
    int end = q.panels;
    while (end > first_panel && q.view[end - 1].from >= j0 + kv_rows) end--;
    return end;
  };
  auto first_pair = [&](long r) { return std::max<long>(first_panel * (kPanel / 2), (first_row + r) / 2); };
  auto last_pair = [&](long r) { return panels(r + 6) * (kPanel / 2); };
  bool whole = true, k_clean = true;
  for (int x = first_panel; x < panels(n); x++) {
    gradient_scores<D>(w, kv, x, q.view[x], a.log2_scale(), j0, n);
    whole = whole && q.view[x].sees_all(j0, j0 + n);
    k_clean = k_clean && masked_rows_finite<D>(q.view[x], kv.Kpairs, j0, n);
  }
  const long q_rows = q.panels * kPanel;
  const bool o_clean = whole || rows_finite<D>(w.oPairs, 0, q_rows), q_clean = whole || rows_finite<D>(w.qPairs, 0, q_rows);
  const auto sees = [&](long i, long j) { return w.from[i] <= j0 + j && j0 + j < w.limit[i]; };
  const auto rows_see = [&](long j, long i) { return sees(i, j); };
  const bf16 *P = reinterpret_cast<const bf16*>(w.P), *dS = reinterpret_cast<const bf16*>(w.dS);
  if (!o_clean) add_seen<D>(kv.dv, n, w.oPairs, q_rows, [&](long j, long i) { return P[j * kTile + i]; }, rows_see);
  if (!q_clean) add_seen<D>(kv.dk, n, w.qPairs, q_rows, [&](long j, long i) { return dS[j * kTile + i]; }, rows_see);
  if (!k_clean) add_seen<D>(w.dq, q_rows, kv.Kpairs, n, [&](long i, long j) { return dS[j * kTile + i]; }, sees);
  for (int d = 0; d < D; d += 64) {
    const uint32_t *o_pairs = w.oPairs + d * (kTile / 2), *q_pairs = w.qPairs + d * (kTile / 2);
    const uint32_t* k_pairs = kv.Kpairs + d * (kTile / 2);
    for (long r = 0; r < n; r += 6) {
      if (d == 0) fetch(r / 6);
      const long from = first_pair(r), end = last_pair(r);
      if (from >= end || !o_clean) continue;
      dot_into<D, kTile / 2, 1>(kv.dv + r * D + d, w.P + r * (kTile / 2) + from, o_pairs + from * 64, end - from);
    }
    for (long r = 0; r < n; r += 6) {
      if (d == 0) fetch(kTile / 6 + r / 6);
      const long from = first_pair(r), end = last_pair(r);
      if (from >= end || !q_clean) continue;
      dot_into<D, kTile / 2, 1>(kv.dk + r * D + d, w.dS + r * (kTile / 2) + from, q_pairs + from * 64, end - from);
    }
    for (int r = first_panel * kPanel; r < panels(n) * kPanel; r += 6) {
      const long from = std::max(0L, q.view[r / kPanel].from - j0) / 2, end = std::min<long>(n / 2, (w.limit[r + 5] - j0 + 1) / 2);
      if (from >= end || !k_clean) continue;
      const uint32_t* ds = w.dSpairs + r / kPanel * (kPanel * kTile / 2) + r % kPanel;
      dot_into<D, 1, kPanel>(w.dq + r * D + d, ds + from * kPanel, k_pairs + from * 64, end - from);
    }
  }
}

// q rows [row, row + rows) of head h against the packed kv tiles: their dk and dv grow, dq is added to the tensor.
template <int D>
void backward_rows(const AttendBackward& a, const BackwardItems::Item& item, const BackwardScratch& w, int h, long row,
                   long rows) {
  const bool write = a.first_q && item.q_turn == 0;
  const View view = a.view(row, rows);
  if (!view.sees_any(item.column, item.column + item.columns) && !write) return;
  const long stride = static_cast<long>(a.heads) * D, head = h * D, at = row * stride + head;
  const int panels = static_cast<int>(tiles_of(rows, kPanel));
  QTile tile{row, panels, {}};
  for (int x = 0; x < panels; x++) tile.view[x] = a.view(row + x * kPanel, std::min<long>(kPanel, rows - x * kPanel));
  const bf16 *q = static_cast<const bf16*>(a.q), *o = static_cast<const bf16*>(a.dout);
  pack_transposed(w.qT, q + at, stride, rows, panels * kPanel, D);
  pack_transposed(w.oT, o + at, stride, rows, panels * kPanel, D);
  pack_pairs(w.qPairs, q + at, stride, rows, panels * kPanel, D, kTile / 2);
  pack_pairs(w.oPairs, o + at, stride, rows, panels * kPanel, D, kTile / 2);
  for (long r = 0; r < panels * kPanel; r++) {
    const long s = h * a.rows + row + r;
    const bool real = r < rows && a.lse[s] != -INFINITY;
    w.lse[r] = real ? a.lse[s] * kLog2e : -kUnset;  // a padding lane, or a row that saw nothing, gets p = 0 everywhere
    w.delta[r] = real ? a.delta[s] : 0;
    const long lane = row + std::min(r, rows - 1);  // padding lanes copy the last row
    w.from[r] = a.from(lane), w.limit[r] = a.limit(lane);
  }
  std::memset(w.dq, 0, panels * kPanel * D * 4);
  const long end = std::min<long>(item.column + item.columns, view.to), next = row + rows;
  for (long j0 = item.column, t = 0; j0 < end; j0 += item.tile, t++) {
    if (j0 + item.tile <= view.from) continue;
    const int n = static_cast<int>(tiles_of(std::min(item.tile, item.column + item.columns - j0), 24) * 24);
    const bool last = j0 + item.tile >= end;
    multiply_tiles<D>(a, w, w.kv[t], tile, j0, n, [&](long i) {
      if (!last) return;
      fetch_sums<D>(a.dq + at, stride, 3 * i, 3, rows);
      fetch_rows<D>(q + head, stride, next + 3 * i, 3, item.row + item.rows);
      fetch_rows<D>(o + head, stride, next + 3 * i, 3, item.row + item.rows);
    });
  }
  BackwardItems::await_turn(item.q_turns, item.q_turn);
  add_tile<D>(a.dq + at, stride, w.dq, rows, a.scale(), write);
}

template <int D>
void backward_item(const AttendBackward& a, const BackwardItems::Item& item, const BackwardScratch& w) {
  const long stride = static_cast<long>(a.kv_heads) * D, end = item.column + item.columns;
  auto each_kv_tile = [&](auto body) {
    for (long j0 = item.column, t = 0; j0 < end; j0 += item.tile, t++)
      body(w.kv[t], j0 * stride + item.kv_head * D, std::min(item.tile, end - j0));
  };
  each_kv_tile([&](const KvTile& kv, long at, long columns) {
    const bf16 *k = static_cast<const bf16*>(a.k) + at, *v = static_cast<const bf16*>(a.v) + at;
    const long n = tiles_of(columns, 24) * 24;  // whole score blocks and row groups
    pack_rows(kv.K, k, stride, columns, n, D), pack_rows(kv.V, v, stride, columns, n, D);
    pack_pairs(kv.Kpairs, k, stride, columns, n, D, kTile / 2);
    std::memset(kv.dk, 0, n * D * 4), std::memset(kv.dv, 0, n * D * 4);
  });
  for (int h = item.kv_head * a.group(); h < (item.kv_head + 1) * a.group(); h++)
    for (long row = item.row; row < item.row + item.rows; row += item.tile)
      backward_rows<D>(a, item, w, h, row, std::min(item.tile, item.row + item.rows - row));
  BackwardItems::await_turn(item.kv_turns, item.kv_turn);
  each_kv_tile([&](const KvTile& kv, long at, long columns) {
    const bool write = a.first_kv && item.kv_turn == 0;
    add_tile<D>(a.dk + at, stride, kv.dk, columns, a.scale(), write), add_tile<D>(a.dv + at, stride, kv.dv, columns, 1, write);
  });
}

}  // namespace

void attend_backward(const AttendBackward& a, Pool& pool, Carver workspace) {
  const PerThread<BackwardScratch> scratch(workspace, pool.threads(), a.head_size);
  BackwardItems items(a, kTile, workspace);
  items.run(pool, [&](int thread, const BackwardItems::Item& item) {
    (a.head_size == 64 ? backward_item<64> : backward_item<128>)(a, item, scratch.of(thread));
  });
}

}  // namespace fpdt::cpu::avx512bf16
#pragma GCC pop_options
#endif
