#include "apps/server/client/embedding_reply.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <optional>
#include <string>

#include "apps/server/base64.h"
#include "base/error.h"
#include "base/json.h"

namespace gritstone {
namespace {

static_assert(std::endian::native == std::endian::little, "base64 rows are little-endian f32");

[[noreturn]] void unexpected(const std::string& what) { throw Error(ErrorCode::kUnavailable, "not the answer of an embedder: " + what); }

std::vector<float> read_row(const rapidjson::Value& item, std::size_t index) {
  const std::string name = "embedding " + std::to_string(index);
  const auto member = item.FindMember("embedding");
  if (member == item.MemberEnd()) unexpected(name + " is missing");
  std::vector<float> row;
  if (member->value.IsString()) {
    const std::optional<std::vector<std::uint8_t>> bytes = base64_decode({member->value.GetString(), member->value.GetStringLength()});
    if (!bytes || bytes->size() % sizeof(float) != 0) unexpected(name + " is no base64 of 32-bit numbers");
    row.resize(bytes->size() / sizeof(float));
    if (!row.empty()) std::memcpy(row.data(), bytes->data(), bytes->size());
  } else if (member->value.IsArray()) {
    row.reserve(member->value.Size());
    for (const rapidjson::Value& number : member->value.GetArray()) {
      if (!number.IsNumber()) unexpected(name + " holds something that is no number");
      row.push_back(static_cast<float>(number.GetDouble()));
    }
  } else {
    unexpected(name + " is neither a list nor base64");
  }
  if (row.empty()) unexpected(name + " is empty");
  for (const float value : row) {
    if (!std::isfinite(value)) unexpected(name + " holds a number that is not finite");
  }
  return row;
}

}  // namespace

std::size_t read_embedding_reply(std::string_view body, std::size_t texts, std::size_t& columns, std::vector<float>& rows) {
  std::optional<rapidjson::Document> document;
  try {
    document.emplace(parse_json(body, "the answer"));
  } catch (const Error& error) {
    unexpected(error.what());
  }
  if (!document->IsObject()) unexpected("an object with \"data\" was expected");
  const auto data = document->FindMember("data");
  if (data == document->MemberEnd() || !data->value.IsArray()) unexpected("it has no list \"data\"");
  if (data->value.Size() != texts) {
    unexpected(std::to_string(data->value.Size()) + " embeddings came for " + std::to_string(texts) + " texts");
  }
  std::vector<bool> seen(texts, false);
  for (rapidjson::SizeType i = 0; i < data->value.Size(); ++i) {
    const rapidjson::Value& item = data->value[i];
    if (!item.IsObject()) unexpected("data[" + std::to_string(i) + "] is no object");
    std::size_t index = i;
    if (const auto member = item.FindMember("index"); member != item.MemberEnd()) {
      if (!member->value.IsUint64() || member->value.GetUint64() >= texts) unexpected("data[" + std::to_string(i) + "] has no valid index");
      index = member->value.GetUint64();
    }
    if (seen[index]) unexpected("embedding " + std::to_string(index) + " came twice");
    seen[index] = true;
    const std::vector<float> row = read_row(item, index);
    if (columns == 0) columns = row.size();
    if (row.size() != columns) {
      throw Error(ErrorCode::kInvalidArgument,
                  "dimension is " + std::to_string(columns) + ", the embedder gives " + std::to_string(row.size()));
    }
    rows.resize(texts * columns);
    std::memcpy(rows.data() + index * columns, row.data(), row.size() * sizeof(float));
  }
  const auto usage = document->FindMember("usage");
  if (usage == document->MemberEnd() || !usage->value.IsObject()) return 0;
  const auto tokens = usage->value.FindMember("prompt_tokens");
  return tokens != usage->value.MemberEnd() && tokens->value.IsUint64() ? tokens->value.GetUint64() : 0;
}

}  // namespace gritstone
