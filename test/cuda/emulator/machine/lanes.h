// Loops over the lanes of a warp. A function object says what one lane does; these make of it an Execute for 32 lanes that the compiler vectorises, with
// and without a mask.
#pragma once
#include <bit>
#include <type_traits>

#include "half.h"
#include "warp.h"

// Lanes do not depend on each other, even where result and source are the same slot.
#if defined(__clang__)
#define EMULATOR_LANES _Pragma("clang loop vectorize(assume_safety)")
#else
#define EMULATOR_LANES _Pragma("GCC ivdep")
#endif

// Compiled for several generations of x86, the best of which is chosen when the library is loaded.
#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__clang__)
#define EMULATOR_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define EMULATOR_CLONES
#endif

namespace emulator {

template <class T>
using Storage = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;

template <class T>
inline T get(const Storage<T>* slot, int lane) {
  if constexpr (sizeof(T) >= 4) return std::bit_cast<T>(slot[lane]);
  else if constexpr (sizeof(T) == 2) return std::bit_cast<T>(static_cast<uint16_t>(slot[lane]));
  else return std::bit_cast<T>(static_cast<uint8_t>(slot[lane]));
}
template <class T>
inline Storage<T> stored(T value) {
  if constexpr (sizeof(T) >= 4) return std::bit_cast<Storage<T>>(value);
  else if constexpr (sizeof(T) == 2) return std::bit_cast<uint16_t>(value);
  else return std::bit_cast<uint8_t>(value);
}
template <class T>
inline const Storage<T>* source(const Warp& w, uint32_t operand) { return reinterpret_cast<const Storage<T>*>(source_bytes(w, operand)); }
template <class T>
inline Storage<T>* result(const Warp& w, uint32_t operand) { return reinterpret_cast<Storage<T>*>(result_bytes(w, operand)); }

// Bit of each lane, as a table: comparing with it vectorises where shifting by the lane does not.
struct LaneBits {
  alignas(64) uint32_t narrow[kLanes];
  alignas(64) uint64_t wide[kLanes];
  constexpr LaneBits() : narrow(), wide() {
    for (int l = 0; l < kLanes; l++) narrow[l] = uint32_t{1} << l, wide[l] = uint64_t{1} << l;
  }
};
inline constexpr LaneBits kLaneBits;
template <class T>
inline Storage<T> bit_of(int lane) {
  if constexpr (sizeof(T) == 8) return kLaneBits.wide[lane];
  else return kLaneBits.narrow[lane];
}

// d = F(a, b, c ...), elementwise.
template <class F, class D, class A>
EMULATOR_CLONES void map1(Warp& w, const Instruction& i, Mask m) {
  auto* d = result<D>(w, i.d);
  const auto* a = source<A>(w, i.a);
  if (m == ~Mask{0}) {
    EMULATOR_LANES
    for (int l = 0; l < kLanes; l++) d[l] = stored<D>(F{}(get<A>(a, l)));
  } else {
    EMULATOR_LANES
    for (int l = 0; l < kLanes; l++) d[l] = (m & bit_of<D>(l)) ? stored<D>(F{}(get<A>(a, l))) : d[l];
  }
}
template <class F, class D, class A, class B>
EMULATOR_CLONES void map2(Warp& w, const Instruction& i, Mask m) {
  auto* d = result<D>(w, i.d);
  const auto* a = source<A>(w, i.a);
  const auto* b = source<B>(w, i.b);
  if (m == ~Mask{0}) {
    EMULATOR_LANES
    for (int l = 0; l < kLanes; l++) d[l] = stored<D>(F{}(get<A>(a, l), get<B>(b, l)));
  } else {
    EMULATOR_LANES
    for (int l = 0; l < kLanes; l++) d[l] = (m & bit_of<D>(l)) ? stored<D>(F{}(get<A>(a, l), get<B>(b, l))) : d[l];
  }
}
template <class F, class D, class A, class B, class C>
EMULATOR_CLONES void map3(Warp& w, const Instruction& i, Mask m) {
  auto* d = result<D>(w, i.d);
  const auto* a = source<A>(w, i.a);
  const auto* b = source<B>(w, i.b);
  const auto* c = source<C>(w, i.c);
  if (m == ~Mask{0}) {
    EMULATOR_LANES
    for (int l = 0; l < kLanes; l++) d[l] = stored<D>(F{}(get<A>(a, l), get<B>(b, l), get<C>(c, l)));
  } else {
    EMULATOR_LANES
    for (int l = 0; l < kLanes; l++) d[l] = (m & bit_of<D>(l)) ? stored<D>(F{}(get<A>(a, l), get<B>(b, l), get<C>(c, l))) : d[l];
  }
}
// The lanes for which F(a, b) holds.
template <class F, class A, class B>
inline Mask compare(const Warp& w, const Instruction& i) {
  const auto* a = source<A>(w, i.a);
  const auto* b = source<B>(w, i.b);
  Storage<A> lanes = 0;
  for (int l = 0; l < kLanes; l++) lanes |= F{}(get<A>(a, l), get<B>(b, l)) ? bit_of<A>(l) : 0;
  return static_cast<Mask>(lanes);
}

}  // namespace emulator
