// Chunk attention with AVX-512 bf16 dot products, forward. attention_avx512bf16.h says how scores, tiles and products lie.
#ifdef __x86_64__
#include "attention_items.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,bmi2,fma")
// The target holds for all that follows.
#include "attention_avx512bf16.h"

namespace fpdt::cpu::avx512bf16 {
namespace {

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

}  // namespace

void attend(const Attend& a, Pool& pool, Carver workspace) {
  const PerThread<ForwardScratch> scratch(workspace, pool.threads(), a.head_size);
  const ForwardItems items(a, pool.threads());
  pool.for_each(items.count(), [&](int thread, long i) {
    (a.head_size == 64 ? forward_item<64> : forward_item<128>)(a, items[i], scratch.of(thread));
  });
}

}  // namespace fpdt::cpu::avx512bf16
#pragma GCC pop_options
#endif
