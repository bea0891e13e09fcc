// Enough of CUDA to run the bodies of csrc/kernels/*_cuda.cu on a machine without a GPU: blocks one after the other,
// the threads of a block as coroutines that change places at barriers and shuffles. It finds wrong results, reads that
// are not aligned or go beyond an array, barriers that not all threads reach, and, as threads run in ascending or
// descending order, what depends on their order. It says nothing about speed.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __launch_bounds__(...)
#define __grid_constant__
#define CUDART_VERSION 13000

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned across = 1, unsigned down = 1, unsigned deep = 1) : x(across), y(down), z(deep) {}
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
using cudaStream_t = void*;
using cudaError_t = int;
constexpr cudaError_t cudaSuccess = 0;
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
};
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t) { return ""; }
inline const char* cudaGetErrorName(cudaError_t) { return ""; }

using std::max;
using std::min;

inline dim3 threadIdx, blockIdx;

namespace emulated {

[[noreturn]] inline void stop(const char* what) {
  std::fprintf(stderr, "block (%u, %u, %u), thread (%u, %u): %s\n", blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x,
               threadIdx.y, what);
  std::exit(1);
}

inline bool descending = false;  // the order in which threads take turns
enum class At { runs, block, warp, end };
constexpr int kWarp = 32, kStack = 1 << 17;

struct Thread {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  dim3 index;
  At at;
  std::uint64_t shown;  // to the others of its warp
};

inline ucontext_t scheduler;
inline std::vector<Thread> threads;
inline Thread* current = nullptr;
inline std::function<void()> body;

inline void wait(At at) {
  current->at = at;
  swapcontext(&current->context, &scheduler);
}

inline void enter() {
  body();
  current->at = At::end;
  swapcontext(&current->context, &scheduler);
}

// Lets threads [first, last) go on if all of them that have not ended wait at `at`.
inline bool release(std::size_t first, std::size_t last, At at) {
  bool any = false;
  for (std::size_t i = first; i < last; ++i) {
    if (threads[i].at == At::end) continue;
    if (threads[i].at != at) return false;
    any = true;
  }
  for (std::size_t i = first; any && i < last; ++i)
    if (threads[i].at == at) threads[i].at = At::runs;
  return any;
}

// Runs threads [first, last), a warp, as far as they come without the others of their block.
inline void run_warp(std::size_t first, std::size_t last) {
  do {
    for (std::size_t turn = first; turn < last; ++turn) {
      Thread& thread = threads[descending ? last - 1 - (turn - first) : turn];
      if (thread.at != At::runs) continue;
      current = &thread;
      threadIdx = thread.index;
      swapcontext(&scheduler, &thread.context);
    }
  } while (release(first, last, At::warp));
}

inline void run_block(const dim3& block) {
  threads.resize(static_cast<std::size_t>(block.x) * block.y * block.z);
  for (std::size_t i = 0; i < threads.size(); ++i) {
    Thread& thread = threads[i];
    if (!thread.stack) thread.stack.reset(new char[kStack]);
    thread.index = {static_cast<unsigned>(i) % block.x, static_cast<unsigned>(i) / block.x % block.y,
                    static_cast<unsigned>(i) / (block.x * block.y)};
    thread.at = At::runs;
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.get();
    thread.context.uc_stack.ss_size = kStack;
    thread.context.uc_link = nullptr;
    makecontext(&thread.context, enter, 0);
  }
  const std::size_t count = threads.size(), warps = (count + kWarp - 1) / kWarp;
  do {
    for (std::size_t turn = 0; turn < warps; ++turn) {
      const std::size_t first = (descending ? warps - 1 - turn : turn) * kWarp;
      run_warp(first, std::min(count, first + kWarp));
    }
  } while (release(0, count, At::block));
  for (const Thread& thread : threads)
    if (thread.at != At::end) stop("a barrier that not all threads reach");
}

// Memory that kernels may load from, to the byte: a page's end does not show a load that begins in an array and goes a
// little beyond.
inline std::vector<std::pair<const char*, const char*>> arrays;

inline bool readable(const void* from, std::size_t size) {
  const auto* first = static_cast<const char*>(from);
  return std::any_of(arrays.begin(), arrays.end(),
                     [&](const auto& array) { return array.first <= first && first + size <= array.second; });
}

// The value of another lane, which shows its own.
template <typename T>
T exchange(T value, int from) {
  static_assert(sizeof(T) <= sizeof(std::uint64_t));
  std::memcpy(&current->shown, &value, sizeof value);
  wait(At::warp);
  const std::size_t mine = static_cast<std::size_t>(current - threads.data()), first = mine / kWarp * kWarp;
  const Thread& other = threads[first + static_cast<std::size_t>(from)];
  if (other.at == At::end) stop("a shuffle from a thread that has ended");
  T found;
  std::memcpy(&found, &other.shown, sizeof found);
  wait(At::warp);
  return found;
}

inline int lane() { return static_cast<int>((current - threads.data()) % kWarp); }

}  // namespace emulated

inline void __syncthreads() { emulated::wait(emulated::At::block); }
inline void __syncwarp() { emulated::wait(emulated::At::warp); }

template <typename T>
T __shfl_xor_sync(unsigned, T value, int apart) {
  return emulated::exchange(value, emulated::lane() ^ apart);
}
template <typename T>
T __shfl_up_sync(unsigned, T value, unsigned apart) {
  const int from = emulated::lane() - static_cast<int>(apart);
  return emulated::exchange(value, from < 0 ? emulated::lane() : from);
}

inline bool __any_sync(unsigned, bool value) {
  int any = value;
  for (int apart = 1; apart < emulated::kWarp; apart *= 2) any |= __shfl_xor_sync(0u, any, apart);
  return any != 0;
}

template <typename T>
T __ldg(const T* from) {
  if (reinterpret_cast<std::uintptr_t>(from) % sizeof(T) != 0) emulated::stop("a load that is not aligned");
  if (!emulated::readable(from, sizeof(T))) emulated::stop("a load from beyond an array");
  return *from;
}
inline unsigned __dp4a(unsigned a, unsigned b, unsigned sum) {
  for (int shift = 0; shift < 32; shift += 8) sum += (a >> shift & 255u) * (b >> shift & 255u);
  return sum;
}
// Bytes of a and b, 0 to 7, chosen by the last three bits of each digit.
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned digits) {
  const std::uint64_t both = static_cast<std::uint64_t>(b) << 32 | a;
  unsigned made = 0;
  for (int i = 0; i < 4; ++i) made |= static_cast<unsigned>(both >> 8 * (digits >> 4 * i & 7u) & 255u) << 8 * i;
  return made;
}
inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline int __float2int_rn(float value) { return static_cast<int>(std::nearbyint(value)); }

template <typename... Parameters, typename... Args>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...), const Args&... args) {
  emulated::body = [&] { kernel(args...); };
  const dim3& grid = config->gridDim;
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = {x, y, z};
        emulated::run_block(config->blockDim);
      }
  return cudaSuccess;
}
