#include "index/sqlite_filter.h"

namespace gritstone {
namespace {

bool has_wildcard(std::string_view pattern) { return pattern.find_first_of("*?[") != std::string_view::npos; }

std::string parameter(int& next) { return "?" + std::to_string(next++); }

const char* comparison(AttributeCondition::Op op) {
  switch (op) {
    case AttributeCondition::Op::kGt:
      return " > ";
    case AttributeCondition::Op::kGte:
      return " >= ";
    case AttributeCondition::Op::kLt:
      return " < ";
    case AttributeCondition::Op::kLte:
      return " <= ";
    default:
      return " = ";
  }
}

bool is_negated(AttributeCondition::Op op) { return op == AttributeCondition::Op::kNe || op == AttributeCondition::Op::kNin; }

// SQL and bind() walk the tree in the same order: key, then each value.
std::string condition_sql(const AttributeCondition& condition, int& next) {
  using Op = AttributeCondition::Op;
  std::string sql;
  if (condition.op == Op::kAnd || condition.op == Op::kOr) {
    for (const AttributeCondition& part : condition.conditions) {
      sql += sql.empty() ? "" : condition.op == Op::kAnd ? " AND " : " OR ";
      sql += condition_sql(part, next);
    }
    if (sql.empty()) return condition.op == Op::kAnd ? "1" : "0";
    return "(" + sql + ")";
  }
  const std::string key = parameter(next);
  for (const AttributeValue& value : condition.values) {
    sql += sql.empty() ? "" : " OR ";
    if (std::holds_alternative<double>(value)) {
      // JSON's idea of a number, so that "12th" and "" are none.
      sql += "CASE WHEN json_valid(a.value) AND json_type(a.value) IN ('integer', 'real') THEN CAST(a.value AS REAL)" +
             std::string(comparison(condition.op)) + parameter(next) + " ELSE 0 END";
    } else {
      sql += std::string("a.value") + comparison(condition.op) + parameter(next);
    }
  }
  return std::string(is_negated(condition.op) ? "NOT " : "") +
         "EXISTS(SELECT 1 FROM attributes a WHERE a.document_id = d.id AND a.key = " + key + " AND (" + (sql.empty() ? "0" : sql) + "))";
}

void bind_condition(Statement& statement, const AttributeCondition& condition, int& next) {
  using Op = AttributeCondition::Op;
  for (const AttributeCondition& part : condition.conditions) bind_condition(statement, part, next);
  if (condition.op == Op::kAnd || condition.op == Op::kOr) return;
  statement.bind(next++, condition.key);
  for (const AttributeValue& value : condition.values) {
    if (const auto* text = std::get_if<std::string>(&value)) {
      statement.bind(next++, *text);
    } else if (const auto* number = std::get_if<double>(&value)) {
      statement.bind_real(next++, *number);
    } else {
      statement.bind(next++, std::string_view(std::get<bool>(value) ? "true" : "false"));
    }
  }
}

}  // namespace

std::string filter_chunks_sql(const Filter& filter, int first) {
  int next = first;
  std::string sql = "SELECT c.id FROM documents d JOIN chunks c ON c.document_id = d.id WHERE d.collection_id = " + parameter(next);
  std::string any;
  for (const std::string& pattern : filter.paths) {
    any += any.empty() ? "" : " OR ";
    if (has_wildcard(pattern)) {
      any += "d.path GLOB " + parameter(next);
    } else {
      // The file itself, or everything below a folder of that name (a range: "0" follows "/" in byte order).
      const std::string exact = parameter(next);
      any += "d.path = " + exact + " OR (d.path >= " + exact + " || '/' AND d.path < " + exact + " || '0')";
    }
  }
  if (!any.empty()) sql += " AND (" + any + ")";
  std::string types;
  for (std::size_t i = 0; i < filter.types.size(); ++i) types += (i == 0 ? "" : ", ") + parameter(next);
  if (!types.empty()) sql += " AND d.type IN (" + types + ")";
  if (filter.modified_from_ns) sql += " AND d.mtime_ns >= " + parameter(next);
  if (filter.modified_before_ns) sql += " AND d.mtime_ns < " + parameter(next);
  for (std::size_t i = 0; i < filter.attributes.size(); ++i) {
    const std::string key = parameter(next);
    sql +=
        " AND EXISTS(SELECT 1 FROM attributes a WHERE a.document_id = d.id AND a.key = " + key + " AND a.value = " + parameter(next) + ")";
  }
  if (filter.condition) sql += " AND " + condition_sql(*filter.condition, next);
  return sql;
}

void bind_filter(Statement& statement, const Filter& filter, std::int64_t collection, int first) {
  int next = first;
  statement.bind(next++, collection);
  for (const std::string& path : filter.paths) {
    std::string_view pattern = path;
    if (!has_wildcard(pattern)) {
      while (pattern.size() > 1 && pattern.back() == '/') pattern.remove_suffix(1);
    }
    statement.bind(next++, pattern);
  }
  for (const std::string& type : filter.types) statement.bind(next++, type);
  if (filter.modified_from_ns) statement.bind(next++, *filter.modified_from_ns);
  if (filter.modified_before_ns) statement.bind(next++, *filter.modified_before_ns);
  for (const auto& [key, value] : filter.attributes) {
    statement.bind(next++, key);
    statement.bind(next++, value);
  }
  if (filter.condition) bind_condition(statement, *filter.condition, next);
}

}  // namespace gritstone
