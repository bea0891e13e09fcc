// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a counter-based generator, so
// that every draw is a pure function of (seed, epoch, sample, purpose, index) and host and device give the same
// integers.
#pragma once

#include <cstdint>

#include "view.h"

namespace vidssl {

struct Random4 {
  std::uint32_t v[4];
};

VIDSSL_HD inline Random4 philox(std::uint64_t key, std::uint64_t high, std::uint64_t low) {
  std::uint32_t c[4] = {static_cast<std::uint32_t>(low), static_cast<std::uint32_t>(low >> 32),
                        static_cast<std::uint32_t>(high), static_cast<std::uint32_t>(high >> 32)};
  std::uint32_t k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = 0xD2511F53ull * c[0], p1 = 0xCD9E8D57ull * c[2];
    const std::uint32_t n0 = static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ k0,
                        n2 = static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ k1;
    c[0] = n0;
    c[1] = static_cast<std::uint32_t>(p1);
    c[2] = n2;
    c[3] = static_cast<std::uint32_t>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c[0], c[1], c[2], c[3]}};
}

// The use of a draw. Each purpose has its own counters, so that a new draw never changes another one.
enum class Purpose : std::uint32_t {
  order = 0,
  window = 1,
  base = 2,
  gap = 3,
  arrangement = 4,
  crop = 5,
  flip = 6,
  color = 7,
  jitter = 8,
  motion_window = 9,
  crop_size = 10,
  blur = 11,
  solarise = 12,
  cutout = 13,
  tubes = 14
};

// Counter: low = epoch | purpose << 32 (8 bits) | index << 40 (24 bits), high = sample.
VIDSSL_HD inline Random4 draw(std::uint64_t seed, std::uint32_t epoch, std::uint64_t sample, Purpose purpose,
                              std::uint32_t index) {
  const std::uint64_t low =
      epoch | (static_cast<std::uint64_t>(purpose) << 32) | (static_cast<std::uint64_t>(index) << 40);
  return philox(seed, sample, low);
}

// The high 64 bits of a * b, the same on host and device.
VIDSSL_HD inline std::uint64_t mul_high(std::uint64_t a, std::uint64_t b) {
#if defined(__CUDA_ARCH__)
  return __umul64hi(a, b);
#else
  return static_cast<std::uint64_t>((static_cast<unsigned __int128>(a) * b) >> 64);
#endif
}

// A 64-bit draw below n (Lemire's multiply-shift without rejection; the bias is below n / 2^64).
VIDSSL_HD inline std::uint64_t below(const Random4& r, std::uint64_t n) {
  return mul_high((static_cast<std::uint64_t>(r.v[1]) << 32) | r.v[0], n);
}

// A 32-bit draw below n (bias below n / 2^32).
VIDSSL_HD inline std::uint32_t below(std::uint32_t r, std::uint32_t n) {
  return static_cast<std::uint32_t>((static_cast<std::uint64_t>(r) * n) >> 32);
}

// Uniform in [0, 1), a multiple of 2^-24, exact in float.
VIDSSL_HD inline float unit(std::uint32_t r) { return static_cast<float>(r >> 8) * (1.0f / 16777216.0f); }

}  // namespace vidssl
