// Vocab from Hugging Face's tokenizer.json and the small files beside it.
#include <limits>
#include <string_view>
#include <unordered_map>

#include "base/error.h"
#include "base/json.h"
#include "model/tokenizer/hf_pipeline.h"
#include "model/tokenizer/vocab.h"

namespace gritstone {
namespace {

using Json = rapidjson::Value;
using Ids = std::unordered_map<std::string, TokenId>;

[[noreturn]] void reject(const std::string& reason) { throw Error(ErrorCode::kModelRejected, "tokenizer.json: " + reason); }

const Json* member(const Json& object, const char* key) {
  if (!object.IsObject()) return nullptr;
  const auto it = object.FindMember(key);
  return it == object.MemberEnd() || it->value.IsNull() ? nullptr : &it->value;
}

std::string_view text_of(const Json& value) { return {value.GetString(), value.GetStringLength()}; }
std::string shown(std::string_view text) { return "\"" + std::string(text.substr(0, 80)) + "\""; }

TokenId checked_id(const Json* value, std::string_view token) {
  if (value == nullptr || !value->IsInt64() || value->GetInt64() < 0 || value->GetInt64() >= static_cast<std::int64_t>(Vocab::kMaxTokens)) {
    reject("the id of token " + shown(token) + " must be an integer from 0 to " + std::to_string(Vocab::kMaxTokens - 1));
  }
  return static_cast<TokenId>(value->GetInt64());
}

// Ids and texts while they are collected; ids may leave holes, which models fill with unused embedding rows.
class Collector {
 public:
  explicit Collector(Vocab& vocab) : vocab_(vocab) {}

  VocabToken& place(std::string_view text, TokenId id) {
    const auto index = static_cast<std::size_t>(id);
    if (index >= vocab_.tokens.size()) {
      if (index > ids.size() + Vocab::kMaxUnusedIds) {
        reject("token " + shown(text) + " has id " + std::to_string(id) + " after only " + std::to_string(ids.size()) + " tokens");
      }
      vocab_.tokens.resize(index + 1);
    }
    if (!vocab_.tokens[index].text.empty()) {
      reject("tokens " + shown(vocab_.tokens[index].text) + " and " + shown(text) + " have the same id " + std::to_string(id));
    }
    if (text.empty()) reject("token " + std::to_string(id) + " is empty");
    if (!ids.emplace(text, id).second) reject("token " + shown(text) + " occurs twice");
    vocab_.tokens[index].text = text;
    return vocab_.tokens[index];
  }

  TokenId find(std::string_view text) const {
    const auto found = ids.find(std::string(text));
    return found == ids.end() ? -1 : found->second;
  }

  Ids ids;

 private:
  Vocab& vocab_;
};

void read_vocab(const Json& model, Vocab& vocab, Collector& collector) {
  const Json* entries = member(model, "vocab");
  if (entries == nullptr || !entries->IsObject()) reject("model.vocab is missing");
  if (entries->MemberCount() > Vocab::kMaxTokens) reject(std::to_string(entries->MemberCount()) + " tokens");
  // Sized by the largest id first, so that the order of the entries does not matter for the limit on holes.
  std::size_t size = 0;
  for (const auto& entry : entries->GetObject()) {
    size = std::max(size, static_cast<std::size_t>(checked_id(&entry.value, text_of(entry.name))) + 1);
  }
  if (size > entries->MemberCount() + Vocab::kMaxUnusedIds) {
    reject("ids up to " + std::to_string(size - 1) + " for " + std::to_string(entries->MemberCount()) + " tokens");
  }
  vocab.tokens.resize(size);
  const bool byte_fallback = json_bool(model, "byte_fallback").value_or(false);
  for (const auto& entry : entries->GetObject()) {
    VocabToken& token = collector.place(text_of(entry.name), checked_id(&entry.value, text_of(entry.name)));
    token.kind = byte_fallback && byte_of_token_text(token.text) ? TokenKind::kByte : TokenKind::kNormal;
  }
  if (const auto unk = json_string(model, "unk_token")) {
    vocab.unk = collector.find(*unk);
    if (vocab.unk < 0) reject("unk_token " + shown(*unk) + " is not in the vocabulary");
    vocab.tokens[static_cast<std::size_t>(vocab.unk)].kind = TokenKind::kUnknown;
  }
}

void read_merges(const Json& model, Vocab& vocab, const Collector& collector) {
  const Json* merges = member(model, "merges");
  if (merges == nullptr || !merges->IsArray()) reject("model.merges is missing");
  if (merges->Size() > Vocab::kMaxMerges) reject(std::to_string(merges->Size()) + " merges");
  vocab.merges.reserve(merges->Size());
  for (const auto& merge : merges->GetArray()) {
    std::string_view left, right;
    if (merge.IsString()) {
      const std::string_view text = text_of(merge);
      const std::size_t space = text.find(' ');
      if (space != std::string_view::npos) left = text.substr(0, space), right = text.substr(space + 1);
    } else if (merge.IsArray() && merge.Size() == 2 && merge[0].IsString() && merge[1].IsString()) {
      left = text_of(merge[0]), right = text_of(merge[1]);
    }
    const std::string number = std::to_string(vocab.merges.size());
    if (left.empty() || right.empty()) reject("merge " + number + " is neither \"left right\" nor [\"left\", \"right\"]");
    const TokenId left_id = collector.find(left);
    const TokenId right_id = collector.find(right);
    if (left_id < 0 || right_id < 0) reject("merge " + number + " names " + shown(left_id < 0 ? left : right) + ", which is no token");
    vocab.merges.emplace_back(left_id, right_id);
  }
}

void read_added_tokens(const Json& root, Vocab& vocab, Collector& collector) {
  const Json* added = member(root, "added_tokens");
  if (added == nullptr) return;
  if (!added->IsArray()) reject("added_tokens is not a list");
  for (const auto& entry : added->GetArray()) {
    if (!entry.IsObject()) reject("an added token is not an object");
    const auto content = json_string(entry, "content");
    if (!content || content->empty()) reject("an added token has no content");
    const TokenId id = checked_id(member(entry, "id"), *content);
    const TokenId listed = collector.find(*content);
    if (listed >= 0 && listed != id) {
      reject("added token " + shown(*content) + " has id " + std::to_string(id) + ", the vocabulary gives it " + std::to_string(listed));
    }
    VocabToken& token = listed >= 0 ? vocab.tokens[static_cast<std::size_t>(listed)] : collector.place(*content, id);
    const bool special = json_bool(entry, "special").value_or(false);
    if (token.kind != TokenKind::kUnknown) token.kind = special ? TokenKind::kControl : TokenKind::kUserDefined;
    token.normalized = json_bool(entry, "normalized").value_or(!special);
    token.lstrip = json_bool(entry, "lstrip").value_or(false);
    token.rstrip = json_bool(entry, "rstrip").value_or(false);
    token.single_word = json_bool(entry, "single_word").value_or(false);
  }
}

// "bos_token": "<s>" or {"content": "<s>", ...}
TokenId named_token(const Json& config, const char* key, const Collector& collector) {
  const Json* value = member(config, key);
  if (value == nullptr) return -1;
  const Json* content = value->IsObject() ? member(*value, "content") : value;
  if (content == nullptr || !content->IsString()) reject(std::string(key) + " of tokenizer_config.json is no text");
  return collector.find(text_of(*content));
}

// "eos_token_id": 2 or [2, 7]. Ids that the tokenizer does not have belong to the rows beyond it and are left out.
std::vector<TokenId> listed_ids(const Json& config, const char* key, std::size_t vocab_size) {
  std::vector<TokenId> ids;
  const Json* value = member(config, key);
  if (value == nullptr) return ids;
  const auto add = [&](const Json& id) {
    if (!id.IsInt64()) reject(std::string(key) + " is not an integer");
    if (id.GetInt64() >= 0 && static_cast<std::uint64_t>(id.GetInt64()) < vocab_size) ids.push_back(static_cast<TokenId>(id.GetInt64()));
  };
  if (value->IsArray()) {
    for (const auto& id : value->GetArray()) add(id);
  } else {
    add(*value);
  }
  return ids;
}

void read_special_ids(const Json& root, const Json& config, const Json& generation, Vocab& vocab, const Collector& collector) {
  const std::size_t size = vocab.tokens.size();
  const auto pick = [&](const char* id_key, const char* name_key) {
    const std::vector<TokenId> ids = listed_ids(generation, id_key, size);
    return ids.empty() ? named_token(config, name_key, collector) : ids.front();
  };
  // Ids before names: OLMoE-0125 tells its end of text (50279) apart only by id.
  vocab.bos = pick("bos_token_id", "bos_token");
  vocab.eos = pick("eos_token_id", "eos_token");
  vocab.pad = pick("pad_token_id", "pad_token");
  for (const TokenId id : listed_ids(generation, "eos_token_id", size)) {
    if (id != vocab.eos) vocab.more_eos.push_back(id);
  }
  if (const TokenId named = named_token(config, "eos_token", collector); named >= 0 && named != vocab.eos) vocab.more_eos.push_back(named);

  const auto template_bos = hf_template_bos(root);
  if (vocab.bos < 0 && template_bos) vocab.bos = collector.find(*template_bos);
  vocab.add_bos = json_bool(config, "add_bos_token").value_or(template_bos && vocab.bos >= 0 && collector.find(*template_bos) == vocab.bos);
}

rapidjson::Document parse_optional(std::string_view text, std::string_view what) {
  rapidjson::Document document;
  if (text.empty()) {
    document.SetObject();
    return document;
  }
  document = parse_json(text, what);
  if (!document.IsObject()) throw Error(ErrorCode::kModelRejected, std::string(what) + ": not an object");
  return document;
}

Vocab read_all(std::string_view tokenizer_json, std::string_view tokenizer_config_json, std::string_view generation_config_json) {
  const rapidjson::Document root = parse_json(tokenizer_json, "tokenizer.json");
  const rapidjson::Document config = parse_optional(tokenizer_config_json, "tokenizer_config.json");
  const rapidjson::Document generation = parse_optional(generation_config_json, "generation_config.json");
  const Json* model = member(root, "model");
  if (model == nullptr || !model->IsObject()) reject("no model");
  const std::string type = json_string(*model, "type").value_or("BPE");
  if (type != "BPE") reject("model type " + shown(type) + " is not supported, only BPE");
  if (json_number(*model, "dropout").value_or(0) != 0) reject("dropout is not supported");
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!json_string(*model, affix).value_or("").empty()) reject(std::string(affix) + " is not supported");
  }

  Vocab vocab;
  Collector collector(vocab);
  vocab.ignore_merges = json_bool(*model, "ignore_merges").value_or(false);
  read_hf_pipeline(root, vocab);
  read_vocab(*model, vocab, collector);
  read_merges(*model, vocab, collector);
  read_added_tokens(root, vocab, collector);
  read_special_ids(root, config, generation, vocab, collector);
  vocab.mark_control_tokens();
  vocab.validate();
  return vocab;
}

}  // namespace

Vocab vocab_from_hf_json(std::string_view tokenizer_json, std::string_view tokenizer_config_json, std::string_view generation_config_json) {
  try {
    return read_all(tokenizer_json, tokenizer_config_json, generation_config_json);
  } catch (const Error& error) {
    // base/json.h blames the caller's input; here that input is a model file.
    if (error.code() != ErrorCode::kInvalidArgument) throw;
    throw Error(ErrorCode::kModelRejected, error.what());
  }
}

}  // namespace gritstone
