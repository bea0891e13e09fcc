// Launches kernels. Samples are passed as a kernel parameter, so that the host neither copies nor waits.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>

#include "check.h"

namespace vidssl {

// Limit of all parameters of one kernel, since CUDA 12.1 and its drivers (530), for Volta and later.
constexpr int kParameterBytes = 32764;
static_assert(CUDART_VERSION >= 12010, "parameters of more than 4096 bytes need CUDA 12.1");

// Samples by value. `Count` must leave space for the kernel's other parameters.
template <typename Args, int Count>
struct Chunk {
  static constexpr int kCount = Count;
  Args sample[Count];
};

// kernel<<<grid, block, 0, stream>>>(args...) in plain C++, which a compiler for the host can also read.
template <typename... Parameters, typename... Args>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, void* stream, const Args&... args) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid, config.blockDim = block, config.stream = static_cast<cudaStream_t>(stream);
  cudaLaunchKernelEx(&config, kernel, args...);  // for_each_chunk checks the error
}

// Calls work(chunk, number of samples in it) until all `count` samples are launched. Raises the error that the CUDA
// runtime reports.
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
