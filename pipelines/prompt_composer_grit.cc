// GRIT's caching variants (Muennighoff et al. 2024, section 4 and its published evaluation): the states of the bidirectional passes that
// embedded passage and question stand in front of the paper's prompt, and the answer is generated causally behind them.
#include <chrono>
#include <string>

#include "base/error.h"
#include "pipelines/prompt_composer.h"

namespace gritstone {
namespace {

using Clock = std::chrono::steady_clock;

// The paper's words, as published.
constexpr std::string_view kUser = "\n<|user|>\n";
constexpr std::string_view kAnswerTheQuery = "Answer the prior query while optionally using the context prior to it";
constexpr std::string_view kUsingTheContext = "Optionally using the prior context answer the query prior to it";
constexpr std::string_view kAssistant = "\n<|assistant|>\nThe answer is";
// Of a passage that stands behind a question: no <bos>, and a line feed that ends the question.
constexpr std::string_view kSecondHead = "\n<|embed|>\n";

std::vector<TokenId> piece_ids(const Prompt& prompt, PieceKind kind) {
  for (const PromptPiece& piece : prompt.pieces) {
    if (piece.kind != kind || piece.count == 0) continue;
    const auto first = prompt.tokens.begin() + static_cast<std::ptrdiff_t>(piece.first);
    return {first, first + static_cast<std::ptrdiff_t>(piece.count)};
  }
  return {};
}

void append(std::vector<TokenId>& to, const std::vector<TokenId>& ids) { to.insert(to.end(), ids.begin(), ids.end()); }

}  // namespace

// Both passes begin at position 0, as they were embedded; the answer's positions go on behind their joint length.
ComposedPrompt PromptComposer::compose_grit(const Prompt& prompt, std::span<const PassageOwner> chunks) {
  const ReuseKind kind = options_.policy.kind;
  const std::vector<TokenId> passage = piece_ids(prompt, PieceKind::kPassage), question = piece_ids(prompt, PieceKind::kQuestion);
  if (passage.empty() || question.empty()) {
    throw Error(ErrorCode::kInvalidArgument, reuse_name(options_.policy) + " needs a passage and a question");
  }
  ComposedPrompt out;
  PassageReuse of_passage, of_question;
  of_passage.tokens = passage.size();

  const auto take = [&](std::vector<TokenId> pass, const std::vector<TokenId>& text, std::optional<ChunkId> chunk, PassageReuse& reuse) {
    append(pass, text);
    Segment segment;
    segment.span = embedding_pass(pass, chunk, reuse, out);
    segment.length = pass.size();
    segment.slot = out.context.empty() ? 0 : out.context.back().slot + out.context.back().length;
    out.context.push_back(std::move(segment));
  };
  const auto take_question = [&] { take(naming_.head(), question, std::nullopt, of_question); };
  switch (kind) {
    case ReuseKind::kGritDoc:
      take(naming_.head(), passage, chunks[0], of_passage);
      break;
    case ReuseKind::kGritDocQuery:
      take(naming_.head(), passage, chunks[0], of_passage);
      take_question();
      break;
    case ReuseKind::kGritQueryDoc:
      take_question();
      take(tokenizer_.encode(kSecondHead, SpecialTokens::kPlain), passage, chunks[0], of_passage);
      break;
    default:
      take_question();
  }

  const auto say = [&](std::string_view words) { append(out.tokens, tokenizer_.encode(words, SpecialTokens::kPlain)); };
  say(kUser);
  if (kind == ReuseKind::kGritDoc) append(out.tokens, question);
  if (kind == ReuseKind::kGritQuery) append(out.tokens, passage);
  if (kind == ReuseKind::kGritDoc || kind == ReuseKind::kGritQuery) say("\n\n");
  say(kind == ReuseKind::kGritDoc || kind == ReuseKind::kGritDocQuery ? kAnswerTheQuery : kUsingTheContext);
  say(kAssistant);
  TokenRun run;
  run.count = out.tokens.size();
  run.slot = run.position = out.context.back().slot + out.context.back().length;
  out.runs.push_back(run);
  out.passages.push_back(of_passage);
  return out;
}

// The states of a bidirectional pass over `ids`: found, or computed and kept; a question's in this process alone.
std::shared_ptr<const KvSpan> PromptComposer::embedding_pass(const std::vector<TokenId>& ids, std::optional<ChunkId> chunk,
                                                             PassageReuse& reuse, ComposedPrompt& out) {
  const SpanKey key = naming_.embedding_pass(ids);
  if (const auto hit = cache_.find(key, ids)) {
    reuse.source = hit->tier == SpanTier::kRam ? SpanSource::kRam : SpanSource::kDisk;
    reuse.load_ms = hit->load_ms;
    reuse.bytes = hit->span->bytes.size();
    out.bytes += reuse.bytes;
    out.reused_tokens += ids.size();
    return hit->span;
  }
  const Clock::time_point start = Clock::now();
  Job job;
  job.tokens = ids;
  job.attention = Attention::kBidirectional;
  job.wants.kv = {{0, ids.size(), naming_.chunk_type()}};
  job.cancel = options_.cancel;
  const std::shared_ptr<const KvSpan> span = engine_.run(std::move(job)).kv.at(0);
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  out.compute_ms += 1e3 * seconds;
  reuse.source = SpanSource::kComputed;
  reuse.bytes = span->bytes.size();
  SpanPut put;
  put.key = key;
  put.ids = ids;
  put.span = span;
  put.chunk = chunk;
  put.on_disk = chunk.has_value();
  put.cost_seconds = seconds;
  cache_.put(std::move(put), collection_);
  return span;
}

}  // namespace gritstone
