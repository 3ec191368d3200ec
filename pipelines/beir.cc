#include "pipelines/beir.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "pipelines/json_lines.h"

namespace gritstone {
namespace {

std::string id_of(const rapidjson::Value& object, const std::string& what) {
  const auto it = object.IsObject() ? object.FindMember("_id") : rapidjson::Value::ConstMemberIterator{};
  if (object.IsObject() && it != object.MemberEnd()) {
    // Some data sets write numbers.
    if (it->value.IsString()) return {it->value.GetString(), it->value.GetStringLength()};
    if (it->value.IsInt64()) return std::to_string(it->value.GetInt64());
  }
  throw Error(ErrorCode::kInvalidArgument, what + " has no \"_id\"");
}

}  // namespace

void for_each_beir_document(const std::filesystem::path& directory, const std::function<void(const BeirDocument&)>& visit) {
  for_each_json_line(directory / "corpus.jsonl", [&](const rapidjson::Value& object, const std::string& what) {
    BeirDocument document;
    document.id = id_of(object, what);
    document.title = json_string(object, "title").value_or("");
    document.text = json_string(object, "text").value_or("");
    visit(document);
  });
}

std::map<std::string, std::string> read_beir_queries(const std::filesystem::path& directory) {
  std::map<std::string, std::string> queries;
  for_each_json_line(directory / "queries.jsonl", [&](const rapidjson::Value& object, const std::string& what) {
    queries[id_of(object, what)] = json_string(object, "text").value_or("");
  });
  return queries;
}

Judgements read_beir_judgements(const std::filesystem::path& directory, const std::string& split) {
  namespace fs = std::filesystem;
  const fs::path folder = directory / "qrels";
  std::vector<std::string> splits;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".tsv") splits.push_back(entry.path().stem().string());
  }
  std::sort(splits.begin(), splits.end());
  std::string chosen = split;
  if (chosen.empty()) chosen = splits.size() == 1 ? splits[0] : "test";
  if (std::find(splits.begin(), splits.end(), chosen) == splits.end()) {
    std::string names;
    for (const std::string& name : splits) names += (names.empty() ? "" : ", ") + name;
    throw Error(ErrorCode::kNotFound, folder.string() + " has no " + chosen + ".tsv" + (names.empty() ? "" : "; there is: " + names));
  }
  return read_judgements(folder / (chosen + ".tsv"));
}

}  // namespace gritstone
