#include "retriever/manifest.h"

#include <bit>
#include <cstdint>
#include <cstring>

#include "base/error.h"
#include "base/json.h"

namespace gritstone {
namespace {

static_assert(std::endian::native == std::endian::little, "floats are stored as their little-endian bytes");

constexpr std::int64_t kVersion = 1;
constexpr std::int64_t kUrlVersion = 2;  // a build that does not know of embedders by URL must not take one for damaged
constexpr std::string_view kNormalisation = "l2";

std::string to_hex_floats(const std::vector<float>& values) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(values.size() * 8);
  for (const float value : values) {
    std::uint8_t bytes[4];
    std::memcpy(bytes, &value, 4);
    for (const std::uint8_t b : bytes) {
      text += kDigits[b >> 4];
      text += kDigits[b & 15];
    }
  }
  return text;
}

[[noreturn]] void damaged(const std::string& what) { throw Error(ErrorCode::kDamagedData, "embedder manifest: " + what); }

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  damaged("a statistic is not hexadecimal");
}

std::vector<float> from_hex_floats(std::string_view text, std::size_t expected, const char* name) {
  if (text.size() != expected * 8) {
    damaged(std::string(name) + " has " + std::to_string(text.size()) + " digits, expected " + std::to_string(expected * 8));
  }
  std::vector<float> values(expected);
  for (std::size_t i = 0; i < expected; ++i) {
    std::uint8_t bytes[4];
    for (std::size_t b = 0; b < 4; ++b) {
      bytes[b] = static_cast<std::uint8_t>(hex_digit(text[i * 8 + b * 2]) * 16 + hex_digit(text[i * 8 + b * 2 + 1]));
    }
    std::memcpy(&values[i], bytes, 4);
    if (!(values[i] > -1e30f && values[i] < 1e30f)) damaged(std::string(name) + " holds a value that is not finite");
  }
  return values;
}

std::string required_string(const rapidjson::Value& object, const char* key) {
  auto value = json_string(object, key);
  if (!value) damaged("\"" + std::string(key) + "\" is missing");
  return std::move(*value);
}

std::size_t required_size(const rapidjson::Value& object, const char* key) {
  const auto value = json_integer(object, key);
  if (!value || *value < 0) damaged("\"" + std::string(key) + "\" is missing or negative");
  return static_cast<std::size_t>(*value);
}

EmbedStatistics read_statistics(const rapidjson::Value& object, std::size_t dim) {
  EmbedStatistics s;
  s.samples = required_size(object, "samples");
  s.mean = from_hex_floats(required_string(object, "mean"), dim, "mean");
  const auto components = object.FindMember("components");
  if (components != object.MemberEnd()) {
    if (!components->value.IsArray()) damaged("\"components\" is no array");
    for (const auto& component : components->value.GetArray()) {
      if (!component.IsString()) damaged("a component is no string");
      s.components.push_back(from_hex_floats({component.GetString(), component.GetStringLength()}, dim, "a component"));
    }
  }
  s.deviation = from_hex_floats(required_string(object, "deviation"), dim, "deviation");
  for (const float d : s.deviation) {
    if (!(d > 0)) damaged("a deviation is not positive");
  }
  if (const auto query_mean = json_string(object, "query_mean")) s.query_mean = from_hex_floats(*query_mean, dim, "query_mean");
  return s;
}

EmbedderManifest read(const rapidjson::Value& object) {
  EmbedderManifest m;
  m.model_name = required_string(object, "model");
  m.model_hash = required_string(object, "model_sha256");
  m.tokenizer = required_string(object, "tokenizer_sha256");
  m.grit_tuned = json_bool(object, "grit_tuned").value_or(false);
  m.options.format = parse_embed_format(required_string(object, "format"));
  m.options.attention = parse_attention(required_string(object, "attention"));
  m.options.pooling = parse_pooling(required_string(object, "pooling"));
  m.options.layer = required_size(object, "layer");
  m.options.max_tokens = required_size(object, "max_tokens");
  m.options.query_instruction = json_string(object, "query_instruction").value_or("");
  m.dim = required_size(object, "dim");
  if (const std::string n = required_string(object, "normalisation"); n != kNormalisation) damaged("unknown normalisation \"" + n + "\"");
  m.wants_statistics = json_bool(object, "wants_statistics").value_or(false);
  m.dense_weight = json_number(object, "dense_weight");
  if (m.dense_weight && !(*m.dense_weight >= 0 && *m.dense_weight <= 1)) damaged("\"dense_weight\" is not within 0 to 1");
  const auto statistics = object.FindMember("statistics");
  if (statistics != object.MemberEnd() && statistics->value.IsObject()) m.statistics = read_statistics(statistics->value, m.dim);
  return m;
}

EmbedderManifest read_remote(const rapidjson::Value& object) {
  EmbedderManifest m;
  if (const std::string kind = required_string(object, "kind"); kind != "url") damaged("unknown kind \"" + kind + "\"");
  m.remote = RemoteEmbedding{required_string(object, "url"), required_string(object, "model"), required_string(object, "query_prefix"),
                             required_string(object, "document_prefix")};
  m.model_name = m.remote->model;
  m.dim = required_size(object, "dim");
  return m;
}

std::string in_quotes(std::string_view text) { return "\"" + std::string(text) + "\""; }

}  // namespace

std::string manifest_to_json(const EmbedderManifest& m) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> w(buffer);
  const auto text = [&w](const char* key, std::string_view value) {
    w.Key(key);
    w.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
  };
  const auto number = [&w](const char* key, std::size_t value) {
    w.Key(key);
    w.Uint64(value);
  };
  w.StartObject();
  if (m.remote) {
    number("version", static_cast<std::size_t>(kUrlVersion));
    text("kind", "url");
    text("url", m.remote->url);
    text("model", m.remote->model);
    text("query_prefix", m.remote->query_prefix);
    text("document_prefix", m.remote->document_prefix);
    number("dim", m.dim);
    w.EndObject();
    return {buffer.GetString(), buffer.GetSize()};
  }
  number("version", static_cast<std::size_t>(kVersion));
  text("model", m.model_name);
  text("model_sha256", m.model_hash);
  text("tokenizer_sha256", m.tokenizer);
  w.Key("grit_tuned");
  w.Bool(m.grit_tuned);
  text("format", embed_format_name(m.options.format));
  text("attention", attention_name(m.options.attention));
  text("pooling", pooling_name(m.options.pooling));
  number("layer", m.options.layer.value_or(0));
  number("max_tokens", m.options.max_tokens);
  text("query_instruction", m.options.query_instruction);
  number("dim", m.dim);
  text("normalisation", kNormalisation);
  w.Key("wants_statistics");
  w.Bool(m.wants_statistics);
  if (m.dense_weight) {
    w.Key("dense_weight");
    w.Double(*m.dense_weight);
  }
  if (m.statistics) {
    w.Key("statistics");
    w.StartObject();
    number("samples", m.statistics->samples);
    text("mean", to_hex_floats(m.statistics->mean));
    w.Key("components");
    w.StartArray();
    for (const auto& component : m.statistics->components) {
      const std::string hex = to_hex_floats(component);
      w.String(hex.data(), static_cast<rapidjson::SizeType>(hex.size()));
    }
    w.EndArray();
    text("deviation", to_hex_floats(m.statistics->deviation));
    if (!m.statistics->query_mean.empty()) text("query_mean", to_hex_floats(m.statistics->query_mean));
    w.EndObject();
  }
  w.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

std::optional<EmbedderManifest> manifest_from_json(std::string_view json) {
  try {
    const rapidjson::Document document = parse_json(json, "embedder manifest");
    if (!document.IsObject()) damaged("not an object");
    if (document.ObjectEmpty()) return std::nullopt;
    const auto version = json_integer(document, "version");
    if (version == kUrlVersion) return read_remote(document);
    if (version != kVersion) damaged("version " + std::to_string(version.value_or(0)) + ", this build reads 1 and 2");
    return read(document);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kDamagedData) throw;
    damaged(error.what());
  }
}

std::string manifest_difference(const EmbedderManifest& stored, const EmbedderManifest& current) {
  const auto differ = [](const std::string& what, const std::string& was, const std::string& is) {
    return what + " is " + was + ", this command uses " + is;
  };
  if (stored.remote || current.remote) {
    const auto source = [](const EmbedderManifest& m) {
      return in_quotes(m.model_name) + (m.remote ? " at " + m.remote->url : " (SHA-256 " + m.model_hash.substr(0, 12) + ")");
    };
    if (!stored.remote || !current.remote) return differ("model", source(stored), source(current));
    const RemoteEmbedding& a = *stored.remote;
    const RemoteEmbedding& b = *current.remote;
    if (a.model != b.model) return differ("model", source(stored), source(current));
    // 0: the service was not asked yet.
    if (stored.dim != current.dim && stored.dim != 0 && current.dim != 0) {
      return differ("dimension", std::to_string(stored.dim), std::to_string(current.dim));
    }
    if (a.query_prefix != b.query_prefix) return differ("query prefix", in_quotes(a.query_prefix), in_quotes(b.query_prefix));
    if (a.document_prefix != b.document_prefix)
      return differ("document prefix", in_quotes(a.document_prefix), in_quotes(b.document_prefix));
    return {};
  }
  if (stored.model_hash != current.model_hash) {
    return differ("model", in_quotes(stored.model_name) + " (SHA-256 " + stored.model_hash.substr(0, 12) + ")",
                  in_quotes(current.model_name) + " (SHA-256 " + current.model_hash.substr(0, 12) + ")");
  }
  if (stored.tokenizer != current.tokenizer) {
    return differ("tokenizer", "SHA-256 " + stored.tokenizer.substr(0, 12), "SHA-256 " + current.tokenizer.substr(0, 12));
  }
  const EmbedOptions& a = stored.options;
  const EmbedOptions& b = current.options;
  if (a.format != b.format) return differ("format", std::string(embed_format_name(a.format)), std::string(embed_format_name(b.format)));
  if (a.attention != b.attention) {
    return differ("attention", std::string(attention_name(a.attention)), std::string(attention_name(b.attention)));
  }
  if (a.pooling != b.pooling) return differ("pooling", std::string(pooling_name(a.pooling)), std::string(pooling_name(b.pooling)));
  if (a.layer != b.layer) return differ("layer", std::to_string(a.layer.value_or(0)), std::to_string(b.layer.value_or(0)));
  if (stored.dim != current.dim) return differ("dimension", std::to_string(stored.dim), std::to_string(current.dim));
  if (a.max_tokens != b.max_tokens) return differ("token limit", std::to_string(a.max_tokens), std::to_string(b.max_tokens));
  if (stored.wants_statistics != current.wants_statistics) {
    return differ("normalisation", stored.wants_statistics ? "centred" : "plain", current.wants_statistics ? "centred" : "plain");
  }
  return {};
}

void require_same_embedder(const EmbedderManifest& stored, const EmbedderManifest& current, std::string_view collection) {
  const std::string difference = manifest_difference(stored, current);
  if (difference.empty()) return;
  throw Error(ErrorCode::kInvalidArgument, "collection " + in_quotes(collection) + " was embedded differently: " + difference +
                                               "; to embed it anew: gritstone collection reembed -c " + std::string(collection));
}

}  // namespace gritstone
