#include "retriever/grit_format.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "model/tokenizer/role_escape.h"

namespace gritstone {
namespace {

void append(std::vector<TokenId>& out, const std::vector<TokenId>& ids) { out.insert(out.end(), ids.begin(), ids.end()); }

bool looks_at_last_token(Pooling pooling) { return pooling == Pooling::kLast || pooling == Pooling::kRouting; }

}  // namespace

EmbedTokens format_for_embedding(const Tokenizer& tokenizer, const EmbedOptions& options, TextRole role, std::string_view instruction,
                                 std::string_view text, std::size_t max_context) {
  const bool grit = options.format == EmbedFormat::kGrit;
  const bool prompt_eol = grit && looks_at_last_token(options.pooling);
  const bool echo = options.pooling == Pooling::kEcho;

  EmbedTokens result;
  std::vector<TokenId>& tokens = result.tokens;
  const TokenId bos = tokenizer.bos() >= 0 ? tokenizer.bos() : tokenizer.eos();
  if (bos >= 0 && (grit || (tokenizer.adds_bos() && tokenizer.bos() >= 0))) tokens.push_back(bos);
  if (prompt_eol) {
    append(tokens, tokenizer.encode("This sentence : \""));
  } else if (grit && role == TextRole::kQuery && !instruction.empty()) {
    append(tokens, tokenizer.encode("<|user|>\n" + escape_roles(instruction) + "\n<|embed|>\n"));
  } else if (grit) {
    append(tokens, tokenizer.encode("<|embed|>\n"));
  }
  const std::vector<TokenId> suffix = prompt_eol ? tokenizer.encode("\" means in one word:\"") : std::vector<TokenId>{};
  const std::vector<TokenId> between = echo ? tokenizer.encode("\n") : std::vector<TokenId>{};

  std::vector<TokenId> own = tokenizer.encode(escape_roles(text));
  const std::size_t overhead = tokens.size() + suffix.size() + between.size();
  if (overhead >= max_context) {
    throw Error(ErrorCode::kInvalidArgument, "the embedding prefix needs " + std::to_string(overhead) +
                                                 " tokens, but the model's context is " + std::to_string(max_context));
  }
  const std::size_t room = (max_context - overhead) / (echo ? 2 : 1);
  const std::size_t keep = std::min({own.size(), options.max_tokens, room});
  result.cut = own.size() - keep;
  own.resize(keep);

  append(tokens, own);
  if (echo) {
    append(tokens, between);
    append(tokens, own);
  }
  result.text_first = tokens.size() - own.size();
  result.text_count = own.size();
  append(tokens, suffix);
  if (tokens.empty()) {
    // Nothing to embed and no prefix: one token is the least a job can have.
    tokens.push_back(bos >= 0 ? bos : 0);
  }
  if (result.text_count == 0) {
    result.text_first = tokens.size() - 1;
    result.text_count = 1;
  }
  result.pool_last = tokens.size() - 1;
  return result;
}

}  // namespace gritstone
