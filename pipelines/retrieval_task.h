// What an evaluation of retrieval asks, and what counts as found.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "index/store.h"
#include "pipelines/qa_questions.h"
#include "pipelines/retrieval_metrics.h"
#include "retriever/search.h"

namespace gritstone {

enum class RankedUnit {
  kDocument,  // by its best passage; ids are paths
  kPassage,   // ids are PATH#N, the N-th passage of the document from 0
};

struct RetrievalTask {
  std::map<std::string, std::string> queries;  // id -> text, of all that are counted
  RankedUnit unit = RankedUnit::kDocument;
  // Of the units. Empty where answers decide.
  Judgements judgements;
  // Per query, where nothing says which passages are relevant: one that holds an accepted answer is (DPR's convention, Karpukhin et al.
  // 2020, with SQuAD's normalisation). How many such passages there are is not known, so only Metric::first_hit_only() ones mean something.
  std::map<std::string, std::vector<std::string>> answers;
  bool skips_own_id = false;     // BEIR: a document whose id equals the query's is no answer to it
  std::size_t unanswerable = 0;  // questions left out because nothing is relevant
  std::string note;              // how relevance was decided, where that was a choice; for people

  bool by_answers() const noexcept { return judgements.empty(); }
  // default_metrics(), or where answers decide: success@1, @5, @20, @100, rr, rr@10.
  std::vector<Metric> default_metrics() const;
  // Throws Error(kInvalidArgument) naming a metric that says nothing here.
  void check_metrics(const std::vector<Metric>& metrics) const;
};

// Questions with gold passages or answers, against a collection.
//   gold spans      kDocument: their documents are relevant; kPassage: passages that hold half of a span, or most of it where none does
//   positive_ctxs   (DPR) with passage ids that are all documents of the collection: those documents
//   neither         the answers decide, passage by passage (`unit` is then kPassage)
// Documents are named by their path in the collection, or its end behind a slash. In ids white space is written as %20 etc., so that they
// fit into a TREC run.
// Throws Error: kInvalidArgument naming the question's place (a gold document that the collection lacks or has twice, gold for some
// questions only, an empty answer, no question left).
RetrievalTask question_task(const std::vector<QaQuestion>& questions, const Snapshot& snapshot, RankedUnit unit);

// What was found for the queries of a task.
struct TaskRun {
  TrecRun run;
  std::map<std::string, std::set<std::string>> relevant;  // where answers decide: units found that hold one

  // The best k hits of a query, best first.
  void add(const RetrievalTask& task, const std::string& query, const std::vector<SearchHit>& hits, std::size_t k);
};

RunScore score_task(const RetrievalTask& task, const TaskRun& found, const std::vector<Metric>& metrics);

}  // namespace gritstone
