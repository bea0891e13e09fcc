// Launching: samples travel as a kernel parameter, so that no copy and no wait stands between the host and the kernel.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>

#include "check.h"

namespace vidssl {

constexpr int kParameterBytes = 4096;  // of all parameters of one kernel, on every driver

// Samples by value. `Count` is as many as fit beside a kernel's other parameters.
template <typename Args, int Count>
struct Chunk {
  static constexpr int kCount = Count;
  Args sample[Count];
};

// Calls launch(chunk, number of samples in it) until all `count` samples are launched; reports what the runtime has against it.
template <typename AnyChunk, typename Args, typename Launch>
void for_each_chunk(const char* kernel, const Args* samples, int count, Launch&& launch) {
  for (int first = 0; first < count; first += AnyChunk::kCount) {
    const int size = std::min(count - first, AnyChunk::kCount);
    AnyChunk chunk{};
    std::copy_n(samples + first, size, chunk.sample);
    launch(chunk, size);
    const cudaError_t error = cudaGetLastError();
    check(error == cudaSuccess, kernel, ": device=cuda: ", cudaGetErrorString(error), " (", cudaGetErrorName(error), ")");
  }
}

}  // namespace vidssl
