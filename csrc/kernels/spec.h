// Reads a PlanSpec from the text that both faces get: "groups=1 bases=3 ... limits=0,1,15,60;1,2,1,60", each key once.
// Packs the two tables of a plan into one block of memory, which needs one upload.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "assemble.h"
#include "plan.h"

namespace vidssl {

PlanSpec parse_spec(const std::string& text);  // does not set the two table pointers
DType parse_dtype(const std::string& name);

// Packs arrangements [P * K * T] and labels [P] of `spec` into bytes. Labels come first, because they need addresses
// that are multiples of 8; arrangements need multiples of 4.
std::vector<std::uint8_t> pack_tables(const PlanSpec& spec, const std::vector<int>& arrangements,
                                      const std::vector<int>& labels);

// Points `spec` to its tables in a copy of those bytes. The copy's address must be a multiple of 8.
void take_tables(PlanSpec& spec, const void* packed);

// Checks of a face on numbers and host memory, before it calls a kernel. `argument` is the name that errors give.
void check_stored(const char* argument, std::int64_t frames, std::int64_t rows,
                  std::int64_t cols);                                               // stored size of a FrameView
void check_picture(const char* argument, std::int64_t height, std::int64_t width);  // picture size
void check_window(const PlanSpec& spec, std::int64_t frames, std::int64_t height, std::int64_t width);
void check_tables(const PlanSpec& spec);  // arrangements and labels, in host memory
void check_shown(std::int64_t slots, std::int64_t times);

}  // namespace vidssl
