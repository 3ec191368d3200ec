// A line of the run file.
#include <cmath>

#include "base/error.h"
#include "base/utf8.h"
#include "pipelines/qa_run_file.h"

namespace gritstone {
namespace {

class RowWriter {
 public:
  void text(const char* key, const std::string& value) {
    json_.Key(key);
    json_.String(sanitize_utf8(value));
  }
  void count(const char* key, std::size_t value) {
    json_.Key(key);
    json_.Uint64(value);
  }
  void truth(const char* key, bool value) {
    json_.Key(key);
    json_.Bool(value);
  }
  void number(const char* key, double value) {
    json_.Key(key);
    json_.Double(std::isfinite(value) ? value : 0);
  }
  template <typename Items, typename Write>
  void list(const char* key, const Items& items, Write&& write) {
    json_.Key(key);
    json_.StartArray();
    for (const auto& item : items) write(item);
    json_.EndArray();
  }
  rapidjson::Writer<rapidjson::StringBuffer>& json() { return json_; }
  std::string done() const { return {buffer_.GetString(), buffer_.GetSize()}; }

 private:
  rapidjson::StringBuffer buffer_;
  rapidjson::Writer<rapidjson::StringBuffer> json_{buffer_};
};

class RowReader {
  template <typename Read>
  auto optional(Read read, const char* key) const {
    try {
      return read(json_, key);
    } catch (const Error& error) {
      fail(error.what());
    }
  }
  template <typename Value>
  Value require(const std::optional<Value>& value, const char* key) const {
    if (!value) fail(std::string("no \"") + key + "\"");
    return *value;
  }

 public:
  RowReader(const rapidjson::Value& json, const std::string& where) : json_(json), where_(where) {
    if (!json.IsObject()) fail("no JSON object");
  }

  [[noreturn]] void fail(const std::string& what) const { throw Error(ErrorCode::kInvalidArgument, where_ + ": " + what); }
  std::string text(const char* key) const { return require(optional(json_string, key), key); }
  double number(const char* key) const { return require(optional(json_number, key), key); }
  bool truth(const char* key) const { return require(optional(json_bool, key), key); }
  std::size_t count(const char* key) const {
    const std::int64_t value = require(optional(json_integer, key), key);
    if (value < 0) fail(std::string("\"") + key + "\" is negative");
    return static_cast<std::size_t>(value);
  }
  std::string text_or(const char* key, const std::string& otherwise) const { return optional(json_string, key).value_or(otherwise); }
  bool has(const char* key) const { return json_.HasMember(key); }

  // Calls visit(element) of a list that may be missing.
  template <typename Visit>
  void list(const char* key, Visit&& visit) const {
    if (!json_.HasMember(key)) return;
    if (!json_[key].IsArray()) fail(std::string("\"") + key + "\" is no list");
    for (const rapidjson::Value& value : json_[key].GetArray()) visit(value);
  }

 private:
  const rapidjson::Value& json_;
  const std::string& where_;
};

}  // namespace

std::string qa_row_to_json(const QaRow& row) {
  RowWriter out;
  rapidjson::Writer<rapidjson::StringBuffer>& json = out.json();
  json.StartObject();
  out.text("config", row.config);
  out.text("id", row.id);
  out.text("kind", row.kind);
  out.text("question", row.question);
  out.list("gold", row.gold, [&](const std::string& answer) { json.String(sanitize_utf8(answer)); });
  out.truth("answerable", row.answerable);
  if (!row.error.empty()) out.text("error", row.error);
  out.text("answer", row.answer);
  out.number("em", row.exact_match);
  out.number("f1", row.f1);
  out.truth("contained", row.contained);
  out.truth("abstained", row.abstained);
  out.truth("hit", row.hit);
  out.count("citations", row.citations);
  out.count("citations_ok", row.citations_ok);
  out.count("prompt_tokens", row.prompt_tokens);
  out.count("reused_tokens", row.reused_tokens);
  out.count("recomputed_tokens", row.recomputed_tokens);
  out.count("completion_tokens", row.completion_tokens);
  out.number("ttft_ms", row.ttft_ms);
  out.number("total_ms", row.total_ms);
  json.Key("stages");
  json.StartObject();
  for (const auto& [stage, ms] : row.stages) out.number(stage.c_str(), ms);
  json.EndObject();
  out.list("passages", row.passages, [&](const QaPassage& p) {
    json.StartObject();
    out.text("path", p.path);
    out.count("start", p.start);
    out.count("end", p.end);
    out.number("score", p.score);
    out.text("text", p.text);
    json.EndObject();
  });
  out.list("cited", row.cited, [&](const QaCitation& c) {
    json.StartObject();
    out.count("n", c.n);
    out.text("path", c.path);
    out.count("start", c.start);
    out.count("end", c.end);
    json.EndObject();
  });
  if (row.budget_ms > 0) {
    out.number("budget_ms", row.budget_ms);
    out.truth("budget_fits", row.budget_fits);
    out.number("expected_ms", row.expected_ms);
    out.number("cautious_ms", row.cautious_ms);
    out.text("chosen", row.chosen);
  }
  out.text("fingerprint", row.fingerprint);
  out.list("kl", row.kl, [&](float kl) { json.Double(std::round(static_cast<double>(kl) * 1e6) / 1e6); });
  out.count("same_top", row.same_top);
  json.EndObject();
  return out.done();
}

QaRow qa_row_from_json(std::string_view text, const std::string& where) { return qa_row_from_json(parse_json(text, where), where); }

QaRow qa_row_from_json(const rapidjson::Value& json, const std::string& where) {
  const RowReader in(json, where);
  QaRow row;
  row.config = in.text("config");
  row.id = in.text("id");
  row.kind = in.text("kind");
  row.question = in.text_or("question", "");
  in.list("gold", [&](const rapidjson::Value& answer) {
    if (!answer.IsString()) in.fail("\"gold\" holds something that is no text");
    row.gold.emplace_back(answer.GetString(), answer.GetStringLength());
  });
  row.answerable = in.truth("answerable");
  row.error = in.text_or("error", "");
  row.answer = in.text("answer");
  row.exact_match = in.number("em");
  row.f1 = in.number("f1");
  row.contained = in.truth("contained");
  row.abstained = in.truth("abstained");
  row.hit = in.truth("hit");
  row.citations = in.count("citations");
  row.citations_ok = in.count("citations_ok");
  row.prompt_tokens = in.count("prompt_tokens");
  row.reused_tokens = in.count("reused_tokens");
  row.recomputed_tokens = in.count("recomputed_tokens");
  row.completion_tokens = in.count("completion_tokens");
  row.ttft_ms = in.number("ttft_ms");
  row.total_ms = in.number("total_ms");
  if (in.has("stages")) {
    if (!json["stages"].IsObject()) in.fail("\"stages\" is no object");
    for (const auto& stage : json["stages"].GetObject()) {
      if (!stage.value.IsNumber()) in.fail("\"stages\" holds something that is no number");
      row.stages[{stage.name.GetString(), stage.name.GetStringLength()}] = stage.value.GetDouble();
    }
  }
  in.list("passages", [&](const rapidjson::Value& value) {
    const RowReader p(value, where);
    row.passages.push_back({p.text("path"), p.count("start"), p.count("end"), p.number("score"), p.text("text")});
  });
  in.list("cited", [&](const rapidjson::Value& value) {
    const RowReader c(value, where);
    row.cited.push_back({c.count("n"), c.text("path"), c.count("start"), c.count("end")});
  });
  if (in.has("budget_ms")) {
    row.budget_ms = in.number("budget_ms");
    row.budget_fits = in.truth("budget_fits");
    row.expected_ms = in.number("expected_ms");
    row.cautious_ms = in.number("cautious_ms");
    row.chosen = in.text("chosen");
  }
  row.fingerprint = in.text("fingerprint");
  if (!in.has("kl")) in.fail("no \"kl\"");
  in.list("kl", [&](const rapidjson::Value& kl) {
    if (!kl.IsNumber()) in.fail("\"kl\" holds something that is no number");
    row.kl.push_back(static_cast<float>(kl.GetDouble()));
  });
  row.same_top = in.count("same_top");
  return row;
}

}  // namespace gritstone
