// Certificates: what is measured, what is kept, and when `auto` may use a policy.
#include "pipelines/certify.h"

#include <random>

#include "pipelines/certificate_watch.h"
#include "pipelines/statistics.h"
#include "tests/base/expect_error.h"
#include "tests/pipelines/tiny_collection.h"

namespace gritstone {
namespace {

TEST(Certificates, UpperBoundIsClopperPearsons) {
  EXPECT_NEAR(upper_bound_95(0, 50), 1 - std::pow(0.05, 1.0 / 50), 1e-9);
  EXPECT_NEAR(upper_bound_95(0, 100), 0.02951, 1e-5);
  EXPECT_NEAR(upper_bound_95(1, 10), 0.39416, 1e-5);   // scipy.stats.beta.ppf(0.95, 2, 9)
  EXPECT_NEAR(upper_bound_95(5, 100), 0.10225, 1e-5);  // scipy.stats.beta.ppf(0.95, 6, 95)
  EXPECT_EQ(upper_bound_95(7, 7), 1.0);
  EXPECT_EQ(upper_bound_95(0, 0), 1.0);
}

Certificate sample() {
  Certificate c;
  c.subject = {"blend=0.15", "int8", "docs-first", "hash", "cpu"};
  c.questions = 120;
  c.changed = 1;
  c.changed_upper = upper_bound_95(1, 120);
  c.tokens = 4000;
  c.kl_mean = 0.01;
  c.kl_p99 = 0.3;
  c.top1_agreement = 0.99;
  c.accept = 0.05;
  c.chunks = 300;
  return c;
}

TEST(Certificates, KeepTheirFieldsAndKnowWhenTheyAreStale) {
  const Certificate c = sample();
  const Certificate back = certificate_from_json(certificate_to_json(c));
  EXPECT_EQ(certificate_to_json(back), certificate_to_json(c));
  EXPECT_EQ(back.subject.name(), c.subject.name());
  EXPECT_TRUE(back.holds());
  EXPECT_EQ(back.summary(), "blend=0.15, int8: 1 of 120 answers changed, at most 3.9 %");
  EXPECT_FALSE(c.is_stale(300));
  EXPECT_FALSE(c.is_stale(450));
  EXPECT_TRUE(c.is_stale(451));
  EXPECT_FALSE(c.is_stale(200));
  EXPECT_TRUE(c.is_stale(199));
  EXPECT_GS_ERROR(certificate_from_json("{}"), ErrorCode::kDamagedData, "lacks a field");
  EXPECT_GS_ERROR(certificate_from_json("[["), ErrorCode::kDamagedData, "certificate");
}

class Certifying : public TinyCollection {
 protected:
  CertifyOptions options(const std::string& policy) {
    CertifyOptions o;
    o.policy = parse_reuse(policy);
    for (std::size_t i = 0; i < kCertifyAtLeast; ++i) {
      o.questions.push_back("What does Passage " + std::to_string(i % 8) + " say, number " + std::to_string(i) + "?");
    }
    o.answer.search.mode = SearchMode::kBm25;
    o.answer.search.k = 2;
    o.answer.max_new_tokens = 12;
    o.answer.cache = cache_.get();
    return o;
  }
  Certificate run(const CertifyOptions& o) { return certify(*store_->snapshot("notes"), nullptr, parts_, o); }
  ResolvedReuse resolve(const std::string& policy, KvType type = KvType::kInt8) {
    return resolve_reuse(parse_reuse(policy), *store_, *store_->find_collection("notes"), parts_, type, PromptLayout::kDocsFirst);
  }
  void keep(const Certificate& c) { store_->begin_write()->put_certificate("notes", c.subject.name(), certificate_to_json(c)); }
};

TEST_F(Certifying, MeasuresNothingWhereNothingIsReusedAndSomethingWhereMuchIs) {
  const Certificate all = run(options("blend=1"));
  EXPECT_EQ(all.questions, kCertifyAtLeast);
  EXPECT_EQ(all.changed, 0u);
  EXPECT_EQ(all.tokens, 12 * kCertifyAtLeast);
  EXPECT_EQ(all.kl_mean, 0.0) << "the same bits";
  EXPECT_EQ(all.top1_agreement, 1.0);
  EXPECT_NEAR(all.changed_upper, upper_bound_95(0, 50), 1e-12);
  EXPECT_FALSE(all.holds()) << "fifty questions cannot show less than 5.8 %";

  const Certificate chunks = run(options("chunks"));
  EXPECT_GT(chunks.kl_mean, 1e-6);
  EXPECT_GE(chunks.kl_p99, chunks.kl_mean);
  EXPECT_LE(chunks.top1_agreement, 1.0);
}

TEST_F(Certifying, RefusesWhatItCannotMeasure) {
  EXPECT_GS_ERROR(run(options("exact")), ErrorCode::kInvalidArgument, "needs no certificate");
  CertifyOptions few = options("chunks");
  few.questions.resize(49);
  EXPECT_GS_ERROR(run(few), ErrorCode::kInvalidArgument, "at least 50");
  CertifyOptions nowhere = options("chunks");
  for (std::string& question : nowhere.questions) question = "zzzz";
  EXPECT_GS_ERROR(run(nowhere), ErrorCode::kInvalidArgument, "found passages");
}

TEST_F(Certifying, AutoTakesTheFastestPolicyThatHolds) {
  EXPECT_EQ(reuse_name(resolve("auto").policy), "exact");
  CertifyOptions o = options("blend=1");
  o.accept = 0.06;
  Certificate blend = run(o);
  ASSERT_TRUE(blend.holds());
  keep(blend);
  EXPECT_EQ(reuse_name(resolve("auto").policy), "exact") << "computing everything again is no gain";
  blend.subject.policy = "blend=0.15";
  keep(blend);
  EXPECT_EQ(reuse_name(resolve("auto").policy), "blend=0.15");
  EXPECT_EQ(resolve("auto").certificate->questions, kCertifyAtLeast);
  EXPECT_EQ(reuse_name(resolve("none").policy), "none") << "asked for by name";
  EXPECT_FALSE(resolve("chunks").certificate);
  EXPECT_EQ(reuse_name(resolve("auto", KvType::kInt4).policy), "exact") << "of another type";
  Certificate chunks = blend;
  chunks.subject.policy = "chunks";
  chunks.changed_upper = 0.2;
  keep(chunks);
  EXPECT_EQ(reuse_name(resolve("auto").policy), "blend=0.15") << "chunks does not hold";
  chunks.changed_upper = 0.01;
  keep(chunks);
  EXPECT_EQ(reuse_name(resolve("auto").policy), "chunks");
  chunks.chunks = 100;
  keep(chunks);
  EXPECT_EQ(reuse_name(resolve("auto").policy), "blend=0.15") << "stale";
  auto job = store_->begin_write();
  job->remove_collection("notes");
  job->commit();
  EXPECT_TRUE(store_->certificates(collection_.id).empty());
}

TEST(CertificateWatching, RevokesSoonWhereManyChangeAndNotWhereFewDo) {
  Certificate bad = sample();
  std::size_t n = 0;
  while (!bad.revoked && n < 1000) note_checked_answer(bad, ++n % 5 == 0);  // a fifth, where a twentieth was accepted
  EXPECT_TRUE(bad.revoked);
  EXPECT_LT(n, 60u);
  EXPECT_FALSE(bad.holds());
  EXPECT_EQ(bad.checked, n);

  Certificate good = sample();
  for (n = 1; n <= 2000; ++n) note_checked_answer(good, n % 50 == 0);  // two in a hundred
  EXPECT_FALSE(good.revoked);
  EXPECT_TRUE(good.holds());
  EXPECT_EQ(good.checked_changed, 40u);

  // Of 400 runs at the accepted rate, few end in a revocation within the length of one test.
  std::mt19937 random(1);
  std::bernoulli_distribution changes(0.05);
  int revoked = 0;
  for (int run = 0; run < 400; ++run) {
    Certificate c = sample();
    for (int i = 0; i < 100 && !c.revoked; ++i) note_checked_answer(c, changes(random));
    revoked += c.revoked ? 1 : 0;
  }
  EXPECT_LE(revoked, 32) << "one in twenty wanted, 20 expected at most, 32 is 2.6 standard deviations above";
}

TEST(CertificateWatching, IsKeptWithTheCertificate) {
  Certificate c = sample();
  for (int i = 0; i < 30; ++i) note_checked_answer(c, true);
  const Certificate back = certificate_from_json(certificate_to_json(c));
  EXPECT_TRUE(back.revoked);
  EXPECT_EQ(back.checked, 30u);
  EXPECT_EQ(back.summary(), "blend=0.15, int8: 1 of 120 answers changed, at most 3.9 %; in service 30 of 30, revoked");
}

TEST_F(Certifying, WatchRevokesAPolicyThatChangesAnswersInService) {
  Certificate c = sample();  // a certificate that promises too much: random weights change most answers under chunks
  c.subject = certificate_subject(parts_, parse_reuse("chunks"), KvType::kInt8, PromptLayout::kDocsFirst);
  c.chunks = collection_.chunks;
  c.chunks = store_->find_collection("notes")->chunks;
  keep(c);
  ASSERT_EQ(resolve("auto").policy.kind, ReuseKind::kChunks);
  CertificateWatch watch(0.5);
  const auto no_embedder = [](const CollectionInfo&) -> const Embedder* { return nullptr; };
  EXPECT_FALSE(watch.check_one(*store_, parts_, no_embedder, {}));
  AnswerOptions ask = options("chunks").answer;
  ask.reuse = parse_reuse("chunks");
  ask.abstain = false;
  bool revoked = false;
  std::size_t checks = 0;
  for (int i = 0; i < 200 && !revoked; ++i) {
    const std::string question = "What does Passage " + std::to_string(i % 8) + " say, number " + std::to_string(i) + "?";
    const AnswerResult result = answer(*store_->snapshot("notes"), nullptr, parts_, question, ask);
    watch.answered("notes", question, ask, result, c);
    while (const auto check = watch.check_one(*store_, parts_, no_embedder, {})) {
      ++checks;
      revoked = revoked || check->revoked;
    }
  }
  EXPECT_TRUE(revoked);
  EXPECT_LE(checks, 100u) << "half of the answers are looked at";
  EXPECT_EQ(resolve("auto").policy.kind, ReuseKind::kExact);
  EXPECT_EQ(watch.waiting(), 0u);
}

}  // namespace
}  // namespace gritstone
