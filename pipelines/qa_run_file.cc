#include "pipelines/qa_run_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <set>

#include "base/checked_file.h"
#include "base/error.h"
#include "base/utf8.h"

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

// Calls visit(number, line, where) for each complete line; number counts from 1. The bytes of complete lines.
template <typename Visit>
std::uint64_t for_each_whole_line(const std::string& text, const std::filesystem::path& path, Visit&& visit) {
  std::size_t number = 0, begin = 0;
  for (std::size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
    ++number;
    visit(number, std::string_view(text).substr(begin, end - begin), path.string() + ", line " + std::to_string(number));
    begin = end + 1;
  }
  return begin;
}

}  // namespace

std::string QaRunHeader::to_json() const {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> json(buffer);
  const auto text = [&](const char* key, const std::string& value) {
    json.Key(key);
    json.String(sanitize_utf8(value));
  };
  json.StartObject();
  json.Key("gritstone_qa_run");
  json.Int(version);
  text("model", model);
  text("numerics", numerics);
  json.Key("tokens");
  json.Uint64(tokens);
  json.Key("abstain");
  json.Bool(abstain);
  json.Key("kl");
  json.Bool(kl);
  text("search", search);
  json.Key("sources");
  json.StartArray();
  for (const QaRunSource& source : sources) {
    json.StartObject();
    text("label", source.label);
    text("collection", source.collection);
    json.Key("generation");
    json.Uint64(source.generation);
    json.Key("dense_weight");
    json.Double(source.dense_weight);
    json.EndObject();
  }
  json.EndArray();
  json.Key("about");
  json.StartArray();
  for (const auto& [name, value] : about) {
    json.StartArray();
    json.String(sanitize_utf8(name));
    json.String(sanitize_utf8(value));
    json.EndArray();
  }
  json.EndArray();
  json.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

QaRunHeader QaRunHeader::parse(std::string_view line, const std::string& where) {
  const auto fail = [&where](const std::string& what) { throw Error(ErrorCode::kInvalidArgument, where + ": " + what); };
  const rapidjson::Document json = parse_json(line, where);
  if (!json.IsObject() || !json.HasMember("gritstone_qa_run")) fail("no run file of `eval qa`");
  QaRunHeader h;
  try {
    h.version = static_cast<int>(json_integer(json, "gritstone_qa_run").value_or(0));
    if (h.version != 2 && h.version != 3) fail("version " + std::to_string(h.version) + " of run files; this program knows 2 and 3");
    h.model = json_string(json, "model").value_or("");
    h.numerics = json_string(json, "numerics").value_or("");
    h.tokens = static_cast<std::size_t>(json_integer(json, "tokens").value_or(0));
    h.abstain = json_bool(json, "abstain").value_or(true);
    h.kl = json_bool(json, "kl").value_or(false);
    h.search = json_string(json, "search").value_or("");
    h.mode = json_string(json, "mode").value_or("");
    if (h.version == 2) {
      const auto generation = static_cast<std::uint64_t>(json_integer(json, "generation").value_or(0));
      h.sources.push_back({"", json_string(json, "collection").value_or(""), generation, 0});
    }
    if (json.HasMember("sources") && json["sources"].IsArray()) {
      for (const rapidjson::Value& source : json["sources"].GetArray()) {
        if (!source.IsObject()) fail("\"sources\" holds something that is no object");
        h.sources.push_back({json_string(source, "label").value_or(""), json_string(source, "collection").value_or(""),
                             static_cast<std::uint64_t>(json_integer(source, "generation").value_or(0)),
                             json_number(source, "dense_weight").value_or(0)});
      }
    }
    if (json.HasMember("about") && json["about"].IsArray()) {
      for (const rapidjson::Value& pair : json["about"].GetArray()) {
        if (!pair.IsArray() || pair.Size() != 2 || !pair[0].IsString() || !pair[1].IsString())
          fail("\"about\" holds something that is no pair");
        h.about.emplace_back(pair[0].GetString(), pair[1].GetString());
      }
    }
  } catch (const Error& error) {
    if (std::string_view(error.what()).starts_with(where)) throw;
    fail(error.what());
  }
  return h;
}

bool QaRunHeader::same_evaluation(const QaRunHeader& older) const {
  if (older.model != model || older.numerics != numerics || older.tokens != tokens || older.abstain != abstain || older.kl != kl)
    return false;
  if (older.version == version) return older.search == search && older.sources == sources;
  return older.version == 2 && could_be_version_2 && older.mode == "fused" && older.sources[0].collection == sources[0].collection &&
         older.sources[0].generation == sources[0].generation;
}

QaRunFile::QaRunFile(const std::filesystem::path& path, const QaRunHeader& header) : path_(path) {
  std::uint64_t whole = 0;  // bytes of complete lines
  if (std::filesystem::exists(path)) {
    const std::string text = read_file(path, kMaxBytes);
    whole = for_each_whole_line(text, path, [&](std::size_t number, std::string_view line, const std::string& where) {
      if (number > 1) return rows_.push_back(qa_row_from_json(line, where));
      const QaRunHeader older = QaRunHeader::parse(line, where);
      if (header.same_evaluation(older)) return;
      throw Error(ErrorCode::kInvalidArgument,
                  path.string() + " is of another evaluation" +
                      (older.version == 2 ? " or of a version that knew neither modes in names nor baselines" : "") +
                      "; name another file.\n  it:  " + std::string(line) + "\n  now: " + header.to_json());
    });
  }
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) storage_error(path);
  if (::ftruncate(fd_, static_cast<off_t>(whole)) != 0 || ::lseek(fd_, 0, SEEK_END) < 0) {
    ::close(fd_);
    storage_error(path);
  }
  if (whole == 0) write_all(fd_, header.to_json() + "\n", path);
}

QaRunFile::~QaRunFile() { ::close(fd_); }

void QaRunFile::append(const QaRow& row) { write_all(fd_, qa_row_to_json(row) + "\n", path_); }

QaRun read_qa_run(const std::filesystem::path& path) {
  QaRun run;
  const std::string text = read_file(path, kMaxBytes);
  std::map<std::pair<std::string, std::string>, std::size_t> places;  // of (config, id) in rows
  std::set<std::string> configs;
  const std::uint64_t whole = for_each_whole_line(text, path, [&](std::size_t number, std::string_view line, const std::string& where) {
    if (number == 1) {
      run.header = QaRunHeader::parse(line, where);
      return;
    }
    QaRow row = qa_row_from_json(line, where);
    if (configs.insert(row.config).second) run.configs.push_back(row.config);
    const auto [it, fresh] = places.emplace(std::pair{row.config, row.id}, run.rows.size());
    if (fresh) {
      run.rows.push_back(std::move(row));
    } else {
      run.rows[it->second] = std::move(row);
    }
  });
  run.cut = whole < text.size();
  if (whole == 0) throw Error(ErrorCode::kInvalidArgument, path.string() + ": no complete line");
  return run;
}

}  // namespace gritstone
