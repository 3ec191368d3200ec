// What a reuse policy was measured to cost on a collection, and whether that is little enough for `auto` to use it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "generator/prompt_format.h"
#include "index/store.h"
#include "pipelines/model_parts.h"
#include "pipelines/reuse_policy.h"

namespace gritstone {

// What a certificate is for. Another model, build, type or layout needs its own.
struct CertificateSubject {
  std::string policy;     // reuse_name()
  std::string span_type;  // "int8"
  std::string layout;     // "docs-first"
  std::string model;      // hash
  std::string numerics;   // Engine::numerics_id()

  std::string name() const;  // key in the store
};

struct Certificate {
  CertificateSubject subject;
  std::size_t questions = 0;
  std::size_t changed = 0;   // answers whose words differ from those without reuse
  double changed_upper = 1;  // upper 95 % bound of their rate
  std::size_t tokens = 0;    // of the reference answers, scored under both
  double kl_mean = 0;        // nats a token, reference against policy
  double kl_p99 = 0;
  double top1_agreement = 0;  // share of tokens whose most likely continuation is the same
  double accept = 0;          // largest changed_upper that was accepted
  std::size_t chunks = 0;     // of the collection then
  // In service (pipelines/certificate_watch.h).
  std::size_t checked = 0;          // answers written again without reuse
  std::size_t checked_changed = 0;  // of them
  double evidence = 0;              // log likelihood ratio of the sequential test
  bool revoked = false;

  bool holds() const noexcept { return !revoked && changed_upper <= accept; }
  // The collection has since grown or shrunk by more than half: other passages than those that were measured.
  bool is_stale(std::size_t chunks_now) const noexcept { return chunks_now * 2 > chunks * 3 || chunks_now * 3 < chunks * 2; }
  std::string summary() const;  // "chunks, int8: 1 of 120 answers changed, at most 3.9 %"
};

std::string certificate_to_json(const Certificate& certificate);
// Throws Error(kDamagedData).
Certificate certificate_from_json(std::string_view json);

CertificateSubject certificate_subject(const ModelParts& model, const ReusePolicy& policy, KvType span_type, PromptLayout layout);

struct ResolvedReuse {
  ReusePolicy policy;
  std::optional<Certificate> certificate;
};
// `auto`: the fastest policy with a certificate that holds and is not stale, else exact, still marked automatic; any other policy as it is.
ResolvedReuse resolve_reuse(const ReusePolicy& policy, const Store& store, const CollectionInfo& collection, const ModelParts& model,
                            KvType span_type, PromptLayout layout);

std::string_view layout_name(PromptLayout layout) noexcept;  // "docs-first", "query-first"

}  // namespace gritstone
