// Where numbers stop being numbers: a scan for NaN and infinity. Knows nothing of arenas.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace fpdt {

enum class Real : uint8_t { bf16 = 0, f32 = 1, f64 = 2 };
size_t real_bytes(Real dtype);

// Index of the first element that is NaN or infinite, or -1. `bytes` may begin anywhere; what is left of a last element is not looked at.
int64_t first_not_finite(std::span<const std::byte> bytes, Real dtype);

}  // namespace fpdt
