// An answer as members of a JSON object: the same for `ask --json` and over HTTP.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "apps/json_output.h"
#include "pipelines/answer.h"

namespace gritstone {

// The id under which a document of this path is known over HTTP; null on the command line, which has no such ids.
using FileIdOfPath = std::function<std::string(const std::string& path)>;

// Into an object that is open: question, answer, citations, abstained, sentences, passages, dropped, usage, generation, timings, reuse, ...
void write_answer_members(JsonOutput& json, std::string_view question, const AnswerResult& result, const FileIdOfPath& file_id);

// As one object: what a budget for the first token led to; actual_ms and kept are null before it came.
void write_budget_report(JsonOutput& json, const BudgetReport& report);

}  // namespace gritstone
