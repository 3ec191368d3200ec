#include "index/uploaded_file.h"

#include "base/error.h"
#include "base/json.h"
#include "base/utf8.h"
#include "index/row_hash.h"

namespace gritstone {
namespace {

constexpr std::size_t kMaxLabelBytes = 255;

}  // namespace

std::string_view link_status_name(LinkStatus status) noexcept {
  switch (status) {
    case LinkStatus::kInProgress:
      return "in_progress";
    case LinkStatus::kCompleted:
      return "completed";
    case LinkStatus::kFailed:
      return "failed";
    case LinkStatus::kCancelled:
      return "cancelled";
  }
  return "";
}

std::string label_of(std::string_view client_name) {
  const std::size_t slash = client_name.find_last_of("/\\");
  if (slash != std::string_view::npos) client_name.remove_prefix(slash + 1);
  const std::string valid = sanitize_utf8(client_name);
  std::string label;
  for (std::size_t i = 0; i < valid.size();) {
    const Utf8Decoded c = decode_utf8(valid, i);
    // C0, C1, DEL, and the characters that turn the direction of text: a name must look like what it is.
    const bool control = c.code_point < 0x20 || (c.code_point >= 0x7f && c.code_point < 0xa0);
    const bool direction = (c.code_point >= 0x202a && c.code_point <= 0x202e) || (c.code_point >= 0x2066 && c.code_point <= 0x2069) ||
                           c.code_point == 0x200e || c.code_point == 0x200f;
    if (!control && !direction) label.append(valid, i, c.length);
    i += c.length;
  }
  if (label.size() > kMaxLabelBytes) label.resize(complete_utf8_prefix(std::string_view(label).substr(0, kMaxLabelBytes)));
  while (!label.empty() && label.back() == ' ') label.pop_back();
  label.erase(0, label.find_first_not_of(' '));
  return label.empty() || label == "." || label == ".." ? "file" : label;
}

std::string numbered_label(std::string_view label, std::size_t n) {
  if (n <= 1) return std::string(label);
  std::size_t dot = label.find_last_of('.');
  if (dot == std::string_view::npos || dot == 0) dot = label.size();
  return std::string(label.substr(0, dot)) + " (" + std::to_string(n) + ")" + std::string(label.substr(dot));
}

std::map<std::string, std::string> attribute_texts(std::string_view json) {
  std::map<std::string, std::string> texts;
  const rapidjson::Document document = parse_json(json, "attributes");
  if (!document.IsObject()) throw Error(ErrorCode::kInvalidArgument, "attributes must be a JSON object");
  for (const auto& member : document.GetObject()) {
    const std::string key(member.name.GetString(), member.name.GetStringLength());
    if (member.value.IsString()) {
      texts[key] = std::string(member.value.GetString(), member.value.GetStringLength());
    } else if (member.value.IsNumber() || member.value.IsBool()) {
      texts[key] = json_text(member.value);
    } else {
      throw Error(ErrorCode::kInvalidArgument, "attribute \"" + key + "\" must be a string, a number or a boolean");
    }
  }
  return texts;
}

std::string document_key(std::int64_t collection, std::string_view path) {
  return to_hex(RowHash().add("document").add(collection).add(path).digest()).substr(0, 24);
}

}  // namespace gritstone
