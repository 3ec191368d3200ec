#include "pipelines/qa_run_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>

#include "base/checked_file.h"
#include "base/error.h"

namespace gritstone {
namespace {

constexpr std::uint64_t kMaxBytes = std::uint64_t{4} << 30;

[[noreturn]] void storage_error(const std::filesystem::path& path) {
  throw Error(ErrorCode::kStorage, path.string() + ": " + std::strerror(errno));
}

void write_all(int fd, std::string_view text, const std::filesystem::path& path) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) storage_error(path);
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

}  // namespace

std::string qa_row_to_json(const QaRow& row) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> json(buffer);
  json.StartObject();
  const auto text = [&](const char* key, const std::string& value) {
    json.Key(key);
    json.String(value);
  };
  const auto count = [&](const char* key, std::size_t value) {
    json.Key(key);
    json.Uint64(value);
  };
  const auto truth = [&](const char* key, bool value) {
    json.Key(key);
    json.Bool(value);
  };
  const auto number = [&](const char* key, double value) {
    json.Key(key);
    json.Double(value);
  };
  text("config", row.config);
  text("id", row.id);
  text("kind", row.kind);
  truth("answerable", row.answerable);
  text("answer", row.answer);
  number("em", row.exact_match);
  number("f1", row.f1);
  truth("contained", row.contained);
  truth("abstained", row.abstained);
  truth("hit", row.hit);
  count("citations", row.citations);
  count("citations_ok", row.citations_ok);
  count("prompt_tokens", row.prompt_tokens);
  count("reused_tokens", row.reused_tokens);
  count("recomputed_tokens", row.recomputed_tokens);
  count("completion_tokens", row.completion_tokens);
  number("ttft_ms", row.ttft_ms);
  number("total_ms", row.total_ms);
  text("fingerprint", row.fingerprint);
  json.Key("kl");
  json.StartArray();
  for (const float kl : row.kl) json.Double(std::round(kl * 1e6) / 1e6);
  json.EndArray();
  count("same_top", row.same_top);
  json.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

QaRow qa_row_from_json(std::string_view text, const std::string& where) { return qa_row_from_json(parse_json(text, where), where); }

QaRow qa_row_from_json(const rapidjson::Value& json, const std::string& where) {
  const auto require = [&](const auto& value, const char* key) {
    if (!value) throw Error(ErrorCode::kInvalidArgument, where + ": no \"" + key + "\"");
    return *value;
  };
  const auto words = [&](const char* key) { return require(json_string(json, key), key); };
  const auto number = [&](const char* key) { return require(json_number(json, key), key); };
  const auto truth = [&](const char* key) { return require(json_bool(json, key), key); };
  const auto count = [&](const char* key) { return static_cast<std::size_t>(require(json_integer(json, key), key)); };
  if (!json.IsObject()) throw Error(ErrorCode::kInvalidArgument, where + ": no JSON object");
  QaRow row;
  row.config = words("config");
  row.id = words("id");
  row.kind = words("kind");
  row.answerable = truth("answerable");
  row.answer = words("answer");
  row.exact_match = number("em");
  row.f1 = number("f1");
  row.contained = truth("contained");
  row.abstained = truth("abstained");
  row.hit = truth("hit");
  row.citations = count("citations");
  row.citations_ok = count("citations_ok");
  row.prompt_tokens = count("prompt_tokens");
  row.reused_tokens = count("reused_tokens");
  row.recomputed_tokens = count("recomputed_tokens");
  row.completion_tokens = count("completion_tokens");
  row.ttft_ms = number("ttft_ms");
  row.total_ms = number("total_ms");
  row.fingerprint = words("fingerprint");
  if (!json.HasMember("kl") || !json["kl"].IsArray()) throw Error(ErrorCode::kInvalidArgument, where + ": no \"kl\"");
  for (const rapidjson::Value& kl : json["kl"].GetArray()) {
    if (!kl.IsNumber()) throw Error(ErrorCode::kInvalidArgument, where + ": \"kl\" holds something that is no number");
    row.kl.push_back(static_cast<float>(kl.GetDouble()));
  }
  row.same_top = count("same_top");
  return row;
}

QaRunFile::QaRunFile(const std::filesystem::path& path, const std::string& header) : path_(path) {
  std::uint64_t whole = 0;  // bytes of complete lines
  if (std::filesystem::exists(path)) {
    const std::string text = read_file(path, kMaxBytes);
    std::size_t number = 0;
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = text.find('\n', begin);
      if (end == std::string::npos) break;
      const std::string_view line = std::string_view(text).substr(begin, end - begin);
      const std::string where = path.string() + ", line " + std::to_string(++number);
      if (number == 1) {
        if (line != header) {
          throw Error(ErrorCode::kInvalidArgument,
                      path.string() + " is of another evaluation; name another file.\n  it:  " + std::string(line) + "\n  now: " + header);
        }
      } else {
        rows_.push_back(qa_row_from_json(line, where));
      }
      begin = end + 1;
      whole = begin;
    }
  }
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) storage_error(path);
  if (::ftruncate(fd_, static_cast<off_t>(whole)) != 0 || ::lseek(fd_, 0, SEEK_END) < 0) {
    ::close(fd_);
    storage_error(path);
  }
  if (whole == 0) write_all(fd_, header + "\n", path);
}

QaRunFile::~QaRunFile() { ::close(fd_); }

void QaRunFile::append(const QaRow& row) { write_all(fd_, qa_row_to_json(row) + "\n", path_); }

}  // namespace gritstone
