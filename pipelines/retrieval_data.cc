#include "pipelines/retrieval_data.h"

#include <algorithm>
#include <map>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "base/checked_file.h"
#include "base/error.h"
#include "base/json.h"
#include "pipelines/json_lines.h"
#include "pipelines/trec_files.h"

namespace gritstone {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 30;

[[noreturn]] void fail(const std::string& where, const std::string& what) { throw Error(ErrorCode::kInvalidArgument, where + ": " + what); }

std::string beir_id(const rapidjson::Value& object, const std::string& where) {
  const auto it = object.IsObject() ? object.FindMember("_id") : rapidjson::Value::ConstMemberIterator{};
  if (object.IsObject() && it != object.MemberEnd()) {
    // Some data sets write numbers.
    if (it->value.IsString() && it->value.GetStringLength() > 0) return {it->value.GetString(), it->value.GetStringLength()};
    if (it->value.IsInt64()) return std::to_string(it->value.GetInt64());
  }
  throw Error(ErrorCode::kInvalidArgument, where + " has no \"_id\"");
}

// Which line has an id; the second one with it is refused.
class Ids {
 public:
  void add(const std::string& id, const std::string& where) {
    const auto [it, fresh] = first_.try_emplace(id, where);
    if (fresh) return;
    // "FILE, line 3" without the file.
    const std::size_t comma = it->second.rfind(", ");
    fail(where, "the id \"" + id + "\" stands there twice, first in " + it->second.substr(comma == std::string::npos ? 0 : comma + 2));
  }

 private:
  std::map<std::string, std::string> first_;
};

std::map<std::string, std::string> read_queries(const fs::path& path) {
  std::map<std::string, std::string> queries;
  Ids ids;
  for_each_json_line(path, [&](const rapidjson::Value& object, const std::string& where) {
    const std::string id = beir_id(object, where);
    ids.add(id, where);
    queries[id] = json_string(object, "text").value_or("");
  });
  return queries;
}

fs::path judgements_path(const fs::path& directory, const std::string& split) {
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
  return folder / (chosen + ".tsv");
}

RetrievalData open_beir(const fs::path& directory, const std::string& split) {
  RetrievalData data;
  RetrievalTask& task = data.task;
  task.skips_own_id = true;
  const fs::path path = judgements_path(directory, split);
  task.judgements = read_judgements(path);
  const std::map<std::string, std::string> queries = read_queries(directory / "queries.jsonl");
  for (auto it = task.judgements.begin(); it != task.judgements.end();) {
    if (std::ranges::none_of(it->second, [](const auto& judged) { return judged.second > 0; })) {
      ++task.unanswerable;
      it = task.judgements.erase(it);
      continue;
    }
    const auto query = queries.find(it->first);
    if (query == queries.end()) fail(path.string(), "query \"" + it->first + "\" is judged, but it is not in queries.jsonl");
    task.queries[it->first] = query->second;
    ++it;
  }
  if (task.judgements.empty()) fail(path.string(), "no query has a relevant document");
  data.for_each_document = [directory](const std::function<void(const CorpusDocument&)>& visit) {
    Ids ids;
    for_each_json_line(directory / "corpus.jsonl", [&](const rapidjson::Value& object, const std::string& where) {
      CorpusDocument document;
      document.id = beir_id(object, where);
      ids.add(document.id, where);
      document.title = json_string(object, "title").value_or("");
      document.text = json_string(object, "text").value_or("");
      visit(document);
    });
  };
  return data;
}

const rapidjson::Value& list(const rapidjson::Value& object, const char* key, const std::string& where) {
  if (!object.IsObject() || !object.HasMember(key) || !object[key].IsArray()) fail(where, std::string("no list \"") + key + "\"");
  return object[key];
}

std::string required_text(const rapidjson::Value& object, const char* key, const std::string& where) {
  if (!object.IsObject() || !object.HasMember(key) || !object[key].IsString()) fail(where, std::string("no text \"") + key + "\"");
  const rapidjson::Value& value = object[key];
  const std::string_view text(value.GetString(), value.GetStringLength());
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) fail(where, std::string("\"") + key + "\" is empty");
  return std::string(text);
}

RetrievalData open_squad(const fs::path& path) {
  RetrievalData data;
  RetrievalTask& task = data.task;
  const auto documents = std::make_shared<std::vector<CorpusDocument>>();
  std::map<std::pair<std::string, std::string>, std::string> known;  // title and text -> id
  Ids ids;
  const rapidjson::Document json = parse_json(read_file(path, kMaxBytes), path.string(), 32, false);
  std::size_t a = 0;
  for (const rapidjson::Value& article : list(json, "data", path.string()).GetArray()) {
    const std::string of_article = path.string() + ", article " + std::to_string(++a);
    std::size_t p = 0;
    for (const rapidjson::Value& paragraph : list(article, "paragraphs", of_article).GetArray()) {
      const std::string of_paragraph = of_article + ", paragraph " + std::to_string(++p);
      CorpusDocument document;
      document.title = json_string(article, "title").value_or("");
      std::ranges::replace(document.title, '_', ' ');  // SQuAD writes titles as Wikipedia's addresses do
      document.text = required_text(paragraph, "context", of_paragraph);
      document.id = std::to_string(a) + "." + std::to_string(p);
      const auto [it, fresh] = known.try_emplace({document.title, document.text}, document.id);
      if (fresh) documents->push_back(document);
      std::size_t q = 0;
      for (const rapidjson::Value& qa : list(paragraph, "qas", of_paragraph).GetArray()) {
        const std::string where = of_paragraph + ", question " + std::to_string(++q);
        const std::string id = required_text(qa, "id", where);
        ids.add(id, where);
        const std::string question = required_text(qa, "question", where);
        if (json_bool(qa, "is_impossible").value_or(false)) {
          ++task.unanswerable;
          continue;
        }
        if (list(qa, "answers", where).Empty()) fail(where, "no answer, and it is not marked is_impossible");
        task.queries[id] = question;
        task.judgements[id][it->second] = 1;
      }
    }
  }
  if (task.queries.empty()) fail(path.string(), "no answerable question");
  data.for_each_document = [documents](const std::function<void(const CorpusDocument&)>& visit) {
    for (const CorpusDocument& document : *documents) visit(document);
  };
  return data;
}

}  // namespace

RetrievalData open_retrieval_data(const fs::path& path, const std::string& split) {
  if (fs::is_directory(path)) return open_beir(path, split);
  if (!fs::exists(path)) throw Error(ErrorCode::kNotFound, path.string() + " does not exist");
  if (!split.empty()) fail(path.string(), "--split is for BEIR folders, and this is a file");
  return open_squad(path);
}

}  // namespace gritstone
