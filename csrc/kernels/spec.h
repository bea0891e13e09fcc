// The text in which both faces are given a PlanSpec and a type: "groups=1 bases=3 ... limits=0,1,15,60;1,2,1,60", every key once.
#pragma once

#include <string>

#include "assemble.h"
#include "plan.h"

namespace vidssl {

PlanSpec parse_spec(const std::string& text);  // all but the two table pointers
DType parse_dtype(const std::string& name);

}  // namespace vidssl
