#include "pipelines/reuse_policy.h"

#include <charconv>
#include <cstdio>

#include "base/error.h"

namespace gritstone {
namespace {

template <typename Number>
bool read_number(std::string_view text, Number& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

ReusePolicy parse_reuse(std::string_view text) {
  ReusePolicy policy;
  if (text == "none") return policy;
  if (text == "exact" || text == "auto") {
    policy.kind = ReuseKind::kExact;
    policy.automatic = text == "auto";
    return policy;
  }
  if (text == "chunks") return {ReuseKind::kChunks};
  for (const ReuseKind kind : {ReuseKind::kGritDoc, ReuseKind::kGritQuery, ReuseKind::kGritDocQuery, ReuseKind::kGritQueryDoc}) {
    policy.kind = kind;
    if (text == reuse_name(policy)) return policy;
  }
  policy = {};
  if (text.starts_with("first=") && read_number(text.substr(6), policy.first_tokens) && policy.first_tokens > 0) {
    policy.kind = ReuseKind::kFirst;
    return policy;
  }
  if (text.starts_with("blend=") && read_number(text.substr(6), policy.fraction) && policy.fraction > 0 && policy.fraction <= 1) {
    policy.kind = ReuseKind::kBlend;
    return policy;
  }
  throw Error(ErrorCode::kInvalidArgument, "unknown reuse policy \"" + std::string(text) +
                                               "\", expected auto, none, exact, chunks, first=K (K >= 1), blend=R (0 < R <= 1), "
                                               "grit-doc, grit-query, grit-doc-query or grit-query-doc");
}

std::string reuse_name(const ReusePolicy& policy) {
  switch (policy.kind) {
    case ReuseKind::kNone:
      return "none";
    case ReuseKind::kExact:
      return "exact";
    case ReuseKind::kChunks:
      return "chunks";
    case ReuseKind::kFirst:
      return "first=" + std::to_string(policy.first_tokens);
    case ReuseKind::kBlend: {
      char number[32];
      std::snprintf(number, sizeof number, "%g", policy.fraction);
      return std::string("blend=") + number;
    }
    case ReuseKind::kGritDoc:
      return "grit-doc";
    case ReuseKind::kGritQuery:
      return "grit-query";
    case ReuseKind::kGritDocQuery:
      return "grit-doc-query";
    case ReuseKind::kGritQueryDoc:
      return "grit-query-doc";
  }
  return "";
}

}  // namespace gritstone
