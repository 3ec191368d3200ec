// The run file of an evaluation: a header that says what was asked of which model, then one JSON line per question and config.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "pipelines/eval_qa.h"

namespace gritstone {

struct QaRunSource {
  std::string label, collection;  // label: empty for the collection under test
  std::uint64_t generation = 0;
  double dense_weight = 0;
  bool operator==(const QaRunSource&) const = default;
};

// The first line. Version 2 had one collection, searched in one mode that no config's name says, and rows without question, passages and
// stages; it is read, and gone on with where nothing is asked that it could not hold.
struct QaRunHeader {
  int version = 3;
  std::string model, numerics;  // hash of the file; Engine::numerics_id()
  std::size_t tokens = 0;
  bool abstain = true, kl = false;
  std::string search;  // EvalQaOptions::search
  std::vector<QaRunSource> sources;
  std::string mode;                                        // version 2 only
  std::vector<std::pair<std::string, std::string>> about;  // for people; no part of what is compared
  bool could_be_version_2 = false;                         // not kept

  std::string to_json() const;
  // Throws Error(kInvalidArgument) naming `where`.
  static QaRunHeader parse(std::string_view json, const std::string& where);
  // Rows of `older`, as a file says, belong to this evaluation.
  bool same_evaluation(const QaRunHeader& older) const;
};

class QaRunFile {
 public:
  // Opens or creates; a file of another evaluation is refused. Throws Error: kInvalidArgument (another evaluation, a damaged line that is
  // not the last; a last line cut by a crash is dropped), kStorage.
  QaRunFile(const std::filesystem::path& path, const QaRunHeader& header);
  ~QaRunFile();
  QaRunFile(const QaRunFile&) = delete;
  QaRunFile& operator=(const QaRunFile&) = delete;

  // What the file held when it was opened. A question that failed before may have several rows: the last one counts.
  const std::vector<QaRow>& rows() const noexcept { return rows_; }
  // Throws Error(kStorage).
  void append(const QaRow& row);

 private:
  std::filesystem::path path_;
  std::vector<QaRow> rows_;
  int fd_ = -1;
};

struct QaRun {
  QaRunHeader header;
  std::vector<QaRow> rows;           // the last of each question and config, in order of first appearance
  std::vector<std::string> configs;  // in order of first appearance
  bool cut = false;                  // the last line is incomplete and was left out
};
// Reads without changing anything. Throws Error: kNotFound; kInvalidArgument naming file and line.
QaRun read_qa_run(const std::filesystem::path& path);

std::string qa_row_to_json(const QaRow& row);
// Throws Error(kInvalidArgument) naming `where`.
QaRow qa_row_from_json(const rapidjson::Value& json, const std::string& where);
QaRow qa_row_from_json(std::string_view json, const std::string& where);

}  // namespace gritstone
