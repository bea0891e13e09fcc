#include "cuda_check.h"
#include "plan.h"
#include "plan_sample.h"

namespace vidssl {
namespace {

constexpr int kThreads = 512, kWarp = 32, kWarps = kThreads / kWarp;
constexpr unsigned kAll = 0xFFFFFFFFu;
using Samples = Chunk<PlanArgs, 64>;  // a usual batch in one launch
static_assert(sizeof(Samples) + sizeof(PlanSpec) <= kParameterBytes);

struct Shared {
  PlanWork work;
  std::uint64_t sum[kWarps];
  int y[kWarps], x[kWarps];
};

// A block is the team, and its warps are the groups.
class Block {
 public:
  __device__ explicit Block(Shared& shared) : shared_(shared) {}
  __device__ int lane() const { return static_cast<int>(threadIdx.x); }
  __device__ int size() const { return kThreads; }
  __device__ int group() const { return lane() / kWarp; }
  __device__ int groups() const { return kWarps; }
  __device__ int group_lane() const { return lane() % kWarp; }
  __device__ int group_size() const { return kWarp; }
  __device__ void sync() const { __syncthreads(); }

  __device__ std::uint64_t group_sum(std::uint64_t value) const {
    for (int apart = kWarp / 2; apart > 0; apart /= 2) value += __shfl_xor_sync(kAll, value, apart);
    return value;
  }

  __device__ std::uint64_t before(std::uint64_t value, std::uint64_t* total) const {
    std::uint64_t sum = value;
    for (int apart = 1; apart < kWarp; apart *= 2) {
      const std::uint64_t lower = __shfl_up_sync(kAll, sum, apart);
      if (group_lane() >= apart) sum += lower;
    }
    if (group_lane() == kWarp - 1) shared_.sum[group()] = sum;
    __syncthreads();
    std::uint64_t lower = 0, all = 0;
    for (int w = 0; w < kWarps; ++w) {
      if (w < group()) lower += shared_.sum[w];
      all += shared_.sum[w];
    }
    __syncthreads();  // all members have read the sums, which may now be written again
    *total = all;
    return lower + sum - value;
  }

  __device__ void first_best(std::uint64_t* best, int* y, int* x) const {
    for (int apart = kWarp / 2; apart > 0; apart /= 2) {
      const std::uint64_t other = __shfl_xor_sync(kAll, *best, apart);
      const int other_y = __shfl_xor_sync(kAll, *y, apart), other_x = __shfl_xor_sync(kAll, *x, apart);
      take(other, other_y, other_x, best, y, x);
    }
    if (group_lane() == 0) shared_.sum[group()] = *best, shared_.y[group()] = *y, shared_.x[group()] = *x;
    __syncthreads();
    for (int w = 0; w < kWarps; ++w) take(shared_.sum[w], shared_.y[w], shared_.x[w], best, y, x);
    __syncthreads();
  }

 private:
  // A score of 0 has no corner and never wins.
  __device__ static void take(std::uint64_t other, int other_y, int other_x, std::uint64_t* best, int* y, int* x) {
    const bool earlier = other_y < *y || (other_y == *y && other_x < *x);
    if (other > *best || (other == *best && other > 0 && earlier)) *best = other, *y = other_y, *x = other_x;
  }

  Shared& shared_;
};

// Each block draws one sample.
__global__ void __launch_bounds__(kThreads)
    plan_kernel(const __grid_constant__ PlanSpec spec, const __grid_constant__ Samples samples) {
  __shared__ Shared shared;
  plan_sample(Block{shared}, shared.work, spec, samples.sample[blockIdx.x]);
}

}  // namespace

void plan_cuda(const PlanSpec& spec, const PlanArgs* samples, int count, void* stream) {
  for_each_chunk<Samples>("plan", samples, count, [&](const Samples& chunk, int size) {
    launch(plan_kernel, dim3(static_cast<unsigned>(size)), dim3(kThreads), stream, spec, chunk);
  });
}

}  // namespace vidssl
