#include "pipelines/certificate_watch.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "pipelines/certify.h"

namespace gritstone {

void note_checked_answer(Certificate& c, bool changed) {
  // A policy that may change nothing at all is judged as one that may change one in a hundred: no single answer decides.
  const double few = std::clamp(c.accept, 0.01, 0.45), many = 2 * few;
  const double limit = std::log(0.95 / 0.05);
  ++c.checked;
  c.checked_changed += changed ? 1 : 0;
  c.evidence += changed ? std::log(many / few) : std::log((1 - many) / (1 - few));
  if (c.evidence >= limit) c.revoked = true;
  if (c.evidence <= -limit) c.evidence = 0;
}

void CertificateWatch::answered(const std::string& collection, std::string question, const AnswerOptions& options,
                                const AnswerResult& result, const Certificate& certificate) {
  if (result.usage.completion_tokens == 0) return;
  const std::lock_guard lock(mutex_);
  credit_ += share_;
  if (credit_ < 1 || waiting_.size() >= kWaiting) return;
  credit_ -= 1;
  Waiting waiting{collection, std::move(question), certificate.subject.name(), options};
  // What belonged to the request that asked is over.
  waiting.options.on_retrieved = nullptr;
  waiting.options.on_text = nullptr;
  waiting.options.on_embedded = nullptr;
  waiting.options.deadline.reset();
  waiting.options.sampling.temperature = 0;
  waiting.options.keep_trace = true;
  waiting.options.priority = Priority::kBulk;
  waiting_.push_back(std::move(waiting));
}

std::size_t CertificateWatch::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_.size();
}

std::optional<CertificateWatch::Check> CertificateWatch::check_one(Store& store, const ModelParts& model,
                                                                   const std::function<const Embedder*(const CollectionInfo&)>& embedder,
                                                                   std::stop_token cancel) {
  Waiting next;
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.empty()) return std::nullopt;
    next = std::move(waiting_.front());
    waiting_.pop_front();
  }
  Check check;
  check.collection = next.collection;
  if (!store.find_collection(next.collection)) return check;
  const auto snapshot = store.snapshot(next.collection);
  next.options.cancel = cancel;
  next.options.search.cancel = cancel;
  const Embedder* with = embedder(snapshot->info());
  const AnswerResult reused = answer(*snapshot, with, model, next.question, next.options);
  next.options.reuse = {ReuseKind::kExact};
  const AnswerResult reference = answer(*snapshot, with, model, next.question, next.options);
  if (!reused.trace || !reference.trace) return check;
  check.changed = !same_words(reused.trace->text, reference.trace->text);
  // Read, changed and written under the write lock, so that no check is lost and a certificate measured meanwhile is not overwritten.
  const auto job = store.begin_write();
  for (const std::string& body : store.certificates(snapshot->info().id)) {
    Certificate certificate = certificate_from_json(body);
    if (certificate.subject.name() != next.certificate) continue;
    const bool held = certificate.holds();
    note_checked_answer(certificate, check.changed);
    check.revoked = held && !certificate.holds();
    check.summary = certificate.summary();
    job->put_certificate(next.collection, next.certificate, certificate_to_json(certificate));
  }
  return check;
}

}  // namespace gritstone
