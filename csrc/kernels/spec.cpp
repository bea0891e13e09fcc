#include "spec.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <iomanip>
#include <limits>
#include <map>
#include <sstream>
#include <vector>

#include "check.h"

namespace vidssl {
namespace {

constexpr int kMost = std::numeric_limits<int>::max();
constexpr double kMaxAspect = 64.0;  // of a random crop
constexpr float kColorRange = 1e6f;  // limit of mean and std, so that no colour map overflows

class Fields {
 public:
  explicit Fields(const std::string& text) {
    std::istringstream words(text);
    for (std::string word; words >> word;) {
      const std::size_t at = word.find('=');
      check(at != std::string::npos, "spec: \"", word, "\" is not key=value; separate key=value words by spaces");
      check(values_.emplace(word.substr(0, at), word.substr(at + 1)).second, "spec: \"", word,
            "\" repeats a key; give each key once");
    }
  }
  // Rows of numbers: "1,2;3,4".
  std::vector<std::vector<double>> rows(const std::string& key) {
    const auto found = values_.find(key);
    check(found != values_.end(), "spec: \"", key, "\" is missing; add ", key, "=...");
    std::vector<std::vector<double>> rows;
    std::istringstream lines(found->second);
    for (std::string line; std::getline(lines, line, ';');) {
      std::istringstream items(line);
      rows.emplace_back();
      for (std::string item; std::getline(items, item, ',');) rows.back().push_back(number(key, item));
    }
    values_.erase(found);
    return rows;
  }
  std::vector<double> numbers(const std::string& key, std::size_t count) {
    const auto found = rows(key);
    check(found.size() == 1 && found[0].size() == count, "spec: \"", key, "\" must hold ", count, " numbers");
    return found[0];
  }
  bool has(const std::string& key) const { return values_.count(key) > 0; }
  // One whole number in low..high.
  std::int64_t integer(const std::string& key, std::int64_t low, std::int64_t high) {
    return whole(key, numbers(key, 1)[0], low, high);
  }
  int integer(const std::string& key, int low, int high) {
    return static_cast<int>(integer(key, std::int64_t{low}, std::int64_t{high}));
  }
  template <int N>
  std::array<int, N> integers(const std::string& key, int low, int high) {
    std::array<int, N> result;
    const auto found = numbers(key, N);
    for (std::size_t i = 0; i < N; ++i) result[i] = static_cast<int>(whole(key, found[i], low, high));
    return result;
  }
  float real(const std::string& key, float low, float high) { return within(key, numbers(key, 1)[0], low, high); }
  static float within(const std::string& key, double value, float low, float high) {
    check(value >= low && value <= high, "spec: ", key, "=", value, ": take ", low, "..", high);
    return static_cast<float>(value);
  }
  static std::int64_t whole(const std::string& key, double value, std::int64_t low, std::int64_t high) {
    check(value >= static_cast<double>(low) && value <= static_cast<double>(high) && std::trunc(value) == value,
          "spec: ", key, "=", std::setprecision(12), value, ": take a whole number in ", low, "..", high);
    return static_cast<std::int64_t>(value);
  }
  void finish() const {
    check(values_.empty(), "spec: unknown key \"", values_.empty() ? "" : values_.begin()->first, "\"; remove it");
  }

 private:
  static double number(const std::string& key, const std::string& item) {
    double value = 0.0;
    const char* end = item.data() + item.size();
    const auto read = std::from_chars(item.data(), end, value);
    check(read.ec == std::errc{} && read.ptr == end && std::isfinite(value), "spec: ", key, "=", item,
          ": take a finite number");
    return value;
  }

  std::map<std::string, std::string> values_;
};

template <int N, int Columns>
int fill(Fields& fields, const char* key, int bases, int (&table)[N][Columns]) {
  const auto rows = fields.rows(key);
  check(rows.size() <= N, "spec: \"", key, "\" has ", rows.size(), " rows; take at most ", N);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    check(rows[i].size() == Columns, "spec: a row of \"", key, "\" must hold ", Columns, " numbers");
    for (int j = 0; j < Columns; ++j)  // the first two numbers are bases
      table[i][j] = static_cast<int>(
          Fields::whole(key, rows[i][static_cast<std::size_t>(j)], j < 2 ? 0 : -kMost, j < 2 ? bases - 1 : kMost));
  }
  return static_cast<int>(rows.size());
}

// log2 to a multiple of 2^-20, which the last bit of a machine's logarithm does not change.
double fine_log2(double value) { return std::round(std::log2(value) * 1048576.0) / 1048576.0; }

Augment parse_augment(Fields& fields) {
  Augment a{};
  const auto resize = fields.integers<2>("resize", 1, kMaxSide), region = fields.integers<2>("region", 0, kMaxSide),
             crop = fields.integers<2>("crop", 1, kMaxSide);
  const auto mean = fields.numbers("mean", 3), std = fields.numbers("std", 3);
  a.resize_h = resize[0], a.resize_w = resize[1], a.region_h = region[0], a.region_w = region[1], a.crop_h = crop[0],
  a.crop_w = crop[1];
  const auto fits = [](const char* name, const std::array<int, 2>& inner, const char* other,
                       const std::array<int, 2>& outer) {
    check(inner[0] <= outer[0] && inner[1] <= outer[1], "spec: ", name, "=", inner[0], ",", inner[1],
          ": it must fit into ", other, "=", outer[0], ",", outer[1]);
  };
  a.short_side = fields.has("short_side") ? fields.integer("short_side", 1, kMaxSide) : 0;
  // The longer side is at least as long, so what fits into this square fits into every picture.
  const std::array<int, 2> square{a.short_side, a.short_side}, &whole = a.short_side > 0 ? square : resize;
  const char* const of = a.short_side > 0 ? "short_side" : "resize";
  check((a.region_h > 0) == (a.region_w > 0), "spec: region=", a.region_h, ",", a.region_w,
        ": take two positive sizes, or 0,0 for none");
  fits("region", region, of, whole);
  a.region_h > 0 ? fits("crop", crop, "region", region) : fits("crop", crop, of, whole);
  a.crop_scope = static_cast<Scope>(fields.integer("crop_scope", 0, 2));
  if (fields.has("crop_area")) {
    const auto area = fields.numbers("crop_area", 2), aspect = fields.numbers("crop_aspect", 2);
    check(0.0 < area[0] && area[0] <= area[1] && area[1] <= 1.0, "spec: crop_area=", area[0], ",", area[1],
          ": take fractions 0 < min <= max <= 1");
    check(1.0 / kMaxAspect <= aspect[0] && aspect[0] <= aspect[1] && aspect[1] <= kMaxAspect,
          "spec: crop_aspect=", aspect[0], ",", aspect[1], ": take ratios min <= max in 1/", kMaxAspect, "..",
          kMaxAspect);
    a.area_min = area[0], a.area_max = area[1];
    a.aspect_min = fine_log2(aspect[0]), a.aspect_max = fine_log2(aspect[1]);
  }
  a.jitter = fields.integer("jitter", 0, kMaxSide);
  a.flip = fields.real("flip", 0.0f, 1.0f);
  a.flip_scope = static_cast<Scope>(fields.integer("flip_scope", 1, 2));
  a.brightness = fields.real("brightness", 0.0f, 1.0f), a.contrast = fields.real("contrast", 0.0f, 1.0f);
  a.saturation = fields.real("saturation", 0.0f, 1.0f);
  a.hue = fields.has("hue") ? fields.real("hue", 0.0f, 0.5f) : 0.0f;
  a.grey = fields.real("grey", 0.0f, 1.0f), a.split = fields.real("split", 0.0f, 1.0f);
  a.color_scope = static_cast<Scope>(fields.integer("color_scope", 0, 2));
  for (std::size_t i = 0; i < 3; ++i) a.mean[i] = Fields::within("mean", mean[i], -kColorRange, kColorRange);
  for (std::size_t i = 0; i < 3; ++i) a.std[i] = Fields::within("std", std[i], 1.0f / kColorRange, kColorRange);
  return a;
}

}  // namespace

PlanSpec parse_spec(const std::string& text) {
  Fields fields(text);
  PlanSpec spec{};
  spec.groups = fields.integer("groups", 1, kMaxBases), spec.bases = fields.integer("bases", 1, kMaxBases);
  check(spec.groups * spec.bases <= kMaxBases, "spec: groups * bases = ", spec.groups * spec.bases, ", take 1..",
        kMaxBases);
  spec.length = fields.integer("length", 1, kMaxPlaces), spec.stride = fields.integer("stride", 1, kMaxPlaces);
  spec.draw = static_cast<Draw>(fields.integer("draw", 0, 1));
  const auto gap = fields.integers<2>("gap", 0, kMaxPlaces);
  spec.gap_min = gap[0], spec.gap_max = gap[1];
  check(spec.gap_min <= spec.gap_max, "spec: gap=", spec.gap_min, ",", spec.gap_max, ": take 0 <= min <= max");
  const std::int64_t extent = (spec.length - std::int64_t{1}) * spec.stride + 1,
                     span = spec.bases * (extent + spec.gap_max);
  check(span <= kMaxPlaces && std::int64_t{spec.groups} * spec.bases * spec.length <= kMaxPlaces,
        "spec: bases=", spec.bases, ", length=", spec.length, ", stride=", spec.stride, ", gap=", spec.gap_min, ",",
        spec.gap_max, ": the bases take up more than ", kMaxPlaces, " frames; take fewer");
  spec.weight = static_cast<Weight>(fields.integer("weight", 0, 1));
  spec.tries = fields.integer("tries", 1, kMaxTries);
  spec.limit_count = fill(fields, "limits", spec.bases, spec.limits);
  spec.distinct_count = fill(fields, "distinct", spec.bases, spec.distinct);
  spec.distinct_min =
      static_cast<std::uint32_t>(fields.integer("distinct_min", std::int64_t{0}, std::int64_t{0xFFFFFFFF}));
  const auto table = fields.integers<3>("table", 1, kMost);
  spec.arrangement_count = table[0], spec.slots = table[1], spec.times = table[2];
  check(std::int64_t{spec.slots} * spec.times <= kMaxShown, "spec: table=", table[0], ",", table[1], ",", table[2],
        ": a plan shows at most ", kMaxShown, " frames; take fewer slots or times");
  spec.augment = parse_augment(fields);
  const auto grid = fields.has("grid") ? fields.integers<2>("grid", 1, kMaxSide) : std::array<int, 2>{1, 1};
  spec.grid_h = grid[0], spec.grid_w = grid[1];
  const Augment& a = spec.augment;
  const auto side = [&](int region, int resize) {
    return region > 0 ? region : a.short_side > 0 ? a.short_side : resize;
  };
  check(
      side(a.region_h, a.resize_h) / spec.grid_h >= a.crop_h && side(a.region_w, a.resize_w) / spec.grid_w >= a.crop_w,
      "spec: grid=", spec.grid_h, ",", spec.grid_w, ": the crop must fit into a cell; take a smaller crop or grid");
  check(std::int64_t{spec.groups} * spec.bases * spec.length * spec.grid_h * spec.grid_w <= kMaxPlaces,
        "spec: grid=", spec.grid_h, ",", spec.grid_w, ": the frames of all cells are more than ", kMaxPlaces,
        "; take fewer");
  fields.finish();
  return spec;
}

void check_stored(const char* argument, std::int64_t frames, std::int64_t rows, std::int64_t cols) {
  check(frames <= kMaxFrames && rows <= kMaxSide && cols <= kMaxSide && rows * cols <= kMaxPixels, argument, ": ",
        frames, " frames of ", rows, " x ", cols, ": take at most ", kMaxFrames, " frames, ", kMaxSide, " a side and ",
        kMaxPixels, " pixels; cut them into parts");
}

void check_picture(const char* argument, std::int64_t height, std::int64_t width) {
  check(height > 0 && width > 0 && height <= kMaxSide && width <= kMaxSide && height * width <= kMaxPixels, argument,
        "=(", height, ", ", width, "): take positive (height, width), at most ", kMaxSide, " a side and ", kMaxPixels,
        " pixels");
}

void check_window(const PlanSpec& spec, std::int64_t frames, std::int64_t height, std::int64_t width) {
  const bool looks = plan_reads_sad(spec) || spec.distinct_count > 0;
  const int most = looks ? kMaxFrames : kMost;
  check(frames > 0 && frames <= most, "frames=", frames, ": take a number in 1..", most);
  check_picture("size", height, width);
  const Augment& a = spec.augment;
  const std::int64_t down = resized(a.short_side, a.resize_h, height, width),
                     right = resized(a.short_side, a.resize_w, width, height);
  check(height * down <= kMost && width * right <= kMost, "resize=(", down, ", ", right, "), size=(", height, ", ",
        width, "): their products are more than ", kMost, "; take a smaller resize (or short_side) and crop");
}

void check_tables(const PlanSpec& spec) {
  const int pool = spec.groups * spec.bases * spec.length * spec.grid_h * spec.grid_w;
  const std::int64_t count = static_cast<std::int64_t>(spec.arrangement_count) * spec.slots * spec.times;
  const auto [low, high] = std::minmax_element(spec.arrangements, spec.arrangements + count);
  check(*low >= 0 && *high < pool, "arrangements=", *low < 0 ? *low : *high, ": take pool numbers in 0..", pool - 1);
  const std::int64_t label = *std::min_element(spec.labels, spec.labels + spec.arrangement_count);
  check(label >= 0, "labels=", label, ": take classes of 0 or more");
}

void check_shown(std::int64_t slots, std::int64_t times) {
  check(slots <= kMaxShown && times <= kMaxShown && slots * times <= kMaxShown, "frame is [", slots, ", ", times,
        "]: a plan shows at most ", kMaxShown, " frames; take fewer slots or times");
}

DType parse_dtype(const std::string& name) {
  if (name == "float32") return DType::float32;
  if (name == "float16") return DType::float16;
  if (name == "bfloat16") return DType::bfloat16;
  if (name == "uint8") return DType::uint8;
  fail("dtype=", name, ": take float32, float16, bfloat16 or uint8");
}

std::vector<std::uint8_t> pack_tables(const PlanSpec& spec, const std::vector<int>& arrangements,
                                      const std::vector<int>& labels) {
  const auto count = static_cast<std::size_t>(spec.arrangement_count);
  check(arrangements.size() == count * static_cast<std::size_t>(spec.slots * spec.times) && labels.size() == count,
        "arrangements, labels: they have ", arrangements.size(), " and ", labels.size(),
        " numbers; the plan's table takes ", count * static_cast<std::size_t>(spec.slots * spec.times), " and ", count);
  const std::vector<std::int64_t> wide(labels.begin(), labels.end());
  const std::vector<std::int32_t> rows(arrangements.begin(), arrangements.end());
  std::vector<std::uint8_t> packed(wide.size() * sizeof(std::int64_t) + rows.size() * sizeof(std::int32_t));
  std::memcpy(packed.data(), wide.data(), wide.size() * sizeof(std::int64_t));
  std::memcpy(packed.data() + wide.size() * sizeof(std::int64_t), rows.data(), rows.size() * sizeof(std::int32_t));
  return packed;
}

void take_tables(PlanSpec& spec, const void* packed) {
  spec.labels = static_cast<const std::int64_t*>(packed);
  spec.arrangements = reinterpret_cast<const std::int32_t*>(spec.labels + spec.arrangement_count);
}

}  // namespace vidssl
