// ldmatrix and mma.sync: the whole warp works on small matrices that are spread over its lanes as the PTX ISA says.
// Row g = lane / 4 and pair t = lane % 4 name a lane's elements throughout.
//
// Sums: products of bf16 or f16 are exact in double (8 + 8 or 11 + 11 bits); they are added in double in the order of k, beginning with c, and rounded to float
// once an instruction. That is at most 16 roundings of 2^-53 and one of 2^-24, where a GPU truncates its sums at about 2^-24 of their largest term.
#include "reach.h"

namespace emulator {
namespace {

void all_lanes(const Warp& w, const Instruction& i, Mask m) {
  if (m != ~Mask{0}) fault(w, i, std::countr_zero(m), "divergence", "an instruction of the whole warp, but some of its lanes have left or do not exist");
}

// count matrices of 8 rows of 16 bytes; lane 8 j + r names row r of matrix j. A lane gets elements 2t and 2t+1 of row g, or with .trans of column g.
template <bool kTranspose>
EMULATOR_CLONES void load_matrix(Warp& w, const Instruction& i, Mask m) {
  all_lanes(w, i, m);
  Reached r;
  const Mask named = i.count == 4 ? m : (Mask{1} << 8 * i.count) - 1;
  reach_from(w, i, named, static_cast<Where>(i.variant & 7), i.a, (i.variant & kWideAddress) != 0, i.offset, {16, 16, AccessKind::read}, r);
  for (int j = 0; j < i.count; j++) {
    uint16_t element[8][8];
    for (int row = 0; row < 8; row++) std::memcpy(element[row], r.at[8 * j + row], 16);
    auto* d = result<uint32_t>(w, i.list[j]);
    for (int l = 0; l < kLanes; l++) {
      const int g = l / 4, t = l % 4;
      d[l] = kTranspose ? element[2 * t][g] | uint32_t{element[2 * t + 1][g]} << 16 : element[g][2 * t] | uint32_t{element[g][2 * t + 1]} << 16;
    }
  }
}

// d = a b + c. a is 16 x K, b K x 8, c and d 16 x 8.
// a: register n of K/4 has rows g + 8 (n % 2), columns 2t + 8 (n / 2); b: register n of K/8 has rows 2t + 8n, column g; c: registers 0, 1 have row g, 2, 3 row
// g + 8, columns 2t and 2t + 1.
template <class H, int K>
EMULATOR_CLONES void multiply(Warp& w, const Instruction& i, Mask m) {
  all_lanes(w, i, m);
  constexpr int kA = K / 4, kB = K / 8;
  alignas(64) float a[16][K];
  alignas(64) double b[K][8];
  alignas(64) double sum[16][8];
  const uint32_t* list = i.list;
  for (int n = 0; n < kA; n++) {
    const auto* s = source<uint32_t>(w, list[4 + n]);
    for (int l = 0; l < kLanes; l++) {
      float* to = &a[l / 4 + 8 * (n % 2)][l % 4 * 2 + 8 * (n / 2)];
      to[0] = to_float(H{static_cast<uint16_t>(s[l])}), to[1] = to_float(H{static_cast<uint16_t>(s[l] >> 16)});
    }
  }
  for (int n = 0; n < kB; n++) {
    const auto* s = source<uint32_t>(w, list[4 + kA + n]);
    for (int l = 0; l < kLanes; l++) {
      const int row = l % 4 * 2 + 8 * n, column = l / 4;
      b[row][column] = to_float(H{static_cast<uint16_t>(s[l])}), b[row + 1][column] = to_float(H{static_cast<uint16_t>(s[l] >> 16)});
    }
  }
  for (int n = 0; n < 4; n++) {
    const auto* c = source<float>(w, list[4 + kA + kB + n]);
    for (int l = 0; l < kLanes; l++) sum[l / 4 + 8 * (n / 2)][l % 4 * 2 + n % 2] = get<float>(c, l);
  }
  for (int row = 0; row < 16; row += 4) {  // four sums at a time hide the latency of the additions
    double s[4][8];
    for (int y = 0; y < 4; y++) {
      for (int x = 0; x < 8; x++) s[y][x] = sum[row + y][x];
    }
    for (int k = 0; k < K; k++) {
      for (int y = 0; y < 4; y++) {
        const double factor = a[row + y][k];
        for (int x = 0; x < 8; x++) s[y][x] += factor * b[k][x];
      }
    }
    for (int y = 0; y < 4; y++) {
      for (int x = 0; x < 8; x++) sum[row + y][x] = s[y][x];
    }
  }
  for (int n = 0; n < 4; n++) {
    auto* d = result<float>(w, list[n]);
    for (int l = 0; l < kLanes; l++) d[l] = stored<float>(static_cast<float>(sum[l / 4 + 8 * (n / 2)][l % 4 * 2 + n % 2]));
  }
}

void decode_ldmatrix(Decoder& d) {
  if (!d.take("sync") || !d.take("aligned") || !d.take("m8n8")) d.unknown("a form that is not known");
  const int number = d.take_one_of("x1", "x2", "x4");
  const bool transpose = d.take("trans");
  const Where where = take_space(d);
  if (d.take_type() != Type::b16 || number < 0 || (where != Where::shared && where != Where::generic)) d.unknown("a form that is not known");
  const Address address = d.address(d.operand(1));
  const Operand& to = d.operand(0);
  const std::vector<Operand> parts = to.kind == Operand::list ? to.elements : std::vector<Operand>{to};
  if (parts.size() != 1u << number) d.unknown("another number of registers");
  std::vector<uint32_t> results;
  for (const auto& part : parts) results.push_back(d.write(part, Type::b32));
  auto& draft = d.emit(transpose ? load_matrix<true> : load_matrix<false>);
  auto& i = draft.instruction;
  i.flow = Flow::together, i.count = static_cast<uint8_t>(results.size()), i.variant = static_cast<uint8_t>(where);
  put_address(i, address);
  draft.results = results;
}

void decode_mma(Decoder& d) {
  if (!d.take("sync") || !d.take("aligned")) d.unknown("a form that is not known");
  const int shape = d.take_one_of("m16n8k16", "m16n8k8");
  if (shape < 0 || !d.take("row") || !d.take("col")) d.unknown("a form that is not known");
  const Type result = d.take_type(), a = d.take_type(), b = d.take_type(), c = d.take_type();
  if (result != Type::f32 || c != Type::f32 || a != b || (a != Type::f16 && a != Type::bf16)) d.unknown("not for these types");
  Execute f;
  if (a == Type::bf16) f = shape == 0 ? multiply<bf16, 16> : multiply<bf16, 8>;
  else f = shape == 0 ? multiply<f16, 16> : multiply<f16, 8>;
  const size_t sizes[4] = {4, shape == 0 ? 4u : 2u, shape == 0 ? 2u : 1u, 4};
  std::vector<uint32_t> results, sources;
  for (size_t n = 0; n < 4; n++) {
    const Operand& o = d.operand(n);
    const std::vector<Operand> parts = o.kind == Operand::list ? o.elements : std::vector<Operand>{o};
    if (parts.size() != sizes[n]) d.unknown("another number of registers");
    for (const auto& part : parts) {
      if (n == 0) results.push_back(d.write(part, Type::f32));
      else sources.push_back(d.read(part, n == 3 ? Type::f32 : Type::b32));
    }
  }
  auto& draft = d.emit(f);
  draft.instruction.flow = Flow::together;
  draft.results = results, draft.sources = sources;
}

}  // namespace

void add_tensor(Opcodes& table) {
  table["ldmatrix"] = decode_ldmatrix;
  table["mma"] = decode_mma;
}

}  // namespace emulator
