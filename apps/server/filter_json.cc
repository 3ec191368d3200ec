#include "apps/server/filter_json.h"

#include <optional>
#include <utility>

#include "base/utf8.h"

namespace gritstone {
namespace {

using Op = AttributeCondition::Op;

constexpr std::size_t kMaxConditions = 64;
constexpr std::size_t kMaxValues = 100;
constexpr std::size_t kMaxKey = 128;  // characters
constexpr std::size_t kMaxValue = 512;

std::optional<Op> op_of(std::string_view type) {
  const std::pair<std::string_view, Op> kOps[] = {{"eq", Op::kEq},   {"ne", Op::kNe},   {"gt", Op::kGt}, {"gte", Op::kGte},
                                                  {"lt", Op::kLt},   {"lte", Op::kLte}, {"in", Op::kIn}, {"nin", Op::kNin},
                                                  {"and", Op::kAnd}, {"or", Op::kOr}};
  for (const auto& [name, op] : kOps) {
    if (name == type) return op;
  }
  return std::nullopt;
}

class Parser {
 public:
  AttributeCondition parse(const rapidjson::Value& object, const std::string& name) {
    const RequestFields fields(object, name + ".");
    if (++count_ > kMaxConditions) fields.fail("type", "more than " + std::to_string(kMaxConditions) + " conditions");
    const std::optional<Op> op = op_of(fields.required_string("type", 16));
    if (!op) fields.fail("type", "must be one of: eq, ne, gt, gte, lt, lte, in, nin, and, or");
    AttributeCondition condition;
    condition.op = *op;
    if (condition.op == Op::kAnd || condition.op == Op::kOr) {
      const rapidjson::Value* filters = fields.array("filters", kMaxConditions);
      if (filters == nullptr) fields.fail("filters", "is missing", "missing_required_parameter");
      for (rapidjson::SizeType i = 0; i < filters->Size(); ++i) {
        condition.conditions.push_back(parse((*filters)[i], fields.name("filters") + "[" + std::to_string(i) + "]"));
      }
      return condition;
    }
    condition.key = fields.required_string("key");
    if (count_code_points(condition.key) > kMaxKey) fields.fail("key", "is longer than " + std::to_string(kMaxKey) + " characters");
    const rapidjson::Value* given = fields.find("value");
    if (given == nullptr) fields.fail("value", "is missing", "missing_required_parameter");
    if (condition.op != Op::kIn && condition.op != Op::kNin) {
      condition.values.push_back(value(*given, fields));
      return condition;
    }
    const rapidjson::Value* values = fields.array("value", kMaxValues);
    for (const rapidjson::Value& one : values->GetArray()) condition.values.push_back(value(one, fields));
    return condition;
  }

 private:
  static AttributeValue value(const rapidjson::Value& given, const RequestFields& fields) {
    if (given.IsNumber()) return given.GetDouble();
    if (given.IsBool()) return given.GetBool();
    if (!given.IsString()) fields.fail("value", "must be a string, a number or a boolean", "invalid_type");
    std::string text(given.GetString(), given.GetStringLength());
    if (count_code_points(text) > kMaxValue) fields.fail("value", "is longer than " + std::to_string(kMaxValue) + " characters");
    return text;
  }

  std::size_t count_ = 0;
};

}  // namespace

Filter parse_filters(const RequestFields& fields, const char* key) {
  Filter filter;
  if (const rapidjson::Value* object = fields.object(key)) filter.condition = Parser().parse(*object, fields.name(key));
  return filter;
}

}  // namespace gritstone
