#include "pipelines/retrieval_task.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/error.h"
#include "pipelines/qa_metrics.h"

namespace gritstone {
namespace {

[[noreturn]] void fail(const QaQuestion& question, const std::string& what) {
  throw Error(ErrorCode::kInvalidArgument, question.where + ": " + what);
}

std::string without_spaces(std::string_view id) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : id) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= ' ' || byte == 0x7f) {
      out += '%';
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    } else {
      out += c;
    }
  }
  return out;
}

std::string passage_id(std::string_view path, std::size_t ordinal) { return without_spaces(path) + "#" + std::to_string(ordinal); }

// The collection's documents by path and by every end of it behind a slash.
class DocumentNames {
 public:
  explicit DocumentNames(const Snapshot& snapshot) : documents_(snapshot.document_names()) {
    for (const auto& document : documents_) {
      add(document.path, document);
      for (std::size_t slash = document.path.find('/'); slash != std::string::npos; slash = document.path.find('/', slash + 1)) {
        add(std::string_view(document.path).substr(slash + 1), document);
      }
    }
  }

  const Snapshot::DocumentName* find(std::string_view name) const {
    const auto it = by_name_.find(name);
    return it == by_name_.end() || it->second.size() != 1 ? nullptr : it->second.front();
  }
  const Snapshot::DocumentName& require(const QaQuestion& question, const std::string& name, const std::string& collection) const {
    const auto it = by_name_.find(name);
    if (it == by_name_.end()) fail(question, "the gold document \"" + name + "\" is not in collection \"" + collection + "\"");
    if (it->second.size() > 1) {
      fail(question, "the gold document \"" + name + "\" is ambiguous in collection \"" + collection + "\": " + it->second[0]->path + ", " +
                         it->second[1]->path);
    }
    return *it->second.front();
  }

 private:
  void add(std::string_view name, const Snapshot::DocumentName& document) {
    std::vector<const Snapshot::DocumentName*>& all = by_name_[name];
    // A whole path is never ambiguous.
    if (name == document.path) {
      all.assign(1, &document);
    } else if (all.empty() || all.front()->path != name) {
      all.push_back(&document);
    }
  }

  std::vector<Snapshot::DocumentName> documents_;
  std::map<std::string_view, std::vector<const Snapshot::DocumentName*>> by_name_;
};

// Ids of the passages that hold at least half of the span; of the one that holds most where none does.
std::vector<std::string> passages_of(const Snapshot& snapshot, const Snapshot::DocumentName& document, const GoldSpan& gold) {
  std::vector<std::string> ids;
  std::size_t most = 0;
  std::string best;
  for (std::size_t n = 0;; ++n) {
    const std::optional<ChunkRecord> chunk = snapshot.chunk_at(document.id, n);
    if (!chunk) break;
    const std::size_t from = std::max(chunk->span.start, gold.start), to = std::min(chunk->span.end, gold.end);
    if (to <= from) continue;
    const std::string id = passage_id(document.path, n);
    if (2 * (to - from) >= gold.end - gold.start) ids.push_back(id);
    if (to - from > most) {
      most = to - from;
      best = id;
    }
  }
  if (ids.empty() && most > 0) ids.push_back(best);
  return ids;
}

void judge_by_spans(RetrievalTask& task, const QaQuestion& question, const Snapshot& snapshot, const DocumentNames& names) {
  for (const GoldSpan& gold : question.gold) {
    const Snapshot::DocumentName& document = names.require(question, gold.document, snapshot.info().name);
    if (task.unit == RankedUnit::kDocument) {
      task.judgements[question.id][without_spaces(document.path)] = 1;
      continue;
    }
    const std::vector<std::string> passages = passages_of(snapshot, document, gold);
    if (passages.empty()) {
      fail(question,
           "no passage of " + document.path + " overlaps bytes " + std::to_string(gold.start) + " to " + std::to_string(gold.end));
    }
    for (const std::string& id : passages) task.judgements[question.id][id] = 1;
  }
}

// "A" (a blood type) is an article to the normalisation: no passage could hold it.
bool can_be_found(const QaQuestion& question) {
  return std::ranges::any_of(question.answers, [](const std::string& answer) { return !normalise_answer(answer).empty(); });
}

}  // namespace

std::vector<Metric> RetrievalTask::default_metrics() const {
  if (!by_answers()) return gritstone::default_metrics();
  return {{MetricKind::kSuccess, 1},   {MetricKind::kSuccess, 5},        {MetricKind::kSuccess, 20},
          {MetricKind::kSuccess, 100}, {MetricKind::kReciprocalRank, 0}, {MetricKind::kReciprocalRank, 10}};
}

void RetrievalTask::check_metrics(const std::vector<Metric>& metrics) const {
  if (!by_answers()) return;
  for (const Metric& metric : metrics) {
    if (metric.first_hit_only()) continue;
    throw Error(
        ErrorCode::kInvalidArgument,
        metric.name() + " needs to know which passages are relevant, and these questions have answers only: use success@K, rr or rr@K");
  }
}

RetrievalTask question_task(const std::vector<QaQuestion>& questions, const Snapshot& snapshot, RankedUnit unit) {
  RetrievalTask task;
  task.unit = unit;
  std::vector<const QaQuestion*> answerable;
  for (const QaQuestion& question : questions) {
    if (question.answers.empty()) {
      ++task.unanswerable;
    } else {
      answerable.push_back(&question);
    }
  }
  if (answerable.empty())
    throw Error(ErrorCode::kInvalidArgument, "none of the " + std::to_string(questions.size()) + " questions has an answer");
  const DocumentNames names(snapshot);
  const auto with_gold = std::ranges::count_if(answerable, [](const QaQuestion* q) { return !q->gold.empty(); });
  if (with_gold > 0 && static_cast<std::size_t>(with_gold) < answerable.size()) {
    const auto without = std::ranges::find_if(answerable, [](const QaQuestion* q) { return q->gold.empty(); });
    fail(**without, "this question has no \"gold\", others of the file have");
  }
  std::size_t named = 0, known = 0;
  for (const QaQuestion* q : answerable) {
    named += q->positive_ids.size();
    known +=
        static_cast<std::size_t>(std::ranges::count_if(q->positive_ids, [&](const std::string& id) { return names.find(id) != nullptr; }));
  }
  const bool all_positive = std::ranges::none_of(answerable, [](const QaQuestion* q) { return q->positive_ids.empty(); });
  const bool by_positives = with_gold == 0 && all_positive && known == named;
  for (const QaQuestion* q : answerable) {
    task.queries[q->id] = q->question;
    if (with_gold > 0) {
      judge_by_spans(task, *q, snapshot, names);
    } else if (by_positives) {
      for (const std::string& id : q->positive_ids) {
        const Snapshot::DocumentName& document = *names.find(id);
        task.judgements[q->id][without_spaces(document.path)] = 1;
      }
    } else if (can_be_found(*q)) {
      task.answers[q->id] = q->answers;
    } else {
      task.queries.erase(q->id);
      ++task.unanswerable;
    }
  }
  if (task.queries.empty()) throw Error(ErrorCode::kInvalidArgument, "no question has an answer that a passage could hold");
  if (by_positives) task.unit = RankedUnit::kDocument;
  if (!task.by_answers()) return task;
  task.unit = RankedUnit::kPassage;
  task.note =
      "a passage counts as relevant if it holds an accepted answer; how many such passages there are is not known, so only "
      "Success@K and RR are given";
  if (named > 0) {
    task.note = std::to_string(named - known) + " of " + std::to_string(named) +
                " passages that positive_ctxs name are not documents of this collection, so answers decide: " + task.note;
  }
  return task;
}

void TaskRun::add(const RetrievalTask& task, const std::string& query, const std::vector<SearchHit>& hits, std::size_t k) {
  std::vector<RunEntry>& entries = run[query];
  const auto answers = task.answers.find(query);
  for (const SearchHit& hit : hits) {
    if (entries.size() == k) break;
    if (task.skips_own_id && hit.chunk.path == query) continue;
    std::string id = task.unit == RankedUnit::kPassage ? passage_id(hit.chunk.path, hit.chunk.ordinal) : without_spaces(hit.chunk.path);
    if (answers != task.answers.end()) {
      const std::string text = hit.chunk.heading_path + "\n" + hit.chunk.text;
      if (score_answer(text, answers->second).contained) relevant[query].insert(id);
    }
    entries.push_back({std::move(id), hit.score});
  }
}

RunScore score_task(const RetrievalTask& task, const TaskRun& found, const std::vector<Metric>& metrics) {
  task.check_metrics(metrics);
  if (!task.by_answers()) return score_run(task.judgements, found.run, metrics);
  RunScore score;
  score.metrics = metrics;
  static constexpr int kOneIsThere[] = {1};
  for (const auto& [query, answers] : task.answers) {
    std::vector<int> ranking;
    const auto relevant = found.relevant.find(query);
    if (const auto it = found.run.find(query); it != found.run.end()) {
      std::vector<RunEntry> entries = it->second;
      sort_ranking(entries);
      for (const RunEntry& entry : entries) {
        ranking.push_back(relevant != found.relevant.end() && relevant->second.contains(entry.document) ? 1 : 0);
      }
    }
    score.add(query, ranking, kOneIsThere);
  }
  score.finish();
  return score;
}

}  // namespace gritstone
