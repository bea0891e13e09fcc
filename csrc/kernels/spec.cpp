#include "spec.h"

#include <cstring>
#include <map>
#include <sstream>
#include <vector>

#include "check.h"

namespace vidssl {
namespace {

class Fields {
 public:
  explicit Fields(const std::string& text) {
    std::istringstream words(text);
    for (std::string word; words >> word;) {
      const std::size_t at = word.find('=');
      check(at != std::string::npos, "spec: \"", word, "\" is not key=value");
      check(values_.emplace(word.substr(0, at), word.substr(at + 1)).second, "spec: \"", word, "\" is there twice");
    }
  }
  // Rows of numbers: "1,2;3,4".
  std::vector<std::vector<double>> rows(const std::string& key) {
    const auto found = values_.find(key);
    check(found != values_.end(), "spec: \"", key, "\" is missing");
    std::vector<std::vector<double>> rows;
    std::istringstream lines(found->second);
    for (std::string line; std::getline(lines, line, ';');) {
      std::istringstream items(line);
      rows.emplace_back();
      for (std::string item; std::getline(items, item, ',');) rows.back().push_back(std::stod(item));
    }
    values_.erase(found);
    return rows;
  }
  std::vector<double> numbers(const std::string& key, std::size_t count) {
    const auto found = rows(key);
    check(found.size() == 1 && found[0].size() == count, "spec: \"", key, "\" takes ", count, " numbers");
    return found[0];
  }
  int integer(const std::string& key) { return static_cast<int>(numbers(key, 1)[0]); }
  float real(const std::string& key) { return static_cast<float>(numbers(key, 1)[0]); }
  void finish() const { check(values_.empty(), "spec: unknown key \"", values_.empty() ? "" : values_.begin()->first, "\""); }

 private:
  std::map<std::string, std::string> values_;
};

template <int N, int Columns>
int fill(Fields& fields, const char* key, int (&table)[N][Columns]) {
  const auto rows = fields.rows(key);
  check(rows.size() <= N, "spec: \"", key, "\" has ", rows.size(), " rows, at most ", N);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    check(rows[i].size() == Columns, "spec: a row of \"", key, "\" takes ", Columns, " numbers");
    for (int j = 0; j < Columns; ++j) table[i][j] = static_cast<int>(rows[i][static_cast<std::size_t>(j)]);
  }
  return static_cast<int>(rows.size());
}

Augment parse_augment(Fields& fields) {
  Augment a{};
  const auto resize = fields.numbers("resize", 2), region = fields.numbers("region", 2), crop = fields.numbers("crop", 2),
             mean = fields.numbers("mean", 3), std = fields.numbers("std", 3);
  a.resize_h = static_cast<int>(resize[0]), a.resize_w = static_cast<int>(resize[1]);
  a.region_h = static_cast<int>(region[0]), a.region_w = static_cast<int>(region[1]);
  a.crop_h = static_cast<int>(crop[0]), a.crop_w = static_cast<int>(crop[1]);
  a.crop_scope = static_cast<Scope>(fields.integer("crop_scope"));
  a.jitter = fields.integer("jitter");
  a.flip = fields.real("flip");
  a.flip_scope = static_cast<Scope>(fields.integer("flip_scope"));
  a.brightness = fields.real("brightness"), a.contrast = fields.real("contrast"), a.saturation = fields.real("saturation");
  a.grey = fields.real("grey"), a.split = fields.real("split");
  a.color_scope = static_cast<Scope>(fields.integer("color_scope"));
  for (std::size_t i = 0; i < 3; ++i) a.mean[i] = static_cast<float>(mean[i]), a.std[i] = static_cast<float>(std[i]);
  return a;
}

}  // namespace

PlanSpec parse_spec(const std::string& text) {
  Fields fields(text);
  PlanSpec spec{};
  spec.groups = fields.integer("groups"), spec.bases = fields.integer("bases");
  spec.length = fields.integer("length"), spec.stride = fields.integer("stride");
  spec.draw = static_cast<Draw>(fields.integer("draw"));
  const auto gap = fields.numbers("gap", 2);
  spec.gap_min = static_cast<int>(gap[0]), spec.gap_max = static_cast<int>(gap[1]);
  spec.weight = static_cast<Weight>(fields.integer("weight"));
  spec.tries = fields.integer("tries");
  spec.limit_count = fill(fields, "limits", spec.limits);
  spec.distinct_count = fill(fields, "distinct", spec.distinct);
  spec.distinct_min = static_cast<std::uint32_t>(fields.numbers("distinct_min", 1)[0]);
  const auto table = fields.numbers("table", 3);
  spec.arrangement_count = static_cast<int>(table[0]), spec.slots = static_cast<int>(table[1]), spec.times = static_cast<int>(table[2]);
  spec.augment = parse_augment(fields);
  fields.finish();
  check(spec.groups > 0 && spec.bases > 0 && spec.groups * spec.bases <= kMaxBases, "spec: groups * bases = ", spec.groups * spec.bases,
        ", take 1..", kMaxBases);
  check(spec.length > 0 && spec.stride > 0 && spec.tries > 0 && spec.gap_min >= 0 && spec.gap_max >= spec.gap_min,
        "spec: length, stride and tries are at least 1, gap is 0 <= min <= max");
  check(spec.arrangement_count > 0 && spec.slots > 0 && spec.times > 0, "spec: the table is empty");
  return spec;
}

DType parse_dtype(const std::string& name) {
  if (name == "float32") return DType::float32;
  if (name == "float16") return DType::float16;
  if (name == "bfloat16") return DType::bfloat16;
  if (name == "uint8") return DType::uint8;
  fail("dtype=", name, ": take float32, float16, bfloat16 or uint8");
}

std::vector<std::uint8_t> pack_tables(const PlanSpec& spec, const std::vector<int>& arrangements, const std::vector<int>& labels) {
  const auto count = static_cast<std::size_t>(spec.arrangement_count);
  check(arrangements.size() == count * static_cast<std::size_t>(spec.slots * spec.times) && labels.size() == count,
        "arrangements, labels: they must have the sizes of the plan's table");
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
