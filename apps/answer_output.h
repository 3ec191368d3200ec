// An answer on the terminal and as JSON.
#pragma once

#include <string>
#include <string_view>

#include "apps/cli_session.h"
#include "pipelines/answer.h"

namespace gritstone {

// Text shown while it is written. Its citation markers are the model's own and not checked yet, so finish() says whether the checked answer
// must be shown as well.
class AnswerStream {
 public:
  explicit AnswerStream(CliSession& session) : session_(session) {}
  void write(std::string_view text);
  // True if what was shown is the final answer already.
  bool finish(const AnswerResult& result);

 private:
  CliSession& session_;
  std::string shown_;
};

void print_answer_json(std::string_view question, const AnswerResult& result);
// What a budget for the first token led to, before the answer: a note, or a warning if nothing starts in time.
void print_budget_choice(CliSession& session, const BudgetReport& report);
// Answer, numbered citations with file and byte span, what did not fit, and with -v the times. shown: the answer's text is out already.
void print_answer(CliSession& session, const AnswerResult& result, bool shown);

}  // namespace gritstone
