#include "model/tokenizer/hf_pipeline.h"

#include <vector>

#include "base/error.h"

namespace gritstone {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

// The expressions of published tokenizer.json files that next_word() implements.
struct KnownPattern {
  std::string_view pattern;
  PreTokenizer kind;
};
constexpr KnownPattern kPatterns[] = {
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     PreTokenizer::kLlama3},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     PreTokenizer::kQwen2},
    {R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", PreTokenizer::kGpt2},
    {R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", PreTokenizer::kGpt2},
};

[[noreturn]] void reject(const std::string& reason) { throw Error(ErrorCode::kModelRejected, "tokenizer.json: " + reason); }

const rapidjson::Value* member(const rapidjson::Value& object, const char* key) {
  if (!object.IsObject()) return nullptr;
  const auto it = object.FindMember(key);
  return it == object.MemberEnd() || it->value.IsNull() ? nullptr : &it->value;
}

std::string type_of(const rapidjson::Value& step) { return json_string(step, "type").value_or("(none)"); }

// The steps of a Sequence (of which the key differs), or the one step itself.
std::vector<const rapidjson::Value*> steps_of(const rapidjson::Value* step, const char* key) {
  std::vector<const rapidjson::Value*> steps;
  if (step == nullptr) return steps;
  if (type_of(*step) != "Sequence") return {step};
  const rapidjson::Value* list = member(*step, key);
  if (list == nullptr || !list->IsArray()) reject(std::string("a Sequence has no list \"") + key + "\"");
  for (const auto& inner : list->GetArray()) {
    if (type_of(inner) == "Sequence") reject("a Sequence within a Sequence");
    steps.push_back(&inner);
  }
  return steps;
}

// {"String": s} or {"Regex": s}
std::optional<std::string> pattern_of(const rapidjson::Value& step, const char* kind) {
  const rapidjson::Value* pattern = member(step, "pattern");
  return pattern == nullptr ? std::nullopt : json_string(*pattern, kind);
}

void read_normalizer(const rapidjson::Value* normalizer, Vocab& vocab, bool& marks_spaces) {
  for (const rapidjson::Value* step : steps_of(normalizer, "normalizers")) {
    const std::string type = type_of(*step);
    if (type == "NFC") {
      vocab.nfc = true;
    } else if (type == "Prepend" && json_string(*step, "prepend") == kSpaceMark) {
      vocab.space_prefix = SpacePrefix::kEverySegment;
      vocab.prefix_before_space = true;
    } else if (type == "Replace" && pattern_of(*step, "String") == " " && json_string(*step, "content") == kSpaceMark) {
      marks_spaces = true;
    } else {
      reject("normalizer \"" + type.substr(0, 80) + "\" is not supported");
    }
  }
}

void read_metaspace(const rapidjson::Value& step, Vocab& vocab, bool& marks_spaces) {
  if (json_string(step, "replacement").value_or(std::string(kSpaceMark)) != kSpaceMark) reject("Metaspace with another mark than U+2581");
  marks_spaces = true;
  vocab.split_at_spaces = json_bool(step, "split").value_or(true);
  const bool prefix = json_bool(step, "add_prefix_space").value_or(true);
  const std::string scheme = json_string(step, "prepend_scheme").value_or(prefix ? "always" : "never");
  if (scheme == "always") {
    vocab.space_prefix = SpacePrefix::kEverySegment;
  } else if (scheme == "first") {
    vocab.space_prefix = SpacePrefix::kFirstSegment;
  } else if (scheme != "never") {
    reject("Metaspace prepend_scheme \"" + scheme.substr(0, 80) + "\" is not supported");
  }
  vocab.prefix_before_space = false;
}

PreTokenizer known_pattern(const rapidjson::Value& step) {
  const std::string pattern = pattern_of(step, "Regex").value_or("");
  for (const KnownPattern& known : kPatterns) {
    if (known.pattern == pattern) return known.kind;
  }
  reject("pre_tokenizer Split with the pattern \"" + pattern.substr(0, 200) + "\" is not supported");
}

void read_pre_tokenizer(const rapidjson::Value* pre_tokenizer, Vocab& vocab, bool& marks_spaces) {
  vocab.pre_tokenizer = PreTokenizer::kWhole;
  bool byte_level = false, digits = false, split = false;
  for (const rapidjson::Value* step : steps_of(pre_tokenizer, "pretokenizers")) {
    const std::string type = type_of(*step);
    if (byte_level) reject("pre_tokenizer \"" + type.substr(0, 80) + "\" after ByteLevel is not supported");
    if (type == "ByteLevel") {
      byte_level = true;
      const bool use_regex = json_bool(*step, "use_regex").value_or(true);
      if (json_bool(*step, "add_prefix_space").value_or(true)) {
        if (digits || split) reject("ByteLevel add_prefix_space after another split is not supported");
        vocab.space_prefix = SpacePrefix::kEverySegment;
      }
      if (use_regex && split) reject("ByteLevel use_regex after another expression is not supported");
      if (digits && !use_regex) reject("Digits without ByteLevel use_regex is not supported");
      if (use_regex) vocab.pre_tokenizer = digits ? PreTokenizer::kSmolLm : PreTokenizer::kGpt2;
    } else if (type == "Digits" && json_bool(*step, "individual_digits").value_or(false) && !split && !marks_spaces) {
      digits = true;
    } else if (type == "Split" && marks_spaces && pattern_of(*step, "String") == " ") {
      continue;  // Gemma: the normalizer has left no space to split at
    } else if (type == "Split" && json_string(*step, "behavior") == "Isolated" && !digits && !split) {
      if (json_bool(*step, "invert").value_or(false)) reject("pre_tokenizer Split with \"invert\" is not supported");
      vocab.pre_tokenizer = known_pattern(*step);
      split = true;
    } else if (type == "Metaspace" && !digits && !split) {
      read_metaspace(*step, vocab, marks_spaces);
    } else {
      reject("pre_tokenizer \"" + type.substr(0, 80) + "\" is not supported (at this place or with these options)");
    }
  }
  if (byte_level == marks_spaces) {
    reject(byte_level ? "both ByteLevel and U+2581 for spaces" : "neither ByteLevel nor U+2581 for spaces: not a supported kind of BPE");
  }
  if (marks_spaces && (digits || split)) reject("an expression together with U+2581 for spaces is not supported");
  vocab.symbols = byte_level ? SymbolKind::kBytes : SymbolKind::kCharacters;
}

}  // namespace

void read_hf_pipeline(const rapidjson::Value& root, Vocab& vocab) {
  bool marks_spaces = false;
  read_normalizer(member(root, "normalizer"), vocab, marks_spaces);
  read_pre_tokenizer(member(root, "pre_tokenizer"), vocab, marks_spaces);
}

std::optional<std::string> hf_template_bos(const rapidjson::Value& root) {
  for (const rapidjson::Value* step : steps_of(member(root, "post_processor"), "processors")) {
    if (type_of(*step) != "TemplateProcessing") continue;
    const rapidjson::Value* single = member(*step, "single");
    if (single == nullptr || !single->IsArray() || single->Empty()) continue;
    const rapidjson::Value* special = member((*single)[0], "SpecialToken");
    if (special != nullptr) return json_string(*special, "id");
  }
  return std::nullopt;
}

}  // namespace gritstone
