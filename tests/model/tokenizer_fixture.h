// What the tokenizer tests share: golden files and small vocabularies.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/checked_file.h"
#include "base/json.h"
#include "model/tokenizer/byte_alphabet.h"
#include "model/tokenizer/make_tokenizer.h"

namespace gritstone {

inline std::string tokenizer_golden(const std::string& name) {
  return read_file(std::filesystem::path(GRITSTONE_SOURCE_DIR) / "tests/golden/tokenizer" / name, std::uint64_t{1} << 24);
}

// The large goldens are not in the repository; GRITSTONE_SHARED_DATA names the folder that has tokenizer/olmo_tokenizer.json and so on.
inline std::optional<std::filesystem::path> shared_tokenizer_data() {
  const char* folder = std::getenv("GRITSTONE_SHARED_DATA");
  if (folder == nullptr || *folder == '\0') return std::nullopt;
  return std::filesystem::path(folder) / "tokenizer";
}

inline std::vector<TokenId> json_ids(const rapidjson::Value& list) {
  std::vector<TokenId> ids;
  for (const auto& id : list.GetArray()) ids.push_back(id.GetInt());
  return ids;
}

inline std::string json_bytes(const rapidjson::Value& text) { return {text.GetString(), text.GetStringLength()}; }

// tests/golden/tokenizer/<base>_tokenizer.json with the members of one of its variants put in.
inline std::string variant_tokenizer_json(const std::string& base, const std::string& variant) {
  rapidjson::Document spec = parse_json(tokenizer_golden(base + "_tokenizer.json"), "spec");
  rapidjson::Document variants = parse_json(tokenizer_golden(base + "_variants.json"), "variants");
  auto& allocator = spec.GetAllocator();
  for (auto& member : variants[variant.c_str()].GetObject()) {
    const std::string key = json_bytes(member.name);
    rapidjson::Value& object = key == "ignore_merges" ? spec["model"] : spec;
    rapidjson::Value name(key.c_str(), allocator), value(member.value, allocator);
    object.RemoveMember(key.c_str());
    object.AddMember(name, value, allocator);
  }
  return json_text(spec);
}

// GGUF vocabulary "gpt2": the 256 bytes as ids 0-255, then `words` (bytes), each made by merging its bytes from left to right, then
// `<|end|>` as control token and eos.
inline GgufVocab byte_vocab(const std::vector<std::string>& words, const std::string& pre = "gpt-2") {
  GgufVocab vocab;
  vocab.model = "gpt2";
  vocab.pre = pre;
  for (int byte = 0; byte < 256; ++byte) vocab.tokens.push_back(spelling_of_bytes(std::string(1, static_cast<char>(byte))));
  vocab.token_type.assign(256, 1);
  for (const std::string& word : words) {
    for (std::size_t n = 2; n <= word.size(); ++n) {
      const std::string left = spelling_of_bytes(word.substr(0, n - 1)), right = spelling_of_bytes(word.substr(n - 1, 1));
      if (std::find(vocab.tokens.begin(), vocab.tokens.end(), left + right) != vocab.tokens.end()) continue;
      vocab.tokens.push_back(left + right);
      vocab.token_type.push_back(1);
      vocab.merges.push_back(left + " " + right);
    }
  }
  vocab.tokens.push_back("<|end|>");
  vocab.token_type.push_back(3);
  vocab.eos_token_id = static_cast<std::uint32_t>(vocab.tokens.size() - 1);
  return vocab;
}

}  // namespace gritstone
