#include "apps/answer_json.h"

namespace gritstone {
namespace {

void write_file_id(JsonOutput& json, const FileIdOfPath& file_id, const std::string& path) {
  if (file_id) json.field("file_id", file_id(path));
}

void write_citations(JsonOutput& json, const AnswerResult& result, const FileIdOfPath& file_id) {
  json.begin_array("citations");
  for (const Citation& citation : result.citations) {
    json.begin_object().field("n", citation.n).field("path", citation.path).field("heading", citation.heading).key("page");
    if (citation.page) {
      json.value(*citation.page);
    } else {
      json.null();
    }
    json.field("start", citation.start).field("end", citation.end).field("text", citation.text).field("strength", citation.strength);
    write_file_id(json, file_id, citation.path);
    json.end_object();
  }
  json.end_array();
}

void write_timings(JsonOutput& json, const AnswerTimings& t) {
  json.begin_object("timings").field("ttft_ms", t.ttft_ms).field("retrieve_ms", t.retrieve_ms).field("embed_ms", t.embed_ms);
  json.field("bm25_ms", t.bm25_ms).field("vector_ms", t.vector_ms).field("fuse_ms", t.fuse_ms).field("rerank_ms", t.rerank_ms);
  json.field("prompt_ms", t.prompt_ms).field("compose_ms", t.compose_ms).field("queue_ms", t.queue_ms).field("load_ms", t.load_ms);
  json.field("prefill_ms", t.prefill_ms).field("decode_ms", t.decode_ms).field("cite_ms", t.cite_ms);
  json.field("total_ms", t.total_ms).key("tpot_ms");
  if (t.tpot_ms) {
    json.value(*t.tpot_ms);
  } else {
    json.null();
  }
  json.end_object();
}

void write_budget(JsonOutput& json, const std::optional<BudgetReport>& budget) {
  json.key("budget");
  if (!budget) {
    json.null();
    return;
  }
  write_budget_report(json, *budget);
}

}  // namespace

void write_budget_report(JsonOutput& json, const BudgetReport& report) {
  json.begin_object().field("budget_ms", report.budget_ms).field("fits", report.fits).field("mode", search_mode_name(report.chosen.mode));
  json.field("top_k", report.chosen.k).field("passages", report.passages).field("passage_tokens", report.chosen.passage_tokens);
  json.field("reuse", reuse_name(report.chosen.reuse)).key("expected_f1");
  report.own_table ? json.value(report.chosen.value) : json.null();
  json.field("considered", report.considered).field("retrieval_ms", report.retrieval_ms).field("expected_ms", report.expected_ms);
  json.field("cautious_ms", report.cautious_ms).key("actual_ms");
  report.actual_ms > 0 ? json.value(report.actual_ms) : json.null();
  json.key("kept");
  report.actual_ms > 0 ? json.value(report.kept) : json.null();
  json.end_object();
}

void write_answer_members(JsonOutput& json, std::string_view question, const AnswerResult& result, const FileIdOfPath& file_id) {
  json.field("question", question).field("answer", result.answer);
  write_citations(json, result, file_id);
  json.field("abstained", result.abstained).field("abstain_reason", result.abstain_reason);
  json.field("withheld", result.withheld).begin_array("sentences");
  for (const AnswerSentence& sentence : result.sentences) {
    json.begin_object().field("start", sentence.start).field("end", sentence.end).field("supported", sentence.supported);
    json.array("citations", sentence.citations).end_object();
  }
  json.end_array().begin_array("passages");
  for (const AnswerPassage& passage : result.passages) {
    json.begin_object().field("n", passage.n).field("path", passage.path).field("heading", passage.heading).field("start", passage.start);
    json.field("end", passage.end).field("text", passage.text).field("score", passage.score);
    write_file_id(json, file_id, passage.path);
    json.end_object();
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
  write_timings(json, result.timings);
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
  json.end_array().end_object();
  write_budget(json, result.budget);
}

}  // namespace gritstone
