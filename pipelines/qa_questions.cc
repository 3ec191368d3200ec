#include "pipelines/qa_questions.h"

#include <set>

#include "base/checked_file.h"
#include "base/error.h"
#include "pipelines/json_lines.h"

namespace gritstone {
namespace {

constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 30;

[[noreturn]] void fail(const std::string& where, const std::string& what) { throw Error(ErrorCode::kInvalidArgument, where + ": " + what); }

std::string text_of(const rapidjson::Value& value) { return {value.GetString(), value.GetStringLength()}; }

// A string or a list of strings.
std::vector<std::string> texts(const rapidjson::Value& object, const char* key, const std::string& where) {
  std::vector<std::string> out;
  const auto it = object.FindMember(key);
  if (it == object.MemberEnd() || it->value.IsNull()) return out;
  if (it->value.IsString()) return {text_of(it->value)};
  if (!it->value.IsArray()) fail(where, std::string("\"") + key + "\" is neither a text nor a list of texts");
  for (const rapidjson::Value& value : it->value.GetArray()) {
    if (!value.IsString()) fail(where, std::string("\"") + key + "\" holds something that is no text");
    out.push_back(text_of(value));
  }
  return out;
}

std::string id_of(const rapidjson::Value& object, const std::string& otherwise) {
  const auto it = object.FindMember("id");
  if (it == object.MemberEnd()) return otherwise;
  if (it->value.IsString()) return text_of(it->value);
  if (it->value.IsInt64()) return std::to_string(it->value.GetInt64());
  return otherwise;
}

std::string question_of(const rapidjson::Value& object, const std::string& where) {
  const std::optional<std::string> question = json_string(object, "question");
  if (!question || question->find_first_not_of(" \t\r\n") == std::string::npos) fail(where, "no \"question\"");
  return *question;
}

QaQuestion read_line(const rapidjson::Value& object, std::size_t number, const std::string& where) {
  if (!object.IsObject()) fail(where, "no JSON object");
  QaQuestion q;
  q.id = id_of(object, std::to_string(number));
  q.question = question_of(object, where);
  q.where = where;
  bool has_answers = false;
  for (const char* key : {"answers", "golden_answers", "answer"}) {
    if (!object.HasMember(key)) continue;
    has_answers = true;
    q.answers = texts(object, key, where);
    break;
  }
  for (const std::string& answer : q.answers) {
    if (answer.find_first_not_of(" \t\r\n") == std::string::npos) fail(where, "an answer is empty");
  }
  if (!has_answers) fail(where, "none of \"answers\", \"golden_answers\", \"answer\"");
  q.against = texts(object, "against", where);
  q.kind = json_string(object, "kind").value_or("");
  if (const auto gold = object.FindMember("gold"); gold != object.MemberEnd() && gold->value.IsArray()) {
    for (const rapidjson::Value& span : gold->value.GetArray()) {
      if (!span.IsObject()) fail(where, "\"gold\" holds something that is no object");
      const auto start = json_integer(span, "start"), end = json_integer(span, "end");
      const auto document = json_string(span, "document");
      if (!document || !start || !end || *start < 0 || *end < *start) fail(where, "a gold passage needs document, start and end");
      q.gold.push_back({*document, static_cast<std::size_t>(*start), static_cast<std::size_t>(*end)});
    }
  }
  if (const auto contexts = object.FindMember("positive_ctxs"); contexts != object.MemberEnd() && contexts->value.IsArray()) {
    for (const rapidjson::Value& context : contexts->value.GetArray()) {
      if (!context.IsObject()) fail(where, "\"positive_ctxs\" holds something that is no object");
      for (const char* key : {"passage_id", "psg_id"}) {
        const auto id = context.FindMember(key);
        if (id == context.MemberEnd()) continue;
        if (id->value.IsString()) q.positive_ids.push_back(text_of(id->value));
        if (id->value.IsInt64()) q.positive_ids.push_back(std::to_string(id->value.GetInt64()));
        break;
      }
    }
  }
  return q;
}

const rapidjson::Value& list(const rapidjson::Value& object, const char* key, const std::string& where) {
  if (!object.IsObject() || !object.HasMember(key) || !object[key].IsArray()) fail(where, std::string("no list \"") + key + "\"");
  return object[key];
}

std::vector<QaQuestion> read_squad(const rapidjson::Value& document, const std::string& path) {
  std::vector<QaQuestion> questions;
  for (const rapidjson::Value& article : list(document, "data", path).GetArray()) {
    for (const rapidjson::Value& paragraph : list(article, "paragraphs", path).GetArray()) {
      for (const rapidjson::Value& qa : list(paragraph, "qas", path).GetArray()) {
        const std::string where = path + ", question " + std::to_string(questions.size() + 1);
        if (!qa.IsObject()) fail(where, "no JSON object");
        QaQuestion q;
        q.id = id_of(qa, std::to_string(questions.size() + 1));
        q.question = question_of(qa, where);
        q.where = where;
        const bool impossible = json_bool(qa, "is_impossible").value_or(false);
        q.kind = impossible ? "unanswerable" : "single";
        if (!impossible) {
          for (const rapidjson::Value& answer : list(qa, "answers", where).GetArray()) {
            const auto text = answer.IsObject() ? json_string(answer, "text") : std::nullopt;
            if (!text) fail(where, "an answer without \"text\"");
            q.answers.push_back(*text);
          }
        }
        questions.push_back(std::move(q));
      }
    }
  }
  return questions;
}

// One document over many lines, where the first line alone is no question.
bool looks_like_squad(const std::string& text) {
  const std::string_view head = std::string_view(text).substr(0, 4096);
  return head.find("\"data\"") != std::string_view::npos && head.find("\"question\"") > head.find("\"data\"");
}

bool is_list(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  return first != std::string::npos && text[first] == '[';
}

}  // namespace

std::vector<QaQuestion> read_questions(const std::filesystem::path& path) {
  std::vector<QaQuestion> questions;
  const std::string text = read_file(path, kMaxBytes);
  std::size_t number = 0;
  // Gold answers repeat keys nowhere, but checking a hundred thousand objects for it would cost more than reading them.
  if (is_list(text)) {
    const rapidjson::Document json = parse_json(text, path.string(), 32, false);
    for (const rapidjson::Value& value : json.GetArray()) {
      ++number;
      questions.push_back(read_line(value, number, path.string() + ", question " + std::to_string(number)));
    }
  } else if (looks_like_squad(text)) {
    questions = read_squad(parse_json(text, path.string(), 32, false), path.string());
  } else {
    for_each_json_line(
        path, [&](const rapidjson::Value& value, const std::string& where) { questions.push_back(read_line(value, ++number, where)); });
  }
  if (questions.empty()) fail(path.string(), "no questions");
  std::set<std::string_view> ids;
  for (const QaQuestion& q : questions) {
    if (!ids.insert(q.id).second) fail(q.where, "the id \"" + q.id + "\" stands there twice");
  }
  return questions;
}

}  // namespace gritstone
