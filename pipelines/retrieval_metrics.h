// Quality of a ranking against relevance judgements, by trec_eval's conventions.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace gritstone {

// query -> document -> relevance (0: judged not relevant).
using Judgements = std::map<std::string, std::map<std::string, int>>;

struct RunEntry {
  std::string document;
  double score = 0;
};
// query -> documents found.
using TrecRun = std::map<std::string, std::vector<RunEntry>>;

struct RetrievalMetrics {
  double ndcg_at_10 = 0;
  double recall_at_100 = 0;
  double map = 0;
  double rr = 0;
  double p_at_5 = 0;
};

struct RunScore {
  RetrievalMetrics mean;  // over all judged queries with a relevant document; a query that the run lacks counts 0
  std::map<std::string, RetrievalMetrics> per_query;
};

// Ranks by score, ties by document id descending, whatever the order in the run (trec_eval). Gain is the relevance itself, discount
// log2(rank + 1). map and rr take the whole run.
RunScore score_run(const Judgements& judgements, const TrecRun& run);

// TREC format: "query Q0 document rank score tag". The scores written fall strictly, so that every reader finds our order.
// Throws Error(kStorage).
void write_trec_run(const std::filesystem::path& path, const TrecRun& run, std::string_view tag);
// Throws Error: kNotFound, kInvalidArgument naming the line.
TrecRun read_trec_run(const std::filesystem::path& path);

// BEIR's "query-id\tcorpus-id\tscore" with header, or TREC's "query 0 document relevance". Throws Error as read_trec_run().
Judgements read_judgements(const std::filesystem::path& path);

}  // namespace gritstone
