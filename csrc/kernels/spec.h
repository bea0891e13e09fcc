// The text in which both faces are given a PlanSpec and a type: "groups=1 bases=3 ... limits=0,1,15,60;1,2,1,60", every
// key once. And a plan's two tables as one block of memory, to be uploaded at once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "assemble.h"
#include "plan.h"

namespace vidssl {

PlanSpec parse_spec(const std::string& text);  // all but the two table pointers
DType parse_dtype(const std::string& name);

// arrangements [P * K * T] and labels [P] of `spec` as bytes. Labels come first: they need addresses that are multiples
// of 8, and the rows are any number of 4 bytes.
std::vector<std::uint8_t> pack_tables(const PlanSpec& spec, const std::vector<int>& arrangements,
                                      const std::vector<int>& labels);

// Points `spec` to its tables in a copy of those bytes; it must begin at a multiple of 8.
void take_tables(PlanSpec& spec, const void* packed);

// What a face checks of numbers and host memory before a kernel sees them. `argument` is where they come from, as
// errors name it.
void check_stored(const char* argument, std::int64_t frames, std::int64_t rows, std::int64_t cols);  // of a FrameView
void check_picture(const char* argument, std::int64_t height, std::int64_t width);  // that a plan is made for
void check_window(const PlanSpec& spec, std::int64_t frames, std::int64_t height, std::int64_t width);
void check_tables(const PlanSpec& spec);  // arrangements and labels, in host memory
void check_shown(std::int64_t slots, std::int64_t times);

}  // namespace vidssl
