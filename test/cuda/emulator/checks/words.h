// Sets of bits, in words of 64.
#pragma once
#include <algorithm>
#include <cstdint>
#include <type_traits>

namespace emulator {

// Calls visit(word, mask) for the words that hold bits [begin, end), in their order; where it returns a bool, until that is false.
template <class Visit>
void each_word(uint64_t begin, uint64_t end, Visit&& visit) {
  while (begin < end) {
    const uint64_t word = begin / 64, to = std::min(end, (word + 1) * 64);
    const uint64_t mask = (~uint64_t{0} >> (64 - (to - begin))) << begin % 64;
    if constexpr (std::is_void_v<std::invoke_result_t<Visit&, uint64_t, uint64_t>>) visit(word, mask);
    else if (!visit(word, mask)) return;
    begin = to;
  }
}

}  // namespace emulator
