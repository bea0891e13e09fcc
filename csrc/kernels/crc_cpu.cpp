#include "crc.h"

#include <array>

#include "lanes.h"

namespace vidssl {
namespace {

constexpr std::array<std::uint32_t, 256> kTable = [] {
  std::array<std::uint32_t, 256> out{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0xEDB88320u : 0u);
    out[i] = value;
  }
  return out;
}();

std::uint32_t by_bytes(const std::uint8_t* data, std::size_t count, std::uint32_t crc) {
  for (; count > 0; --count) crc = crc >> 8 ^ kTable[(crc ^ *data++) & 0xFF];
  return crc;
}

#if defined(__x86_64__)
// Folds 64 bytes at a time, as in Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ
// Instruction" (Intel, 2009); the constants are those of the bit-reflected polynomial, powers of x modulo it.
VIDSSL_TARGET("pclmul,sse4.1")
inline __m128i load16(const std::uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }

inline __m128i fold(__m128i sum, __m128i powers, __m128i next) {
  const __m128i low = _mm_clmulepi64_si128(sum, powers, 0x00), high = _mm_clmulepi64_si128(sum, powers, 0x11);
  return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

// The rest of `count` bytes, a multiple of 16, after `size` sums of 16 bytes each, of which the first holds the start.
std::uint32_t finish(const __m128i* sums, int size, const std::uint8_t* data, std::size_t count) {
  const __m128i by16 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
  __m128i sum = sums[0];
  for (int i = 1; i < size; ++i) sum = fold(sum, by16, sums[i]);
  for (; count >= 16; data += 16, count -= 16) sum = fold(sum, by16, load16(data));
  // 128 bits to 64, and by Barrett's reduction to 32.
  const __m128i low32 = _mm_setr_epi32(~0, 0, ~0, 0);
  sum = _mm_xor_si128(_mm_srli_si128(sum, 8), _mm_clmulepi64_si128(sum, by16, 0x10));
  sum = _mm_xor_si128(_mm_srli_si128(sum, 4),
                      _mm_clmulepi64_si128(_mm_and_si128(sum, low32), _mm_set_epi64x(0, 0x0163cd6124), 0x00));
  const __m128i barrett = _mm_set_epi64x(0x01f7011641, 0x01db710641);
  __m128i part = _mm_clmulepi64_si128(_mm_and_si128(sum, low32), barrett, 0x10);
  part = _mm_clmulepi64_si128(_mm_and_si128(part, low32), barrett, 0x00);
  return static_cast<std::uint32_t>(_mm_extract_epi32(_mm_xor_si128(sum, part), 1));
}

// count: a multiple of 16, at least 64.
std::uint32_t by_folding(const std::uint8_t* data, std::size_t count, std::uint32_t crc) {
  const __m128i by64 = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4);
  __m128i sums[4];
  for (int i = 0; i < 4; ++i) sums[i] = load16(data + 16 * i);
  sums[0] = _mm_xor_si128(sums[0], _mm_cvtsi32_si128(static_cast<int>(crc)));
  for (data += 64, count -= 64; count >= 64; data += 64, count -= 64)
    for (int i = 0; i < 4; ++i) sums[i] = fold(sums[i], by64, load16(data + 16 * i));
  return finish(sums, 4, data, count);
}
VIDSSL_TARGET_END

VIDSSL_TARGET("vpclmulqdq,avx512f,avx512vl,avx512dq,pclmul,sse4.1")
// The same, 256 bytes at a time. count: a multiple of 16, at least 256.
std::uint32_t by_wide_folding(const std::uint8_t* data, std::size_t count, std::uint32_t crc) {
  constexpr long long kLow = 0x011542778a, kHigh = 0x01322d1430;
  const __m512i by256 = _mm512_set_epi64(kHigh, kLow, kHigh, kLow, kHigh, kLow, kHigh, kLow);
  __m512i sums[4];
  for (int i = 0; i < 4; ++i) sums[i] = _mm512_loadu_si512(data + 64 * i);
  sums[0] = _mm512_xor_si512(sums[0], _mm512_zextsi128_si512(_mm_cvtsi32_si128(static_cast<int>(crc))));
  for (data += 256, count -= 256; count >= 256; data += 256, count -= 256)
    for (int i = 0; i < 4; ++i) {
      const __m512i low = _mm512_clmulepi64_epi128(sums[i], by256, 0x00),
                    high = _mm512_clmulepi64_epi128(sums[i], by256, 0x11);
      sums[i] = _mm512_xor_si512(_mm512_xor_si512(low, high), _mm512_loadu_si512(data + 64 * i));
    }
  __m128i parts[16];
  std::memcpy(parts, sums, sizeof parts);
  return finish(parts, 16, data, count);
}
VIDSSL_TARGET_END
#endif

}  // namespace

bool has_crc32() {
#if defined(__x86_64__)
  static const bool has = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
  return has;
#else
  return false;
#endif
}

std::uint32_t crc32(const std::uint8_t* data, std::size_t count, std::uint32_t start) {
  std::uint32_t crc = ~start;
#if defined(__x86_64__)
  if (has_crc32() && count >= 64) {
    static const bool wide = __builtin_cpu_supports("vpclmulqdq") && __builtin_cpu_supports("avx512dq") &&
                             __builtin_cpu_supports("avx512vl");
    const std::size_t whole = count / 16 * 16;
    crc = wide && whole >= 256 ? by_wide_folding(data, whole, crc) : by_folding(data, whole, crc);
    data += whole, count -= whole;
  }
#endif
  return ~by_bytes(data, count, crc);
}

}  // namespace vidssl
