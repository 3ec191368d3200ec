#include "apps/answer_output.h"

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

void json_citations(JsonOutput& json, const AnswerResult& result) {
  json.begin_array("citations");
  for (const Citation& citation : result.citations) {
    json.begin_object().field("n", citation.n).field("path", citation.path).field("heading", citation.heading).key("page");
    if (citation.page) {
      json.value(*citation.page);
    } else {
      json.null();
    }
    json.field("start", citation.start).field("end", citation.end).field("text", citation.text).field("strength", citation.strength);
    json.end_object();
  }
  json.end_array();
}

void json_timings(JsonOutput& json, const AnswerTimings& t) {
  json.begin_object("timings").field("ttft_ms", t.ttft_ms).field("retrieve_ms", t.retrieve_ms).field("embed_ms", t.embed_ms);
  json.field("bm25_ms", t.bm25_ms).field("vector_ms", t.vector_ms).field("fuse_ms", t.fuse_ms).field("prompt_ms", t.prompt_ms);
  json.field("compose_ms", t.compose_ms).field("queue_ms", t.queue_ms).field("load_ms", t.load_ms);
  json.field("prefill_ms", t.prefill_ms).field("decode_ms", t.decode_ms).field("cite_ms", t.cite_ms);
  json.field("total_ms", t.total_ms).key("tpot_ms");
  if (t.tpot_ms) {
    json.value(*t.tpot_ms);
  } else {
    json.null();
  }
  json.end_object();
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

void print_answer_json(std::string_view question, const AnswerResult& result) {
  JsonOutput json;
  json.begin_object().field("question", question).field("answer", result.answer);
  json_citations(json, result);
  json.field("abstained", result.abstained).field("abstain_reason", result.abstain_reason);
  json.field("withheld", result.withheld).begin_array("sentences");
  for (const AnswerSentence& sentence : result.sentences) {
    json.begin_object().field("start", sentence.start).field("end", sentence.end).field("supported", sentence.supported);
    json.array("citations", sentence.citations).end_object();
  }
  json.end_array().begin_array("passages");
  for (const AnswerPassage& passage : result.passages) {
    json.begin_object().field("n", passage.n).field("path", passage.path).field("heading", passage.heading).field("start", passage.start);
    json.field("end", passage.end).field("text", passage.text).field("score", passage.score).end_object();
  }
  json.end_array().begin_array("dropped");
  for (const DroppedPassage& passage : result.dropped) {
    json.begin_object()
        .field("path", passage.path)
        .field("heading", passage.heading)
        .field("start", passage.start)
        .field("end", passage.end);
    json.field("tokens", passage.tokens).field("reason", passage.reason).end_object();
  }
  json.end_array().field("finish_reason", finish_reason_name(result.finish_reason)).begin_object("usage");
  json.field("prompt_tokens", result.usage.prompt_tokens).field("completion_tokens", result.usage.completion_tokens);
  json.field("cached_tokens", result.usage.cached_tokens);
  json.field("total_tokens", result.usage.prompt_tokens + result.usage.completion_tokens).end_object();
  json.begin_object("drafts").field("steps", result.drafts.steps).field("proposed", result.drafts.proposed);
  json.field("accepted", result.drafts.accepted).end_object();
  json.field("generation", result.generation).field("damaged_chunks", result.damaged_chunks);
  json_timings(json, result.timings);
  json.begin_object("reuse").field("policy", result.reuse.policy).field("reused_tokens", result.reuse.reused_tokens);
  json.field("recomputed_tokens", result.reuse.recomputed_tokens).field("bytes", result.reuse.bytes).key("certificate");
  if (result.reuse.certificate) {
    json.value(*result.reuse.certificate);
  } else {
    json.null();
  }
  json.begin_array("passages");
  for (const PassageReuse& passage : result.reuse.passages) {
    json.begin_object().field("source", span_source_name(passage.source)).field("tokens", passage.tokens);
    json.field("recomputed", passage.recomputed).field("bytes", passage.bytes).field("load_ms", passage.load_ms).end_object();
  }
  json.end_array().end_object().end_object().print();
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
  const AnswerTimings& t = result.timings;
  session.note(format(
      "Time: first token after %.0f ms, all %.0f ms (search %.0f, prompt %.0f, spans %.0f, reading %.0f, writing %.0f, citing %.0f); %zu + "
      "%zu tokens, %zu of them reused (%s)",
      t.ttft_ms, t.total_ms, t.retrieve_ms, t.prompt_ms, t.compose_ms + t.load_ms, t.prefill_ms, t.decode_ms, t.cite_ms,
      result.usage.prompt_tokens, result.usage.completion_tokens, result.reuse.reused_tokens, result.reuse.policy.c_str()));
}

}  // namespace gritstone
