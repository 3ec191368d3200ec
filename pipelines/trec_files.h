// Rankings and judgements in the files that evaluation tools exchange.
#pragma once

#include <filesystem>
#include <string_view>

#include "pipelines/retrieval_metrics.h"

namespace gritstone {

// TREC format: "query Q0 document rank score tag". The scores written fall strictly, so that every reader finds the order of
// sort_ranking(). Throws Error: kStorage; kInvalidArgument for an id with white space, which the format cannot hold.
void write_trec_run(const std::filesystem::path& path, const TrecRun& run, std::string_view tag);
// Throws Error: kNotFound; kInvalidArgument naming file and line (fields, score, a document twice for one query).
TrecRun read_trec_run(const std::filesystem::path& path);

// BEIR's "query-id\tcorpus-id\tscore" with header, or TREC's "query 0 document relevance". Throws Error as read_trec_run(), also if there
// is no judgement at all.
Judgements read_judgements(const std::filesystem::path& path);

}  // namespace gritstone
