// Vectors of sixteen floats with the operations of assemble, for AVX-512, AVX2 with FMA, and plain C++. All of them
// round alike.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

// Functions between VIDSSL_TARGET(features) and VIDSSL_TARGET_END are compiled for these processor features.
#define VIDSSL_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define VIDSSL_TARGET(features) \
  VIDSSL_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define VIDSSL_TARGET_END _Pragma("clang attribute pop")
#else
#define VIDSSL_TARGET(features) _Pragma("GCC push_options") VIDSSL_PRAGMA(GCC target(features))
#define VIDSSL_TARGET_END _Pragma("GCC pop_options")
#endif
#define VIDSSL_AVX2 "avx2,fma,f16c"
#define VIDSSL_AVX512 "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c"

namespace vidssl {

constexpr int kLanes = 16;

namespace plain {

struct Lanes {
  float v[kLanes];
};

inline Lanes zero() { return {}; }
inline Lanes load(const float* p) {
  Lanes out;
  std::memcpy(out.v, p, sizeof out.v);
  return out;
}
inline Lanes load_bytes(const std::uint8_t* p) {
  Lanes out;
  for (int i = 0; i < kLanes; ++i) out.v[i] = static_cast<float>(p[i]);
  return out;
}
inline Lanes clamp(const Lanes& a) {
  Lanes out;
  for (int i = 0; i < kLanes; ++i) out.v[i] = a.v[i] > 0.0f ? (a.v[i] < 255.0f ? a.v[i] : 255.0f) : 0.0f;
  return out;
}
// Converts to each output type, rounding to nearest, ties to even. uint16_t holds a bfloat16; uint8_t is clamped first.
inline void store(float* p, const Lanes& a) { std::memcpy(p, a.v, sizeof a.v); }
inline void store(_Float16* p, const Lanes& a) {
  for (int i = 0; i < kLanes; ++i) p[i] = static_cast<_Float16>(a.v[i]);
}
inline void store(std::uint16_t* p, const Lanes& a) {
  for (int i = 0; i < kLanes; ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, a.v + i, sizeof bits);
    p[i] = static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
  }
}
inline void store(std::uint8_t* p, const Lanes& a) {
  const Lanes v = clamp(a);
  for (int i = 0; i < kLanes; ++i)
    p[i] = static_cast<std::uint8_t>(static_cast<int>((v.v[i] + 8388608.0f) - 8388608.0f));  // 2^23: no fraction
}
inline void stream(float* p, const Lanes& a) { store(p, a); }  // p: 64-byte aligned
inline void fence() {}                                         // after stream(), before others may read
inline Lanes fill(float x) {
  Lanes out;
  for (float& v : out.v) v = x;
  return out;
}
inline Lanes multiply_add(const Lanes& a, const Lanes& b, const Lanes& c) {
  Lanes out;
  for (int i = 0; i < kLanes; ++i) out.v[i] = std::fma(a.v[i], b.v[i], c.v[i]);
  return out;
}
// pick: lane i = p[indices[i]]. The smallest is 0, and from lane to lane they ascend, or descend, by at most 1. So
// kLanes floats hold all, and are read.
struct Indices {
  std::int32_t v[kLanes];
};
inline Indices load_indices(const std::int32_t* p) {
  Indices out;
  std::memcpy(out.v, p, sizeof out.v);
  return out;
}
inline Lanes pick(const float* p, const Indices& indices) {
  Lanes out;
  for (int i = 0; i < kLanes; ++i) out.v[i] = p[indices.v[i]];
  return out;
}
// to[col * kLanes + row] = from[row * stride + col], for kLanes rows and columns.
inline void transpose(const float* from, std::ptrdiff_t stride, float* to) {
  for (int row = 0; row < kLanes; ++row)
    for (int col = 0; col < kLanes; ++col) to[col * kLanes + row] = from[row * stride + col];
}
// Converts four columns of kLanes values to bytes, as `store` does: p[row * 4 + column].
inline void store_four(std::uint8_t* p, const Lanes (&columns)[4]) {
  for (int c = 0; c < 4; ++c) {
    std::uint8_t bytes[kLanes];
    store(bytes, columns[c]);
    for (int row = 0; row < kLanes; ++row) p[row * 4 + c] = bytes[row];
  }
}
// Stores kLanes rows of kLanes bytes, `stride` bytes apart, from what four calls of store_four have stored.
inline void store_rows(const std::uint8_t* fours, std::uint8_t* out, std::ptrdiff_t stride) {
  for (int row = 0; row < kLanes; ++row)
    for (int four = 0; four < kLanes / 4; ++four)
      std::memcpy(out + row * stride + four * 4, fours + four * 4 * kLanes + row * 4, 4);
}

}  // namespace plain

#if defined(__x86_64__)

VIDSSL_TARGET(VIDSSL_AVX2)
namespace avx2 {

struct Lanes {
  __m256 a, b;
};

inline Lanes zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
inline Lanes load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline __m256 load_bytes8(const std::uint8_t* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
inline Lanes load_bytes(const std::uint8_t* p) { return {load_bytes8(p), load_bytes8(p + 8)}; }
inline void store(float* p, const Lanes& x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
inline __m128i as_half(__m256 x) { return _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT); }
inline void store(_Float16* p, const Lanes& x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), as_half(x.a));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), as_half(x.b));
}
inline __m256i as_bfloat(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x),
                odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  return _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF))), 16);
}
inline void store(std::uint16_t* p, const Lanes& x) {
  const __m256i quarters = _mm256_packus_epi32(as_bfloat(x.a), as_bfloat(x.b));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(quarters, 0xD8));
}
inline __m256 clamp8(__m256 x) { return _mm256_min_ps(_mm256_max_ps(x, _mm256_setzero_ps()), _mm256_set1_ps(255.0f)); }
inline Lanes clamp(const Lanes& x) { return {clamp8(x.a), clamp8(x.b)}; }
inline void store(std::uint8_t* p, const Lanes& x) {
  const Lanes v = clamp(x);
  const __m256i quarters = _mm256_packs_epi32(_mm256_cvtps_epi32(v.a), _mm256_cvtps_epi32(v.b));
  const __m256i words = _mm256_permute4x64_epi64(quarters, 0xD8);
  const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
}
inline void stream(float* p, const Lanes& x) {
  _mm256_stream_ps(p, x.a);
  _mm256_stream_ps(p + 8, x.b);
}
inline void fence() { _mm_sfence(); }
inline Lanes fill(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline Lanes multiply_add(const Lanes& x, const Lanes& y, const Lanes& z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
struct Indices8 {  // of eight lanes, from their smallest on
  std::int32_t low;
  __m256i from_low;
};
inline Indices8 load_indices8(const std::int32_t* p) {
  const std::int32_t low = std::min(p[0], p[7]);
  return {low, _mm256_sub_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)), _mm256_set1_epi32(low))};
}
inline __m256 pick8(const float* p, const Indices8& indices) {
  return _mm256_permutevar8x32_ps(_mm256_loadu_ps(p + indices.low), indices.from_low);
}
struct Indices {
  Indices8 a, b;
};
inline Indices load_indices(const std::int32_t* p) { return {load_indices8(p), load_indices8(p + 8)}; }
inline Lanes pick(const float* p, const Indices& indices) { return {pick8(p, indices.a), pick8(p, indices.b)}; }
__attribute__((always_inline)) inline void transpose8(const float* from, std::ptrdiff_t from_stride, float* to,
                                                      std::ptrdiff_t to_stride) {
  __m256 r[8], p[8], q[8];
  for (int i = 0; i < 8; ++i) r[i] = _mm256_loadu_ps(from + i * from_stride);
  for (int i = 0; i < 4; ++i) {
    p[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    p[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
  for (int h = 0; h < 2; ++h) {
    for (int i = 0; i < 2; ++i) {
      q[4 * h + 2 * i] = _mm256_shuffle_ps(p[4 * h + i], p[4 * h + i + 2], 0x44);
      q[4 * h + 2 * i + 1] = _mm256_shuffle_ps(p[4 * h + i], p[4 * h + i + 2], 0xEE);
    }
  }
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_ps(to + i * to_stride, _mm256_permute2f128_ps(q[i], q[i + 4], 0x20));
    _mm256_storeu_ps(to + (i + 4) * to_stride, _mm256_permute2f128_ps(q[i], q[i + 4], 0x31));
  }
}
inline void transpose(const float* from, std::ptrdiff_t stride, float* to) {
  for (int row = 0; row < kLanes; row += 8)
    for (int col = 0; col < kLanes; col += 8)
      transpose8(from + row * stride + col, stride, to + col * kLanes + row, kLanes);
}
// Packing saturates, so nothing is clamped before.
inline __m256i four_of(__m256 a, __m256 b, __m256 c, __m256 d) {
  const __m256i ab = _mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b)),
                cd = _mm256_packs_epi32(_mm256_cvtps_epi32(c), _mm256_cvtps_epi32(d));
  const __m256i turn = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  return _mm256_shuffle_epi8(_mm256_packus_epi16(ab, cd), turn);
}
inline void store_four(std::uint8_t* p, const Lanes (&x)[4]) {
  auto* to = reinterpret_cast<__m256i*>(p);
  _mm256_storeu_si256(to, four_of(x[0].a, x[1].a, x[2].a, x[3].a));
  _mm256_storeu_si256(to + 1, four_of(x[0].b, x[1].b, x[2].b, x[3].b));
}
inline void store_rows(const std::uint8_t* fours, std::uint8_t* out, std::ptrdiff_t stride) {
  for (int row = 0; row < kLanes; row += 4, out += 4 * stride) {
    __m128i r[4];
    for (int i = 0; i < 4; ++i)
      r[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(fours + i * 4 * kLanes + row * 4));
    const __m128i a = _mm_unpacklo_epi32(r[0], r[1]), b = _mm_unpackhi_epi32(r[0], r[1]),
                  c = _mm_unpacklo_epi32(r[2], r[3]), d = _mm_unpackhi_epi32(r[2], r[3]);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_unpacklo_epi64(a, c));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + stride), _mm_unpackhi_epi64(a, c));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 2 * stride), _mm_unpacklo_epi64(b, d));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 3 * stride), _mm_unpackhi_epi64(b, d));
  }
}

}  // namespace avx2
VIDSSL_TARGET_END

VIDSSL_TARGET(VIDSSL_AVX512)
namespace avx512 {

struct Lanes {
  __m512 v;
};

constexpr __mmask16 kAll = 0xFFFF;  // all lanes: GCC 12 warns about its own header in the unmasked forms

inline Lanes zero() { return {_mm512_setzero_ps()}; }
inline Lanes load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline Lanes load_bytes(const std::uint8_t* p) {
  return {_mm512_maskz_cvtepi32_ps(
      kAll, _mm512_maskz_cvtepu8_epi32(kAll, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
}
inline Lanes clamp(const Lanes& x) {
  return {_mm512_maskz_min_ps(kAll, _mm512_maskz_max_ps(kAll, x.v, _mm512_setzero_ps()), _mm512_set1_ps(255.0f))};
}
inline void store(float* p, const Lanes& x) { _mm512_storeu_ps(p, x.v); }
inline void store(_Float16* p, const Lanes& x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_maskz_cvtps_ph(kAll, x.v, _MM_FROUND_TO_NEAREST_INT));
}
inline void store(std::uint16_t* p, const Lanes& x) {
  const __m512i bits = _mm512_castps_si512(x.v),
                odd = _mm512_and_si512(_mm512_maskz_srli_epi32(kAll, bits, 16), _mm512_set1_epi32(1));
  const __m512i sum = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_maskz_cvtepi32_epi16(kAll, _mm512_maskz_srli_epi32(kAll, sum, 16)));
}
inline void store(std::uint8_t* p, const Lanes& x) {
  const __m512i whole = _mm512_maskz_cvtps_epi32(kAll, clamp(x).v);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_maskz_cvtepi32_epi8(kAll, whole));
}
inline void stream(float* p, const Lanes& x) { _mm512_stream_ps(p, x.v); }
inline Lanes fill(float x) { return {_mm512_set1_ps(x)}; }
inline Lanes multiply_add(const Lanes& x, const Lanes& y, const Lanes& z) { return {_mm512_fmadd_ps(x.v, y.v, z.v)}; }
inline void store_four(std::uint8_t* p, const Lanes (&x)[4]) {
  const auto whole = [&](int i) { return _mm512_maskz_cvtps_epi32(kAll, x[i].v); };
  const __m512i ab = _mm512_packs_epi32(whole(0), whole(1)), cd = _mm512_packs_epi32(whole(2), whole(3));
  const __m512i turn =
      _mm512_maskz_broadcast_i32x4(kAll, _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  _mm512_storeu_si512(p, _mm512_shuffle_epi8(_mm512_packus_epi16(ab, cd), turn));
}
struct Indices {
  __m512i v;
};
inline Indices load_indices(const std::int32_t* p) { return {_mm512_loadu_si512(p)}; }
inline Lanes pick(const float* p, const Indices& indices) {
  return {_mm512_maskz_permutexvar_ps(kAll, indices.v, _mm512_loadu_ps(p))};
}
using avx2::fence;
using avx2::store_rows;

// Exchanges pairs, then fours within each quarter of a register, then the quarters.
__attribute__((always_inline)) inline void transpose(const float* from, std::ptrdiff_t stride, float* to) {
  __m512 r[16], p[16];
  for (int i = 0; i < 16; ++i) r[i] = _mm512_loadu_ps(from + i * stride);
  for (int i = 0; i < 8; ++i) {
    p[2 * i] = _mm512_maskz_unpacklo_ps(kAll, r[2 * i], r[2 * i + 1]);
    p[2 * i + 1] = _mm512_maskz_unpackhi_ps(kAll, r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 4; ++i) {  // r[4 i + c]: column c of each quarter, of rows 4 i .. 4 i + 3
    for (int h = 0; h < 2; ++h) {
      r[4 * i + 2 * h] = _mm512_maskz_shuffle_ps(kAll, p[4 * i + h], p[4 * i + h + 2], 0x44);
      r[4 * i + 2 * h + 1] = _mm512_maskz_shuffle_ps(kAll, p[4 * i + h], p[4 * i + h + 2], 0xEE);
    }
  }
  for (int c = 0; c < 4; ++c) {
    const __m512 a = _mm512_maskz_shuffle_f32x4(kAll, r[c], r[c + 4], 0x88),
                 b = _mm512_maskz_shuffle_f32x4(kAll, r[c + 8], r[c + 12], 0x88);
    const __m512 d = _mm512_maskz_shuffle_f32x4(kAll, r[c], r[c + 4], 0xDD),
                 e = _mm512_maskz_shuffle_f32x4(kAll, r[c + 8], r[c + 12], 0xDD);
    _mm512_storeu_ps(to + c * kLanes, _mm512_maskz_shuffle_f32x4(kAll, a, b, 0x88));
    _mm512_storeu_ps(to + (c + 4) * kLanes, _mm512_maskz_shuffle_f32x4(kAll, d, e, 0x88));
    _mm512_storeu_ps(to + (c + 8) * kLanes, _mm512_maskz_shuffle_f32x4(kAll, a, b, 0xDD));
    _mm512_storeu_ps(to + (c + 12) * kLanes, _mm512_maskz_shuffle_f32x4(kAll, d, e, 0xDD));
  }
}

}  // namespace avx512
VIDSSL_TARGET_END

#endif

}  // namespace vidssl
