#include "plan.h"
#include "plan_sample.h"

namespace vidssl {

void plan_cpu(const PlanSpec& spec, const PlanArgs* samples, int count) {
  for (int i = 0; i < count; ++i) {
    PlanWork work;
    plan_sample(Alone{}, work, spec, samples[i]);
  }
}

}  // namespace vidssl
