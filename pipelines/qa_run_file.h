// The run file of an evaluation: a header that says what was asked of which model, then one JSON line per question and config.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "pipelines/eval_qa.h"

namespace gritstone {

class QaRunFile {
 public:
  // Opens or creates. header: JSON, one line; a file with another header is refused. Throws Error: kInvalidArgument (another header, a
  // damaged line that is not the last; a last line cut by a crash is dropped), kStorage.
  QaRunFile(const std::filesystem::path& path, const std::string& header);
  ~QaRunFile();
  QaRunFile(const QaRunFile&) = delete;
  QaRunFile& operator=(const QaRunFile&) = delete;

  // What the file held when it was opened.
  const std::vector<QaRow>& rows() const noexcept { return rows_; }
  // Throws Error(kStorage).
  void append(const QaRow& row);

 private:
  std::filesystem::path path_;
  std::vector<QaRow> rows_;
  int fd_ = -1;
};

std::string qa_row_to_json(const QaRow& row);
// Throws Error(kInvalidArgument) naming `where`.
QaRow qa_row_from_json(const rapidjson::Value& json, const std::string& where);
QaRow qa_row_from_json(std::string_view json, const std::string& where);

}  // namespace gritstone
