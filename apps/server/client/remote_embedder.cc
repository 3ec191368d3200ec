#include "apps/server/client/remote_embedder.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "apps/json_output.h"
#include "apps/server/client/embedding_reply.h"
#include "base/error.h"
#include "base/utf8.h"
#include "retriever/pooling.h"

namespace gritstone {
namespace {

using Seconds = std::chrono::duration<double>;

// A service that is busy with the other texts of an indexing run becomes free again; whoever asked a question does not wait that long.
constexpr double kPatientSeconds = 60, kImpatientSeconds = 5;
constexpr double kFirstPause = 0.5, kLongestPause = 30;

void pause(double seconds, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  wake.wait_for(lock, stop, Seconds(seconds), [] { return false; });
  if (stop.stop_requested()) throw Error(ErrorCode::kCancelled, "interrupted while the embedder was busy");
}

std::string call_body(const std::string& model, std::span<const std::string> texts) {
  JsonOutput json;
  json.begin_object().field("model", model).field("encoding_format", "float").array("input", texts).end_object();
  return json.text();
}

}  // namespace

RemoteEmbedder::RemoteEmbedder(const RemoteEmbedding& remote, std::size_t dim, const ServiceClientOptions& options,
                               const std::stop_token& stop)
    : remote_(remote),
      client_(std::make_unique<ServiceClient>(parse_url(remote.url), options)),
      url_(client_->base().text("/embeddings")),
      dim_(dim) {
  if (dim_ > 0) return;
  const std::string word = remote_.document_prefix + "dimension";
  std::vector<float> row;
  embed_call(std::span(&word, 1), true, stop, dim_, row);
}

EmbedResult RemoteEmbedder::embed(const EmbedRequest& request, MatrixView<float> out) const {
  const std::size_t n = request.texts.size();
  if (out.rows != n || out.cols != dim_) {
    throw Error(ErrorCode::kInvalidArgument, "the output is [" + std::to_string(out.rows) + ", " + std::to_string(out.cols) +
                                                 "], expected [" + std::to_string(n) + ", " + std::to_string(dim_) + "]");
  }
  const bool query = request.role == TextRole::kQuery;
  const std::string prefix = query ? request.instruction + remote_.query_prefix : remote_.document_prefix;
  EmbedResult result;
  result.cut.assign(n, 0);
  std::vector<float> rows;
  for (std::size_t first = 0; first < n;) {
    std::vector<std::string> texts;
    std::size_t bytes = 0;
    while (first + texts.size() < n && texts.size() < kTextsPerCall) {
      std::string text = prefix + request.texts[first + texts.size()];
      if (text.find_first_not_of(" \t\r\n") == std::string::npos) text = ".";  // services refuse an empty input
      if (!texts.empty() && bytes + text.size() > kBytesPerCall) break;
      bytes += text.size();
      texts.push_back(std::move(text));
    }
    std::size_t columns = dim_;
    const std::size_t counted = embed_call(texts, request.bulk, request.cancel, columns, rows);
    const std::size_t tokens = counted > 0 ? counted : (bytes + 3) / 4;
    std::size_t done_bytes = 0, done_tokens = 0;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const std::span<float> row = out.row(first + i);
      std::copy_n(rows.begin() + static_cast<std::ptrdiff_t>(i * dim_), dim_, row.begin());
      if (!normalise_l2(row)) throw Error(ErrorCode::kUnavailable, url_ + ": embedding " + std::to_string(i) + " is zero");
      done_bytes += texts[i].size();
      const std::size_t until = tokens * done_bytes / std::max<std::size_t>(1, bytes);
      result.tokens.push_back(until - done_tokens);
      done_tokens = until;
    }
    first += texts.size();
  }
  return result;
}

std::size_t RemoteEmbedder::embed_call(std::span<const std::string> texts, bool patient, const std::stop_token& stop, std::size_t& columns,
                                       std::vector<float>& rows) const {
  const HttpReply reply = post(call_body(remote_.model, texts), patient, stop);
  try {
    return read_embedding_reply(reply.body, texts.size(), columns, rows);
  } catch (const Error& error) {
    throw Error(error.code(), url_ + ", model \"" + remote_.model + "\": " + error.what());
  }
}

HttpReply RemoteEmbedder::post(const std::string& body, bool patient, const std::stop_token& stop) const {
  const auto start = std::chrono::steady_clock::now();
  const double limit = patient ? kPatientSeconds : kImpatientSeconds;
  for (double next_pause = kFirstPause;; next_pause *= 2) {
    HttpCall call;
    call.method = "POST";
    call.target = "/embeddings";
    call.body = body;
    call.stop = stop;
    HttpReply reply = client_->call(call);
    if (reply.ok()) return reply;
    const double wait = std::min(std::max(reply.retry_after.value_or(0), next_pause), kLongestPause);
    const double spent = Seconds(std::chrono::steady_clock::now() - start).count();
    if ((reply.status != 429 && reply.status != 503) || spent + wait > limit) require_ok(url_, reply);
    pause(wait, stop);
  }
}

}  // namespace gritstone
