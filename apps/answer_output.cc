#include "apps/answer_output.h"

#include "apps/answer_json.h"
#include "apps/json_output.h"
#include "apps/paths.h"
#include "apps/terminal.h"

namespace gritstone {
namespace {

std::string trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1));
}

// One line of at most `limit` bytes, cut between code points.
std::string one_line(std::string_view text, std::size_t limit) {
  std::string line = printable(trimmed(text));
  for (char& c : line) {
    if (c == '\n' || c == '\t') c = ' ';
  }
  if (line.size() <= limit) return line;
  while (limit > 0 && (static_cast<unsigned char>(line[limit]) & 0xC0) == 0x80) --limit;
  return line.substr(0, limit) + "...";
}

void print_reuse(CliSession& session, const AnswerResult& result) {
  for (std::size_t i = 0; i < result.reuse.passages.size(); ++i) {
    const PassageReuse& p = result.reuse.passages[i];
    session.detail(format("Passage %zu: %zu tokens, %s, %.1f MiB, loaded in %.1f ms, %zu computed again", i + 1, p.tokens,
                          std::string(span_source_name(p.source)).c_str(), static_cast<double>(p.bytes) / (1 << 20), p.load_ms,
                          p.recomputed));
  }
}

}  // namespace

void AnswerStream::write(std::string_view text) {
  session_.progress().clear();
  shown_ += text;
  print_out(printable(text));
  flush_out();
}

bool AnswerStream::finish(const AnswerResult& result) {
  if (shown_.empty()) return false;
  print_out("\n");
  if (trimmed(shown_) == trimmed(result.answer)) return true;
  print_out(result.abstained ? "\n(Withdrawn: no passage supports this.)\n" : "\nWith sources:\n");
  return false;
}

void print_budget_choice(CliSession& session, const BudgetReport& report) {
  const std::string chosen = quality_entry_name(report.chosen);
  if (!report.fits) {
    session.warn(format("nothing starts within %.0f ms here; the fastest is %s, expected after %.0f to %.0f ms", report.budget_ms,
                        chosen.c_str(), report.expected_ms, report.cautious_ms));
    return;
  }
  session.detail(format("Budget of %.0f ms: %s, expected after %.0f to %.0f ms", report.budget_ms, chosen.c_str(), report.expected_ms,
                        report.cautious_ms));
}

void print_answer_json(std::string_view question, const AnswerResult& result) {
  JsonOutput json;
  json.begin_object();
  write_answer_members(json, question, result, nullptr);
  json.end_object().print();
}

void print_answer(CliSession& session, const AnswerResult& result, bool shown) {
  if (!shown) print_out(printable(trimmed(result.answer)) + "\n");
  if (result.abstained) {
    print_out("\nNot answered from the documents" + (result.abstain_reason.empty() ? "" : ": " + printable(result.abstain_reason)) + "\n");
    for (const AnswerPassage& passage : result.passages) {
      print_out(format("  nearest %zu: ", passage.n) + display_path(passage.path) + format(" [%zu-%zu] ", passage.start, passage.end) +
                one_line(passage.text, 100) + "\n");
    }
  }
  if (!result.citations.empty()) print_out("\n");
  for (const Citation& citation : result.citations) {
    print_out(format("[%zu] ", citation.n) + display_path(citation.path) + format(" [%zu-%zu]", citation.start, citation.end) +
              (citation.heading.empty() ? "" : "  " + printable(citation.heading)) + "\n    \"" + one_line(citation.text, 300) + "\"\n");
  }
  std::size_t unsupported = 0;
  for (const AnswerSentence& sentence : result.sentences) unsupported += sentence.supported ? 0 : 1;
  if (unsupported > 0 && !result.abstained) {
    print_out(format("%zu of %zu sentences are not supported by the documents\n", unsupported, result.sentences.size()));
  }
  for (const DroppedPassage& passage : result.dropped) {
    session.note("Left out: " + display_path(passage.path) + format(" [%zu-%zu]: ", passage.start, passage.end) +
                 printable(passage.reason));
  }
  if (result.finish_reason == FinishReason::kLength) session.note("The answer was cut at its longest length; -n allows more");
  print_reuse(session, result);
  if (result.drafts.proposed > 0) {
    session.detail(format("Drafts from the passages: %zu of %zu tokens held, %zu steps", result.drafts.accepted, result.drafts.proposed,
                          result.drafts.steps));
  }
  if (result.budget && result.budget->actual_ms > 0) {
    const BudgetReport& b = *result.budget;
    session.note(format("Budget: %.0f ms, %s (%s)", b.budget_ms, b.kept ? "kept" : "not kept", quality_entry_name(b.chosen).c_str()));
  }
  const AnswerTimings& t = result.timings;
  session.note(format(
      "Time: first token after %.0f ms, all %.0f ms (search %.0f, prompt %.0f, spans %.0f, reading %.0f, writing %.0f, citing %.0f); %zu + "
      "%zu tokens, %zu of them reused (%s)",
      t.ttft_ms, t.total_ms, t.retrieve_ms, t.prompt_ms, t.compose_ms + t.load_ms, t.prefill_ms, t.decode_ms, t.cite_ms,
      result.usage.prompt_tokens, result.usage.completion_tokens, result.reuse.reused_tokens, result.reuse.policy.c_str()));
}

}  // namespace gritstone
