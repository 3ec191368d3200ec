// Answers from collections, for /v1/answer and for chats with a collection.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "apps/json_output.h"
#include "apps/server/generation_params.h"
#include "apps/server/reply.h"
#include "apps/server/request.h"
#include "apps/server/request_json.h"
#include "apps/server/server_context.h"
#include "pipelines/answer.h"
#include "pipelines/certificate_watch.h"

namespace gritstone {

// One question with everything the request said about it.
struct AnswerCall {
  std::string collection;
  std::string question;
  AnswerOptions options;
  std::string reuse;
  bool stream = false;
  bool include_usage = false;
  double wait_ms = 0;                    // from the request's arrival to the start of the work
  std::optional<double> ttft_budget_ms;  // from the request's arrival
  // Rows that search computed on demand, for keep().
  CollectionInfo info;
  std::map<ChunkId, std::vector<float>> embedded;
};

// Thread-safe. What questions computed (spans, vectors) is written to the store by a thread of its own, after the answer; when nobody asks,
// it checks answers that were given under a certificate.
class AnswerService {
 public:
  explicit AnswerService(ServerContext& context);
  ~AnswerService();
  AnswerService(const AnswerService&) = delete;
  AnswerService& operator=(const AnswerService&) = delete;

  // passages_key: the member that counts passages; top_k_key: the sampler's. The question is the caller's to set. Throws ApiError (400).
  AnswerCall read_call(const RequestFields& fields, const std::string& collection, const char* passages_key, const char* top_k_key) const;
  // The newest generation, and what the call needs to know about it (reuse policy, weights). Throws as ServerContext::open_collection().
  std::unique_ptr<OpenCollection> open(AnswerCall& call) const;
  // Answers, with metrics and token counts. Throws what answer() throws.
  AnswerResult run(const OpenCollection& open, AnswerCall& call, const Request& request, ReplyWriter& reply);
  // What the call computed is stored when nothing else is to do.
  void keep(AnswerCall call);

  // Members of the answer's document, as `gritstone ask --json`, with file ids.
  void write_answer(JsonOutput& json, const OpenCollection& open, const AnswerCall& call, const AnswerResult& result) const;
  // "annotations":[...] with a file_citation for each citation, where its number first stands in the answer.
  void write_annotations(JsonOutput& json, const OpenCollection& open, const AnswerResult& result) const;

 private:
  void work(const std::stop_token& stop);
  // False: another process holds the write lock, the spans are to be tried again.
  void check_certificate(const std::stop_token& stop);
  bool store_kept(std::vector<AnswerCall> calls);

  ServerContext& context_;
  CertificateWatch watch_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<AnswerCall> kept_;
  bool dirty_ = false;  // the span cache may have something to write
  std::jthread thread_;
};

}  // namespace gritstone
