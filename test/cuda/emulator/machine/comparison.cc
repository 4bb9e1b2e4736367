// setp, set and testp.
#include <cmath>

#include "elementwise.h"

namespace emulator {
namespace {

enum class Relation { eq, ne, lt, le, gt, ge, equ, neu, ltu, leu, gtu, geu, num, nan };
template <Relation R>
struct Compare {
  template <class T>
  bool operator()(T a, T b) const {
    if constexpr (R == Relation::eq) return a == b;
    else if constexpr (R == Relation::ne) return a < b || a > b;  // false for NaN, as PTX says for the ordered one
    else if constexpr (R == Relation::lt) return a < b;
    else if constexpr (R == Relation::le) return a <= b;
    else if constexpr (R == Relation::gt) return a > b;
    else if constexpr (R == Relation::ge) return a >= b;
    else if constexpr (R == Relation::equ) return !(a < b || a > b);
    else if constexpr (R == Relation::neu) return !(a == b);
    else if constexpr (R == Relation::ltu) return !(a >= b);
    else if constexpr (R == Relation::leu) return !(a > b);
    else if constexpr (R == Relation::gtu) return !(a <= b);
    else if constexpr (R == Relation::geu) return !(a < b);
    else if constexpr (R == Relation::num) return a == a && b == b;
    else return a != a || b != b;
  }
};
template <class F>
struct OfHalves {
  template <class H>
  bool operator()(H a, H b) const { return F{}(to_float(a), to_float(b)); }
};
template <class F>
struct FlushedComparison {
  bool operator()(float a, float b) const { return F{}(flush(a), flush(b)); }
};

// d|q = F(a, b) op c: variant 0 no op, 1 and, 2 or, 3 xor; q is the complement of the comparison, with the same op.
Mask combined(const Warp& w, const Instruction& i, Mask holds) {
  switch (i.variant) {
    case 1: return holds & read_predicate(w, i.c);
    case 2: return holds | read_predicate(w, i.c);
    case 3: return holds ^ read_predicate(w, i.c);
    default: return holds;
  }
}
template <class F, class T>
EMULATOR_CLONES void set_predicate(Warp& w, const Instruction& i, Mask m) {
  const Mask holds = compare<F, T, T>(w, i);
  const Mask p = combined(w, i, holds), q = combined(w, i, ~holds);
  write_predicate(w, i.d, m, p);
  if (i.count == 2) write_predicate(w, i.list[0], m, q);
}
// set: all ones or 1.0 where the comparison holds.
template <class F, class T>
void set_register(Warp& w, const Instruction& i, Mask m) {
  const Mask p = combined(w, i, compare<F, T, T>(w, i));
  auto* d = result<uint32_t>(w, i.d);
  for (int l = 0; l < kLanes; l++) {
    if (m >> l & 1) d[l] = p >> l & 1 ? i.extra : 0;
  }
}

template <bool kPredicate, class F, class T>
constexpr Execute comparing() {
  if constexpr (kPredicate) return set_predicate<F, T>;
  else return set_register<F, T>;
}
template <bool kPredicate, Relation R>
Execute comparison_of(Decoder& d, Type t) {
  using F = Compare<R>;
  if (t == Type::f32) return d.take("ftz") ? comparing<kPredicate, FlushedComparison<F>, float>() : comparing<kPredicate, F, float>();
  if (t == Type::f64) return comparing<kPredicate, F, double>();
  if (t == Type::f16) return comparing<kPredicate, OfHalves<F>, f16>();
  if (t == Type::bf16) return comparing<kPredicate, OfHalves<F>, bf16>();
  if constexpr (R <= Relation::ge) {
    switch (t) {
      case Type::b16:
      case Type::u16: return comparing<kPredicate, F, uint16_t>();
      case Type::s16: return comparing<kPredicate, F, int16_t>();
      case Type::b32:
      case Type::u32: return comparing<kPredicate, F, uint32_t>();
      case Type::s32: return comparing<kPredicate, F, int32_t>();
      case Type::b64:
      case Type::u64: return comparing<kPredicate, F, uint64_t>();
      case Type::s64: return comparing<kPredicate, F, int64_t>();
      default: break;
    }
  }
  d.unknown("not for this type");
}
template <bool kPredicate>
Execute comparison(Decoder& d, std::string_view relation, Type t) {
  using R = Relation;
  if (relation == "eq") return comparison_of<kPredicate, R::eq>(d, t);
  if (relation == "ne") return comparison_of<kPredicate, R::ne>(d, t);
  if (relation == "lt" || relation == "lo") return comparison_of<kPredicate, R::lt>(d, t);
  if (relation == "le" || relation == "ls") return comparison_of<kPredicate, R::le>(d, t);
  if (relation == "gt" || relation == "hi") return comparison_of<kPredicate, R::gt>(d, t);
  if (relation == "ge" || relation == "hs") return comparison_of<kPredicate, R::ge>(d, t);
  if (relation == "equ") return comparison_of<kPredicate, R::equ>(d, t);
  if (relation == "neu") return comparison_of<kPredicate, R::neu>(d, t);
  if (relation == "ltu") return comparison_of<kPredicate, R::ltu>(d, t);
  if (relation == "leu") return comparison_of<kPredicate, R::leu>(d, t);
  if (relation == "gtu") return comparison_of<kPredicate, R::gtu>(d, t);
  if (relation == "geu") return comparison_of<kPredicate, R::geu>(d, t);
  if (relation == "num") return comparison_of<kPredicate, R::num>(d, t);
  if (relation == "nan") return comparison_of<kPredicate, R::nan>(d, t);
  d.unknown("a comparison that is not known");
}
void decode_setp(Decoder& d) {
  const std::string_view relation = d.take_first();
  const int op = d.take_one_of("and", "or", "xor");
  const Type t = d.take_type();
  const Execute f = comparison<true>(d, relation, t);
  const uint32_t a = d.read(1, t), b = d.read(2, t), c = op >= 0 ? d.read(3, Type::pred) : 0;
  const Operand& to = d.operand(0);
  auto& draft = d.emit(f);
  auto& i = draft.instruction;
  i.d = d.write(to, Type::pred), i.a = a, i.b = b, i.c = c, i.variant = static_cast<uint8_t>(op + 1);
  if (!to.second.empty()) {
    Operand second = to;
    second.text = to.second;
    i.count = 2, draft.results.push_back(d.write(second, Type::pred));
  }
}
void decode_set(Decoder& d) {
  const std::string_view relation = d.take_first();
  const int op = d.take_one_of("and", "or", "xor");
  const Type result = d.take_type(), t = d.take_type();
  if (result != Type::u32 && result != Type::s32 && result != Type::f32) d.unknown("not for this type");
  const Execute f = comparison<false>(d, relation, t);
  const uint32_t a = d.read(1, t), b = d.read(2, t), c = op >= 0 ? d.read(3, Type::pred) : 0, to = d.write(0, result);
  auto& i = d.emit(f).instruction;
  i.d = to, i.a = a, i.b = b, i.c = c, i.variant = static_cast<uint8_t>(op + 1);
  i.extra = result == Type::f32 ? 0x3f800000 : 0xffffffff;
}

enum class Class { finite, infinite, number, notanumber, normal, subnormal };
template <Class C>
struct Test {
  template <class T>
  bool operator()(T a, T) const {
    switch (C) {
      case Class::finite: return std::isfinite(a);
      case Class::infinite: return std::isinf(a);
      case Class::number: return !std::isnan(a);
      case Class::notanumber: return std::isnan(a);
      case Class::normal: return std::isnormal(a) || a == 0;  // PTX: normal, zero included
      default: return std::fpclassify(a) == FP_SUBNORMAL;
    }
  }
};
template <class T>
Execute test_of(int c) {
  switch (c) {
    case 0: return set_predicate<Test<Class::finite>, T>;
    case 1: return set_predicate<Test<Class::infinite>, T>;
    case 2: return set_predicate<Test<Class::number>, T>;
    case 3: return set_predicate<Test<Class::notanumber>, T>;
    case 4: return set_predicate<Test<Class::normal>, T>;
    default: return set_predicate<Test<Class::subnormal>, T>;
  }
}
void decode_testp(Decoder& d) {
  const int c = d.take_one_of("finite", "infinite", "number", "notanumber", "normal", "subnormal");
  const Type t = d.take_type();
  if (c < 0 || (t != Type::f32 && t != Type::f64)) d.unknown("not for this type");
  const uint32_t a = d.read(1, t), to = d.write(0, Type::pred);
  auto& i = d.emit(t == Type::f32 ? test_of<float>(c) : test_of<double>(c)).instruction;
  i.d = to, i.a = a, i.b = a;
}

}  // namespace

void add_comparison(Opcodes& table) {
  table["setp"] = decode_setp;
  table["set"] = decode_set;
  table["testp"] = decode_testp;
}

}  // namespace emulator
