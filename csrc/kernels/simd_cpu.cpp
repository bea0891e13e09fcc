#include "simd.h"

#include <cstdlib>
#include <string>

#include "check.h"

namespace vidssl {
namespace {

Simd choose() {
  const char* wish = std::getenv("VIDSSL_SIMD");
  const std::string name = wish ? wish : "";
  check(name.empty() || name == "plain" || name == "avx2" || name == "avx512", "VIDSSL_SIMD=", name,
        ": take plain, avx2 or avx512");
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  check(name != "avx512" || avx512, "VIDSSL_SIMD=avx512: this processor has no AVX-512; unset it");
  check(name != "avx2" || avx2, "VIDSSL_SIMD=avx2: this processor has no AVX2; unset it");
  if (avx512 && (name.empty() || name == "avx512")) return Simd::avx512;
  if (avx2 && (name.empty() || name == "avx2")) return Simd::avx2;
#else
  check(name.empty() || name == "plain", "VIDSSL_SIMD=", name, ": this processor has no SIMD body; take plain");
#endif
  return Simd::plain;
}

}  // namespace

Simd simd() {
  static const Simd choice = choose();
  return choice;
}

const char* simd_body() {
  constexpr const char* kNames[] = {"plain", "avx2", "avx512"};
  return kNames[static_cast<int>(simd())];
}

}  // namespace vidssl
