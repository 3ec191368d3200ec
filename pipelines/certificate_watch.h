// A certificate is watched while it is used: some of the answers given under it are written again without reuse when nobody waits.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "index/store.h"
#include "pipelines/answer.h"
#include "pipelines/certificate.h"

namespace gritstone {

// One look at one answer. Wald's sequential test (1945) of "at most `accept` of the answers change" against "twice as many do", each wrong
// in one of twenty cases: the certificate is revoked as soon as the second is that much likelier, and the count begins anew as soon as the
// first is.
void note_checked_answer(Certificate& certificate, bool changed);

// Thread-safe.
class CertificateWatch {
 public:
  // share: of the answers, 0 to 1; the first of every 1/share is kept for checking, at most kWaiting at a time.
  explicit CertificateWatch(double share = 0.02) : share_(share) {}
  static constexpr std::size_t kWaiting = 32;

  // An answer that was given under a certificate, with the options it was asked with.
  void answered(const std::string& collection, std::string question, const AnswerOptions& options, const AnswerResult& result,
                const Certificate& certificate);

  std::size_t waiting() const;

  // Checks one waiting answer against the collection as it is now: asked with and without the policy, so that documents that came or went
  // since do not count. Records the outcome in the store, where the certificate still is. Returns whether there was one, and if so whether
  // that revoked the certificate.
  //   embedder  of the collection; null: by words alone
  // Throws what answer() and the store throw; the answer is then not asked again.
  struct Check {
    std::string collection;
    bool changed = false;
    bool revoked = false;
    std::string summary;
  };
  std::optional<Check> check_one(Store& store, const ModelParts& model,
                                 const std::function<const Embedder*(const CollectionInfo&)>& embedder, std::stop_token cancel);

 private:
  struct Waiting {
    std::string collection, question, certificate;
    AnswerOptions options;
  };
  const double share_;
  mutable std::mutex mutex_;
  double credit_ = 1;  // an answer is kept when this reaches one
  std::deque<Waiting> waiting_;
};

}  // namespace gritstone
