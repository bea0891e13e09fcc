#include "plan.h"
#include "plan_sample.h"

namespace vidssl {

void plan_cpu(const PlanSpec& spec, const PlanArgs* samples, int count) {
  for (int i = 0; i < count; ++i) {
    const PlanArgs& args = samples[i];
    if (args.prefix) {
      args.prefix[0] = 0;
      for (int f = 0; f < args.frames; ++f) args.prefix[f + 1] = args.prefix[f] + motion_energy(args, f) + 1;
    }
    plan_sample(spec, args);
  }
}

}  // namespace vidssl
