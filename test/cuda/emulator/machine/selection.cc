// selp, by a predicate, and slct, by a sign.
#include "elementwise.h"

namespace emulator {
namespace {

template <class T>
EMULATOR_CLONES void select(Warp& w, const Instruction& i, Mask m) {
  auto* d = result<T>(w, i.d);
  const auto* a = source<T>(w, i.a);
  const auto* b = source<T>(w, i.b);
  const Mask p = read_predicate(w, i.c);
  EMULATOR_LANES
  for (int l = 0; l < kLanes; l++) {
    const auto chosen = (p & bit_of<T>(l)) ? a[l] : b[l];
    d[l] = (m & bit_of<T>(l)) ? chosen : d[l];
  }
}
void decode_selp(Decoder& d) {
  const Type t = d.take_type();
  const uint32_t a = d.read(1, t), b = d.read(2, t), c = d.read(3, Type::pred), to = d.write(0, t);
  auto& i = d.emit(bytes_of(t) == 8 ? select<uint64_t> : select<uint32_t>).instruction;
  i.d = to, i.a = a, i.b = b, i.c = c;
}
struct SelectBySign {
  template <class T, class C>
  T operator()(T a, T b, C c) const { return c >= 0 ? a : b; }
};
void decode_slct(Decoder& d) {
  const bool ftz = d.take("ftz");
  const Type t = d.take_type(), by = d.take_type();
  if ((by != Type::s32 && by != Type::f32) || bytes_of(t) < 4) d.unknown("not for this type");
  (void)ftz;  // flushes c, and a zero of either sign counts as not negative anyway; -subnormal < 0 without it
  Execute f;
  if (by == Type::s32) f = bytes_of(t) == 8 ? map3<SelectBySign, uint64_t, uint64_t, uint64_t, int32_t> : map3<SelectBySign, uint32_t, uint32_t, uint32_t, int32_t>;
  else if (ftz) d.unknown(".ftz is not known here");
  else f = bytes_of(t) == 8 ? map3<SelectBySign, uint64_t, uint64_t, uint64_t, float> : map3<SelectBySign, uint32_t, uint32_t, uint32_t, float>;
  emit3(d, f, t, t, by);
}

}  // namespace

void add_selection(Opcodes& table) {
  table["selp"] = decode_selp;
  table["slct"] = decode_slct;
}

}  // namespace emulator
