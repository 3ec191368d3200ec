#include "pipelines/quality_table.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "pipelines/certificate.h"

namespace gritstone {

std::string quality_entry_name(const QualityEntry& entry) {
  std::string name = reuse_name(entry.reuse);
  if (entry.reuse.composes()) name += "/" + std::string(kv_type_name(entry.span_type));
  name += ", " + std::to_string(entry.k) + (entry.k == 1 ? " passage" : " passages");
  if (entry.passage_tokens > 0) name += " of at most " + std::to_string(entry.passage_tokens) + " tokens";
  return name + ", " + std::string(search_mode_name(entry.mode));
}

bool same_way(const QualityEntry& a, const QualityEntry& b) {
  return a.layout == b.layout && quality_entry_name(a) == quality_entry_name(b);
}

QualityTable quality_table_for(const Store& store, const CollectionInfo& collection, const ModelParts& model, PromptLayout layout) {
  if (const auto body = store.quality_table(collection.id, model.hash())) {
    QualityTable own = quality_table_from_json(*body);
    if (std::ranges::any_of(own.entries, [&](const QualityEntry& entry) { return entry.layout == layout; })) return own;
  }
  return default_quality_table();
}

QualityTable merge_quality_tables(QualityTable measured, const QualityTable& before) {
  if (before.source != measured.source) return measured;
  for (const QualityEntry& entry : before.entries) {
    const auto same = [&](const QualityEntry& other) { return same_way(other, entry); };
    if (std::ranges::none_of(measured.entries, same)) measured.entries.push_back(entry);
  }
  return measured;
}

std::string quality_table_to_json(const QualityTable& table) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> json(buffer);
  const auto text = [&json](const char* key, std::string_view value) {
    json.Key(key);
    json.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
  };
  const auto count = [&json](const char* key, std::size_t value) {
    json.Key(key);
    json.Uint64(value);
  };
  json.StartObject();
  text("source", table.source);
  json.Key("entries");
  json.StartArray();
  for (const QualityEntry& entry : table.entries) {
    json.StartObject();
    text("mode", search_mode_name(entry.mode));
    count("k", entry.k);
    count("passage_tokens", entry.passage_tokens);
    text("reuse", reuse_name(entry.reuse));
    text("span_type", kv_type_name(entry.span_type));
    text("layout", layout_name(entry.layout));
    json.Key("f1");
    json.Double(entry.value);
    count("n", entry.n);
    json.EndObject();
  }
  json.EndArray();
  json.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

QualityTable quality_table_from_json(std::string_view text) {
  try {
    const rapidjson::Document json = parse_json(text, "quality table");
    const auto require = [](auto value) {
      if (!value) throw Error(ErrorCode::kDamagedData, "a field is missing");
      return *value;
    };
    QualityTable table;
    table.own = true;
    table.source = require(json_string(json, "source"));
    const auto entries = json.FindMember("entries");
    if (entries == json.MemberEnd() || !entries->value.IsArray()) throw Error(ErrorCode::kDamagedData, "no entries");
    for (const rapidjson::Value& value : entries->value.GetArray()) {
      QualityEntry entry;
      entry.mode = parse_search_mode(require(json_string(value, "mode")));
      entry.k = static_cast<std::size_t>(require(json_integer(value, "k")));
      entry.passage_tokens = static_cast<std::size_t>(require(json_integer(value, "passage_tokens")));
      entry.reuse = parse_reuse(require(json_string(value, "reuse")));
      entry.span_type = require(kv_type_from_name(require(json_string(value, "span_type"))));
      entry.layout = require(json_string(value, "layout")) == layout_name(PromptLayout::kQueryFirst) ? PromptLayout::kQueryFirst
                                                                                                     : PromptLayout::kDocsFirst;
      entry.value = require(json_number(value, "f1"));
      entry.n = static_cast<std::size_t>(require(json_integer(value, "n")));
      table.entries.push_back(entry);
    }
    return table;
  } catch (const Error& error) {
    throw Error(ErrorCode::kDamagedData, std::string("a quality table cannot be read: ") + error.what());
  }
}

QualityTable default_quality_table() {
  struct Measured {
    SearchMode mode;
    std::size_t k, passage_tokens;
    double hit;
  };
  static constexpr Measured kMeasured[] = {
      {SearchMode::kBm25, 1, 64, 0.618},  {SearchMode::kBm25, 1, 0, 0.712},   {SearchMode::kBm25, 2, 64, 0.659},
      {SearchMode::kBm25, 2, 0, 0.771},   {SearchMode::kFused, 1, 64, 0.676}, {SearchMode::kFused, 1, 0, 0.794},
      {SearchMode::kFused, 3, 64, 0.735}, {SearchMode::kFused, 3, 0, 0.876},  {SearchMode::kFused, 5, 64, 0.759},
      {SearchMode::kFused, 5, 0, 0.906},
  };
  QualityTable table;
  table.source = "170 sample questions";
  for (const Measured& m : kMeasured) {
    QualityEntry entry;
    entry.mode = m.mode;
    entry.k = m.k;
    entry.passage_tokens = m.passage_tokens;
    entry.reuse = {ReuseKind::kExact};
    entry.value = m.hit;
    entry.n = 170;
    table.entries.push_back(entry);
    // A part of a passage is this question's alone, so there is nothing to reuse.
    if (m.passage_tokens > 0) continue;
    entry.reuse = {ReuseKind::kChunks};
    table.entries.push_back(entry);
  }
  return table;
}

}  // namespace gritstone
