// Judged data sets on disk, with a corpus of their own: BEIR folders and SQuAD files.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>

#include "pipelines/retrieval_task.h"

namespace gritstone {

struct CorpusDocument {
  std::string id;
  std::string title;
  std::string text;
};

struct RetrievalData {
  RetrievalTask task;
  // Visits the documents in file order. Throws Error(kInvalidArgument) naming file and line (not JSON, no "_id", an id twice).
  std::function<void(const std::function<void(const CorpusDocument&)>& visit)> for_each_document;
};

// BEIR: a folder with corpus.jsonl, queries.jsonl and qrels/<split>.tsv; an empty split means test, or the only one there is.
// SQuAD 1.1 and 2.0: a JSON file. Its paragraphs are the documents (equal ones are one), "A.P" for paragraph P of article A from 1; a
// question's own paragraph is relevant; questions that the paragraph does not answer are left out.
// Throws Error: kNotFound (naming the splits there are); kInvalidArgument naming file and line, or the question, for what is malformed,
// stands there twice or is judged without being asked.
RetrievalData open_retrieval_data(const std::filesystem::path& path, const std::string& split);

}  // namespace gritstone
