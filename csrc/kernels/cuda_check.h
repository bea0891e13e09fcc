// Launching: samples travel as a kernel parameter, so that no copy and no wait stands between the host and the kernel.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>

#include "check.h"

namespace vidssl {

// Of all parameters of one kernel, from CUDA 12.1 and its drivers (530) on, for Volta and later.
constexpr int kParameterBytes = 32764;
static_assert(CUDART_VERSION >= 12010, "parameters of more than 4096 bytes need CUDA 12.1");

// Samples by value. `Count` is as many as fit beside a kernel's other parameters.
template <typename Args, int Count>
struct Chunk {
  static constexpr int kCount = Count;
  Args sample[Count];
};

// kernel<<<grid, block, 0, stream>>>(args...), in plain C++: a compiler for the host can read it too.
template <typename... Parameters, typename... Args>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, void* stream, const Args&... args) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid, config.blockDim = block, config.stream = static_cast<cudaStream_t>(stream);
  cudaLaunchKernelEx(&config, kernel, args...);  // what is wrong is asked for by for_each_chunk
}

// Calls work(chunk, number of samples in it) until all `count` samples are launched; reports what the runtime has
// against it.
template <typename AnyChunk, typename Args, typename Work>
void for_each_chunk(const char* kernel, const Args* samples, int count, Work&& work) {
  for (int first = 0; first < count; first += AnyChunk::kCount) {
    const int size = std::min(count - first, AnyChunk::kCount);
    AnyChunk chunk{};
    std::copy_n(samples + first, size, chunk.sample);
    work(chunk, size);
    const cudaError_t error = cudaGetLastError();
    check(error == cudaSuccess, kernel, ": device=cuda: ", cudaGetErrorString(error), " (", cudaGetErrorName(error),
          ")");
  }
}

}  // namespace vidssl
