#include "cuda_check.h"
#include "plan.h"
#include "plan_sample.h"

namespace vidssl {
namespace {

constexpr int kThreads = 128;
using Samples = Chunk<PlanArgs, 24>;
static_assert(sizeof(Samples) + sizeof(PlanSpec) <= kParameterBytes);

// Block: one sample. All threads score its frames; the draws depend on each other, so one thread makes them.
__global__ void __launch_bounds__(kThreads) plan_kernel(PlanSpec spec, Samples samples) {
  const PlanArgs& args = samples.sample[blockIdx.x];
  if (args.prefix) {
    for (int f = threadIdx.x; f < args.frames; f += kThreads) args.prefix[f + 1] = motion_energy(args, f) + 1;
    __syncthreads();
  }
  if (threadIdx.x > 0) return;
  if (args.prefix) {
    args.prefix[0] = 0;
    for (int f = 0; f < args.frames; ++f) args.prefix[f + 1] += args.prefix[f];
  }
  plan_sample(spec, args);
}

}  // namespace

void plan_cuda(const PlanSpec& spec, const PlanArgs* samples, int count, void* stream) {
  for_each_chunk<Samples>("plan", samples, count, [&](const Samples& chunk, int size) {
    plan_kernel<<<size, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(spec, chunk);
  });
}

}  // namespace vidssl
