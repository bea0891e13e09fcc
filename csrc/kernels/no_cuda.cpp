// Replaces the CUDA twins in a build without a CUDA compiler.
#include "assemble.h"
#include "check.h"
#include "motion.h"
#include "plan.h"
#include "reduce.h"

namespace vidssl {
namespace {

[[noreturn]] void missing(const char* kernel) {
  fail(kernel,
       ": device=cuda: this build has no CUDA twins; rebuild with an nvcc in NVCC, CUDA_HOME/bin or PATH, or use "
       "device=cpu");
}

}  // namespace

void motion_cuda(const MotionArgs*, int, void*) { missing("motion"); }
void plan_cuda(const PlanSpec&, const PlanArgs*, int, void*) { missing("plan"); }
void reduce_cuda(const ReduceSpec&, const ReduceArgs*, int, void*) { missing("reduce"); }
void assemble_cuda(const AssembleSpec&, const AssembleArgs*, int, void*) { missing("assemble"); }

}  // namespace vidssl
