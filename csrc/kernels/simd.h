// Which of the bodies that lanes.h makes this processor runs.
#pragma once

namespace vidssl {

enum class Simd : int { plain = 0, avx2 = 1, avx512 = 2 };

// The fastest that this processor has. VIDSSL_SIMD=plain|avx2|avx512 chooses one by name, for tests.
Simd simd();
const char* simd_body();  // its name

}  // namespace vidssl
