// How `index` and `collection reembed` show what they do.
#pragma once

#include "apps/cli_session.h"
#include "pipelines/ingest.h"

namespace gritstone {

// Sets the callbacks and the stop token of `options`; `session` must outlive the run.
void report_ingest(CliSession& session, IngestOptions& options);

// JSON, or for people what was skipped and why, the stage times and as the last line "N new, N updated, N unchanged, N removed, N skipped".
void print_ingest(CliSession& session, const IngestResult& result);

}  // namespace gritstone
