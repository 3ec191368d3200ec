#include "pipelines/request_records.h"

#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "base/utf8.h"

namespace gritstone {

std::string request_record_json(const RequestRecord& record) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> w(buffer);
  w.StartObject();
  w.Key("index");
  w.Uint64(record.index);
  for (const auto& [name, value] : {std::pair{"due", record.due}, {"begun", record.begun}}) {
    w.Key(name);
    w.Double(value);
  }
  w.Key("first_token");
  record.first_token > 0 ? w.Double(record.first_token) : w.Null();
  w.Key("ended");
  w.Double(record.ended);
  w.Key("tokens");
  w.Uint64(record.tokens);
  w.Key("ok");
  w.Bool(record.ok);
  w.Key("error");
  w.String(sanitize_utf8(record.error));
  w.Key("stages");
  w.StartObject();
  for (const auto& [stage, ms] : record.stages) {
    w.Key(stage.data(), static_cast<rapidjson::SizeType>(stage.size()));
    w.Double(ms);
  }
  w.EndObject();
  w.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

RequestRecordFile::RequestRecordFile(std::filesystem::path path) : path_(std::move(path)), out_(path_, std::ios::binary | std::ios::trunc) {
  if (!out_) throw Error(ErrorCode::kStorage, path_.string() + " cannot be written");
}

void RequestRecordFile::write(const RequestRecord& record) noexcept {
  try {
    const std::string line = request_record_json(record) + "\n";
    const std::lock_guard lock(mutex_);
    out_ << line << std::flush;
  } catch (const std::exception&) {
    out_.setstate(std::ios::badbit);
  }
}

void RequestRecordFile::finish() {
  const std::lock_guard lock(mutex_);
  out_.flush();
  if (!out_) throw Error(ErrorCode::kStorage, path_.string() + " could not be written to its end");
}

}  // namespace gritstone
