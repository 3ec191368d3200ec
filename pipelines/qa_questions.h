// Question sets with gold answers, in the formats they are found in.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace gritstone {

struct GoldSpan {
  std::string document;  // file name
  std::size_t start = 0, end = 0;
};

struct QaQuestion {
  std::string id;
  std::string question;
  std::vector<std::string> answers;       // accepted ones; empty: the documents do not hold it
  std::vector<std::string> against;       // answers that would be wrong ("which is larger, X or Y?")
  std::vector<GoldSpan> gold;             // where the set says where the answer stands
  std::string kind;                       // "single", "two", ...: reported apart
  std::vector<std::string> positive_ids;  // passages of DPR's positive_ctxs that have an id
  std::string where;                      // file and line, for errors
};

// Reads, told apart by content:
//   our own JSON lines   {"id","question","answers",("against","kind","gold":[{"document","start","end"}])}
//   SQuAD 1.1 and 2.0    one JSON document {"data":[{"paragraphs":[{"qas":[...]}]}]}
//   NQ-open, FlashRAG, DPR   JSON lines, or one JSON list, of {"question","answer" or "answers" or "golden_answers",("id"),
//                            ("positive_ctxs":[{"passage_id"}])}; without id: the number of the line (of the question in a list)
// Throws Error: kNotFound; kInvalidArgument naming file and line (not JSON, no question, a blank answer, an id twice, no question at all).
std::vector<QaQuestion> read_questions(const std::filesystem::path& path);

}  // namespace gritstone
