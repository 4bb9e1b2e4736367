// Chunk attention with AVX-512 bf16 dot products (vdpbf16ps), head size 64 or 128.
//
// Every score product is computed TRANSPOSED: rows are kv positions, vector lanes are q positions. Row max, row sum, lse and
// delta are then plain lane-wise vectors (no horizontal reduction), and two neighbouring kv rows convert straight into the
// [pair][lane] layout vdpbf16ps wants, so no score tile is ever transposed, forward or backward.
//
// Two register tiles do all seven products: 8 kv rows x 48 q lanes (s, dP) and 6 rows x 64 columns (PV, dv, dk, dq). K, V, q
// and dO are packed tile by tile into the scratch of a thread, so the workspace does not grow with the chunk.
#ifdef __x86_64__
#include "attention_items.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,bmi2,fma")
#include "attention_pack.h"
#include "simd_avx512.h"
#include "simd_exp2.h"
namespace fpdt::cpu::avx512bf16 {
namespace {

constexpr int kTile = 192;  // rows of a tile: multiple of 8 (score blocks), 6 (row groups) and kPanel
static_assert(kPanel == 48 && kTile % kPanel == 0);

// s[R][C] += A * B over Steps bf16 pairs; advances a and b. A is read as broadcast dwords (one pair each) with compile-time
// strides, B as [pair][16 * C] dwords. 8x3 and 6x4 both keep 24 accumulators: enough independent chains for two dot products
// a cycle, with 11 or 10 loads per 24 products, well below the two loads a cycle the core can do.
template <int R, int C, int RowStride, int PairStride, int Steps>
INLINE static inline void dot_step(__m512 (&s)[R][C], const uint32_t*& a, const uint32_t*& b) {
#pragma GCC unroll 4
  for (int k = 0; k < Steps; k++, a += PairStride, b += 16 * C) {
    __m512bh bb[C];
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) bb[c] = (__m512bh)_mm512_load_si512(b + 16 * c);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const __m512bh aa = (__m512bh)_mm512_set1_epi32(a[r * RowStride]);
#pragma GCC unroll 8
      for (int c = 0; c < C; c++) s[r][c] = _mm512_dpbf16_ps(s[r][c], aa, bb[c]);
    }
  }
}

// 6x64 block of an f32 tile with rows of D: out += A * B.
template <int D, int RowStride, int PairStride>
INLINE static inline void dot_into(float* out, const uint32_t* a, const uint32_t* b, long pairs) {
  __m512 s[6][4];
#pragma GCC unroll 8
  for (int r = 0; r < 6; r++)
#pragma GCC unroll 8
    for (int c = 0; c < 4; c++) s[r][c] = _mm512_load_ps(out + r * D + 16 * c);
  for (long k = 0; k < pairs; k++) dot_step<6, 4, RowStride, PairStride, 1>(s, a, b);
#pragma GCC unroll 8
  for (int r = 0; r < 6; r++)
#pragma GCC unroll 8
    for (int c = 0; c < 4; c++) _mm512_store_ps(out + r * D + 16 * c, s[r][c]);
}

using Block = __m512[3][8];  // 8 kv rows x 48 q lanes of scores, [vector][row]

// out = A (8 rows of D values) * one packed panel, with work(v, r) called twelve times between the products. Half of the
// instructions of an exponential run on pipes the dot products leave idle, but only when both are close enough for the
// out-of-order window to mix them: hence the weave. The accumulators must stay in a local array whose every index is constant
// after unrolling; one variable index anywhere and gcc keeps all 24 in memory, at half the speed.
template <int D, class Work>
INLINE static inline void score_block(Block& out, const uint32_t* a, const uint32_t* b, Work work) {
  __m512 s[8][3];
#pragma GCC unroll 8
  for (int r = 0; r < 8; r++)
#pragma GCC unroll 3
    for (int v = 0; v < 3; v++) s[r][v] = _mm512_setzero_ps();
  for (int v = 0; v < 3; v++)
    for (int r = 0; r < 8; r += 2) {
      dot_step<8, 3, D / 2, 1, D / 32>(s, a, b);
      work(v, r);
    }
  for (int k = 0; k < 4; k++) dot_step<8, 3, D / 2, 1, D / 32>(s, a, b);
#pragma GCC unroll 8
  for (int r = 0; r < 8; r++)
#pragma GCC unroll 3
    for (int v = 0; v < 3; v++) out[v][r] = s[r][v];
}
constexpr auto kNoWork = [](int, int) {};

// 2^t, relative error 3e-6 (the result is rounded to bf16, 4e-3). scalef saturates to 0 and inf, so no clamp is needed on
// either side; an exponent formed by integer shifts would wrap, and a lazy reference could not be trusted.
INLINE static inline __m512 exp2_bf16(__m512 t) {
  const __m512 n = _mm512_roundscale_ps(t, 0), f = _mm512_sub_ps(t, n);
  __m512 p = _mm512_set1_ps(0.0095701f);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.05591786f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.24024745f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.69312181f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.99999926f));
  return _mm512_scalef_ps(p, n);
}

// Two neighbouring rows to bf16 pairs: dword lane i = (low[i], high[i]).
INLINE static inline __m512i pair_rows(__m512 low, __m512 high) {
  const __m512i interleave = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
                                              5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(interleave, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

// Lanes of vector v that see kv row j: the row of lane i sees [from[i], limit[i]).
INLINE static inline __mmask16 seen(const int* from, const int* limit, int v, long j) {
  const __m512i row = _mm512_set1_epi32((int)j);
  const __mmask16 begun = _mm512_cmple_epi32_mask(_mm512_load_si512(from + 16 * v), row);
  return _mm512_mask_cmpgt_epi32_mask(begun, _mm512_load_si512(limit + 16 * v), row);
}

// Fetches rows [r, r + n) of a tensor into L2: its rows lie far apart, which the hardware does not foresee.
template <int D>
INLINE static inline void fetch_rows(const bf16* x, long stride, long r, long n, long end) {
  for (long last = std::min(r + n, end); r < last; r++)
    for (int d = 0; d < D; d += 32) _mm_prefetch((const char*)(x + r * stride + d), _MM_HINT_T1);
}

// The same of sums, to be written.
template <int D>
INLINE static inline void fetch_sums(const float* x, long stride, long r, long n, long end) {
  for (long last = std::min(r + n, end); r < last; r++)
    for (int d = 0; d < D; d += 16) __builtin_prefetch(x + r * stride + d, 1, 2);
}

// ---- products under a mask. A pair that does not see each other has weight 0, but 0 times a NaN or an infinity is NaN: where a
// product may meet such a row of B for a pair that is not to see it, `add_seen` takes its place. B is what pack_pairs made.
template <int D>
bool rows_finite(const uint32_t* b, long from, long to) {
  const __m512i exponent = _mm512_set1_epi16(0x7f80);
  __m512i largest[2] = {};
  for (int d = 0; d < D; d += 64)
    for (long i = from / 2 * 64; i < (to + 1) / 2 * 64; i += 32)
      for (int half = 0; half < 2; half++) {
        const __m512i x = _mm512_load_si512(b + d * (kTile / 2) + i + 16 * half);
        largest[half] = _mm512_max_epu16(largest[half], _mm512_and_si512(x, exponent));
      }
  return _mm512_cmpeq_epi16_mask(_mm512_max_epu16(largest[0], largest[1]), exponent) == 0;
}
// Of kv rows [j, j + n), of which b begins with row j (even), those that not all of `view` see.
template <int D>
bool masked_rows_finite(const View& view, const uint32_t* b, long j, long n) {
  const long from = std::clamp(view.all_from - j, 0L, n), to = std::clamp(view.all_to - j, from, n);
  return rows_finite<D>(b, 0, from) && rows_finite<D>(b, to, n);
}
// out[r] += weight(r, k) * row k of B for the pairs with sees(r, k), one after the other: rare, and slow.
template <int D, class Weight, class Sees>
[[gnu::noinline]] void add_seen(float* out, long rows, const uint32_t* b, long n, Weight weight, Sees sees) {
  for (long r = 0; r < rows; r++)
    for (long k = 0; k < n; k++) {
      if (!sees(r, k)) continue;
      const __m512 w = _mm512_set1_ps(to_f32(weight(r, k)));
      for (int d = 0; d < D; d += 16) {
        const __m512i pair = _mm512_load_si512(b + d / 64 * (kTile / 2) * 64 + k / 2 * 64 + d % 64);
        const __m512i x = k % 2 ? _mm512_and_si512(pair, _mm512_set1_epi32(0xffff0000)) : _mm512_slli_epi32(pair, 16);
        _mm512_store_ps(out + r * D + d, _mm512_fmadd_ps(w, (__m512)x, _mm512_load_ps(out + r * D + d)));
      }
    }
}

// ------------------------------------------------------------------ forward

struct ForwardScratch {
  uint32_t *K, *V, *P, *qT;
  float* acc;
  ForwardScratch(Carver& c, int D)
      : K(c.take<uint32_t>(kTile * D / 2)), V(c.take<uint32_t>(kTile * D / 2)), P(c.take<uint32_t>(kTile / 2 * kPanel)),
        qT(c.take<uint32_t>(kMaxPanels * kPanel * D / 2)), acc(c.take<float>(kMaxPanels * kPanel * D)) {}
};

struct Panel {                        // running softmax of 48 q rows, one row per lane
  alignas(64) float m[kPanel], l[kPanel];  // m in log2 units, l = sum of 2^(score - m)
  alignas(64) int from[kPanel], limit[kPanel];
  View view;
  int head;
  long row, rows;
};

// Scores of kv rows [j0, j0 + n) against one panel. Writes p = 2^(score - m) as bf16 pairs and adds the row sums to sum. The
// exponentials of a block run between the products of the next one.
template <int D>
void scores(const uint32_t* K, const uint32_t* qT, const Panel& panel, float log2_scale, int j0, int n, uint32_t* P,
            __m512 (&sum)[3]) {
  Block buffer[2];
  const __m512 scale = _mm512_set1_ps(log2_scale);
  score_block<D>(buffer[0], K, qT, kNoWork);
  for (int j = 0; j < n; j += 8) {
    Block &now = buffer[j / 8 & 1], &next = buffer[~(j / 8) & 1];
    uint32_t* out = P + j / 2 * kPanel;
    const auto exponentials = [&](auto masked) {
      return [&](int v, int r) INLINE {
        __m512 s[2] = {now[v][r], now[v][r + 1]};
        if (masked)  // diagonal, tail, or an edge of a document: lanes that do not see the row get p = 0
          for (int i = 0; i < 2; i++)
            s[i] = _mm512_mask_mov_ps(_mm512_set1_ps(kMasked), seen(panel.from, panel.limit, v, j0 + j + r + i), s[i]);
        const __m512 m = _mm512_load_ps(panel.m + 16 * v);
        const __m512 a = exp2_bf16(_mm512_fmsub_ps(s[0], scale, m)), b = exp2_bf16(_mm512_fmsub_ps(s[1], scale, m));
        sum[v] = _mm512_add_ps(sum[v], _mm512_add_ps(a, b));
        _mm512_store_si512(out + r / 2 * kPanel + 16 * v, pair_rows(a, b));
      };
    };
    const auto finish_block = [&](auto work) INLINE {
      if (j + 8 < n) return score_block<D>(next, K + (j + 8) * (D / 2), qT, work);
      for (int v = 0; v < 3; v++)
        for (int r = 0; r < 8; r += 2) work(v, r);
    };
    if (panel.view.sees_all(j0 + j, j0 + j + 8)) finish_block(exponentials(std::false_type{}));
    else finish_block(exponentials(std::true_type{}));
  }
}

// Raises the reference exponent of a panel to the true maximum over these kv rows and rescales what was accumulated under the
// old one.
template <int D>
void raise_reference(const uint32_t* K, const uint32_t* qT, Panel& panel, float log2_scale, int j0, int n, float* acc) {
  __m512 top[3];
  for (auto& t : top) t = _mm512_set1_ps(kUnset);
  for (int j = 0; j < n; j += 8) {
    Block s;
    score_block<D>(s, K + j * (D / 2), qT, kNoWork);
    for (int v = 0; v < 3; v++)
      for (int r = 0; r < 8; r++)
        top[v] = _mm512_mask_max_ps(top[v], seen(panel.from, panel.limit, v, j0 + j + r), top[v],
                                    _mm512_mul_ps(s[v][r], _mm512_set1_ps(log2_scale)));
  }
  alignas(64) float factor[kPanel];
  for (int v = 0; v < 3; v++) {
    const __m512 old = _mm512_load_ps(panel.m + 16 * v), m = _mm512_max_ps(old, top[v]);
    const __m512 f = exp2<Avx512>(_mm512_sub_ps(old, m));  // exact where m stays: such a row must not change
    _mm512_store_ps(factor + 16 * v, f);
    _mm512_store_ps(panel.m + 16 * v, m);
    _mm512_store_ps(panel.l + 16 * v, _mm512_mul_ps(_mm512_load_ps(panel.l + 16 * v), f));
  }
  for (int r = 0; r < kPanel; r++)
    for (int d = 0; d < D; d += 16)
      _mm512_store_ps(acc + r * D + d, _mm512_mul_ps(_mm512_load_ps(acc + r * D + d), _mm512_set1_ps(factor[r])));
}

// A panel begins with the reference of the state but with empty sums; `store_panel` adds those of the state. So the state is
// read once and at the end, when its rows have been fetched.
template <int D>
void load_panel(const Attend& a, Panel& panel, uint32_t* qT, float* acc) {
  const long stride = static_cast<long>(a.heads) * D, at = panel.row * stride + panel.head * D;
  pack_transposed(qT, static_cast<const bf16*>(a.q) + at, stride, panel.rows, kPanel, D);
  for (int r = 0; r < kPanel; r++) {
    const long row = panel.row + std::min<long>(r, panel.rows - 1);  // padding lanes copy the last row
    panel.from[r] = a.from(row), panel.limit[r] = a.limit(row);
    panel.m[r] = r < panel.rows && !a.first ? a.m[panel.head * a.rows + row] : kUnset;
    panel.l[r] = 0;
  }
  std::memset(acc, 0, kPanel * D * 4);
}
template <int D>
void store_panel(const Attend& a, Panel& panel, const float* acc) {
  const long stride = static_cast<long>(a.heads) * D, at = panel.row * stride + panel.head * D;
  float *m = a.m + panel.head * a.rows + panel.row, *l = a.l + panel.head * a.rows + panel.row;
  alignas(64) float factor[kPanel] = {};
  for (int i = 0; i < panel.rows && !a.first; i += 16) {
    const __mmask16 rows = _cvtu32_mask16((1u << std::min<long>(16, panel.rows - i)) - 1);
    const __m512 old = _mm512_maskz_loadu_ps(rows, m + i);
    const __m512 f = exp2<Avx512>(_mm512_maskz_sub_ps(rows, old, _mm512_load_ps(panel.m + i)));  // 1 where m has not changed
    _mm512_store_ps(factor + i, f);
    _mm512_store_ps(panel.l + i, _mm512_fmadd_ps(_mm512_maskz_loadu_ps(rows, l + i), f, _mm512_load_ps(panel.l + i)));
  }
  std::memcpy(m, panel.m, panel.rows * 4), std::memcpy(l, panel.l, panel.rows * 4);
  for (int r = 0; r < panel.rows; r++)
    for (int d = 0; d < D; d += 16) {
      float* out = a.acc + at + r * stride + d;
      const __m512 x = _mm512_load_ps(acc + r * D + d);
      _mm512_storeu_ps(out, a.first ? x : _mm512_fmadd_ps(_mm512_loadu_ps(out), _mm512_set1_ps(factor[r]), x));
    }
}

template <int D>
void forward_item(const Attend& a, const ForwardItems::Item& item, const ForwardScratch& w) {
  const long kv_stride = static_cast<long>(a.kv_heads) * D, q_stride = static_cast<long>(a.heads) * D;
  const bf16* k = static_cast<const bf16*>(a.k) + item.kv_head * D;
  const bf16* v = static_cast<const bf16*>(a.v) + item.kv_head * D;
  const float log2_scale = a.log2_scale();
  Panel panels[kMaxPanels];
  int count = 0, first = static_cast<int>(a.columns), last = 0;
  for (int h = item.head; h < item.head + item.heads; h++)
    for (long row = item.row; row < item.row + item.rows; row += kPanel) {
      Panel& p = panels[count];
      p.head = h, p.row = row, p.rows = std::min<long>(kPanel, item.row + item.rows - row);
      p.view = a.view(row, p.rows);
      if (p.view.from >= p.view.to && !a.first) continue;  // nothing to add
      load_panel<D>(a, p, w.qT + count * kPanel * D / 2, w.acc + count * kPanel * D);
      first = std::min(first, p.view.from), last = std::max(last, p.view.to), count++;
    }
  // Tiles lie where they lie for any other panel: results do not depend on which panels share an item.
  for (int j0 = first / kTile * kTile; j0 < last; j0 += kTile) {
    const int tile = std::min(kTile, last - j0), padded = (tile + 7) / 8 * 8;
    pack_rows(w.K, k + j0 * kv_stride, kv_stride, tile, padded, D);
    pack_pairs(w.V, v + j0 * kv_stride, kv_stride, tile, padded, D, kTile / 2);
    for (int x = 0; x < count; x++) {
      Panel& panel = panels[x];
      const uint32_t* qT = w.qT + x * kPanel * D / 2;
      float* acc = w.acc + x * kPanel * D;
      // Of the tile, in whole blocks, what any lane sees: [begin, begin + n).
      const int begin = std::max(0, (panel.view.from - j0) / 8 * 8), n = std::min(kTile, (panel.view.to - j0 + 7) / 8 * 8) - begin;
      if (n <= 0) continue;
      const uint32_t *K = w.K + begin * (D / 2), *V = w.V + begin / 2 * 64;
      // The reference exponent is a maximum met earlier, so nothing underflows, and it is raised only when a row sum of p
      // passes 2^24 (or is inf): p keeps its relative precision up there, and the usual tile needs no max pass before its
      // exponentials and no rescale of acc. The first guess comes from 8 rows, those where the last document begins if it
      // begins here; a row that sees none of them has an infinite sum.
      if (*std::min_element(panel.m, panel.m + kPanel) == kUnset) {
        const int guess = std::clamp((panel.view.all_from - j0) / 8 * 8, begin, begin + n - 8);
        raise_reference<D>(w.K + guess * (D / 2), qT, panel, log2_scale, j0 + guess, 8, acc);
      }
      __m512 sum[3];
      for (int again = 0; again < 2; again++) {
        for (auto& t : sum) t = _mm512_setzero_ps();
        scores<D>(K, qT, panel, log2_scale, j0 + begin, n, w.P, sum);
        __mmask16 high = 0;  // or NaN, which a maximum over rows might hide together with what is high
        for (const auto& t : sum) high |= _mm512_cmp_ps_mask(t, _mm512_set1_ps(0x1p24f), _CMP_NLE_UQ);
        if (again || !high) break;
        raise_reference<D>(K, qT, panel, log2_scale, j0 + begin, n, acc);
      }
      for (int i = 0; i < 3; i++) _mm512_store_ps(panel.l + 16 * i, _mm512_add_ps(_mm512_load_ps(panel.l + 16 * i), sum[i]));
      const bool clean = masked_rows_finite<D>(panel.view, V, j0 + begin, n);
      for (int d = 0; d < D; d += 64)
        for (int r = 0; r < kPanel; r += 6) {
          // this panel's share of the next tile, spread over the products of the first 64 columns; then its rows of the state
          const long ahead = j0 + kTile + (x * (kPanel / 6) + r / 6) * (kTile / (kPanel / 6)) / count;
          if (d == 0) {
            fetch_rows<D>(k, kv_stride, ahead, kTile / (kPanel / 6) / count, last);
            fetch_rows<D>(v, kv_stride, ahead, kTile / (kPanel / 6) / count, last);
            if (j0 + kTile >= panel.view.to) fetch_sums<D>(a.acc + panel.row * q_stride + panel.head * D, q_stride, r, 6, panel.rows);
          }
          if (clean) dot_into<D, 1, kPanel>(acc + r * D + d, w.P + r, V + d * (kTile / 2), n / 2);
        }
      if (clean) continue;
      const bf16* P = reinterpret_cast<const bf16*>(w.P);
      const auto sees = [&](long r, long j) { return panel.from[r] <= j0 + begin + j && j0 + begin + j < panel.limit[r]; };
      add_seen<D>(acc, kPanel, V, n, [&](long r, long j) { return P[(j / 2 * kPanel + r) * 2 + j % 2]; }, sees);
    }
  }
  for (int x = 0; x < count; x++) store_panel<D>(a, panels[x], w.acc + x * kPanel * D);
}

// ------------------------------------------------------------------ backward

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

void attend(const Attend& a, Pool& pool, Carver workspace) {
  const PerThread<ForwardScratch> scratch(workspace, pool.threads(), a.head_size);
  const ForwardItems items(a, pool.threads());
  pool.for_each(items.count(), [&](int thread, long i) {
    (a.head_size == 64 ? forward_item<64> : forward_item<128>)(a, items[i], scratch.of(thread));
  });
}

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
