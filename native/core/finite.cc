#include "finite.h"

#include <algorithm>
#include <cstring>

namespace fpdt {
namespace {

// NaN and infinity are the numbers whose exponent is all ones.
template <class Bits, Bits exponent>
int64_t scan(std::span<const std::byte> bytes) {
  constexpr size_t kBlock = 4096 / sizeof(Bits);
  Bits block[kBlock];  // a copy, since the bytes may lie at any address
  const size_t count = bytes.size() / sizeof(Bits);
  for (size_t begin = 0; begin < count; begin += kBlock) {
    const size_t n = std::min(kBlock, count - begin);
    std::memcpy(block, bytes.data() + begin * sizeof(Bits), n * sizeof(Bits));
    const auto is_finite = [](Bits bits) { return (bits & exponent) != exponent; };
    unsigned found = 0;  // no way out of this loop, so that it vectorises; which one it was is looked for only once
    for (size_t i = 0; i < n; i++) found |= !is_finite(block[i]);
    if (found) return static_cast<int64_t>(begin) + (std::find_if_not(block, block + n, is_finite) - block);
  }
  return -1;
}

}  // namespace

size_t real_bytes(Real dtype) { return size_t{2} << static_cast<int>(dtype); }

int64_t first_not_finite(std::span<const std::byte> bytes, Real dtype) {
  switch (dtype) {
    case Real::bf16: return scan<uint16_t, 0x7f80>(bytes);
    case Real::f32: return scan<uint32_t, 0x7f800000>(bytes);
    case Real::f64: return scan<uint64_t, 0x7ff0000000000000>(bytes);
  }
  return -1;
}

}  // namespace fpdt
