#include "pipelines/certificate.h"

#include <cstdio>

#include "base/error.h"
#include "base/json.h"

namespace gritstone {

std::string CertificateSubject::name() const { return policy + "|" + span_type + "|" + layout + "|" + model + "|" + numerics; }

std::string Certificate::summary() const {
  char text[160];
  std::snprintf(text, sizeof text, ": %zu of %zu answers changed, at most %.1f %%", changed, questions, 100 * changed_upper);
  std::string summary = subject.policy + ", " + subject.span_type + text;
  if (checked > 0) {
    std::snprintf(text, sizeof text, "; in service %zu of %zu%s", checked_changed, checked, revoked ? ", revoked" : "");
    summary += text;
  }
  return summary;
}

std::string certificate_to_json(const Certificate& c) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> json(buffer);
  json.StartObject();
  const auto text = [&](const char* key, const std::string& value) {
    json.Key(key);
    json.String(value);
  };
  const auto number = [&](const char* key, double value) {
    json.Key(key);
    json.Double(value);
  };
  const auto count = [&](const char* key, std::size_t value) {
    json.Key(key);
    json.Uint64(value);
  };
  text("policy", c.subject.policy);
  text("span_type", c.subject.span_type);
  text("layout", c.subject.layout);
  text("model", c.subject.model);
  text("numerics", c.subject.numerics);
  count("questions", c.questions);
  count("changed", c.changed);
  number("changed_upper", c.changed_upper);
  count("tokens", c.tokens);
  number("kl_mean", c.kl_mean);
  number("kl_p99", c.kl_p99);
  number("top1_agreement", c.top1_agreement);
  number("accept", c.accept);
  count("chunks", c.chunks);
  count("checked", c.checked);
  count("checked_changed", c.checked_changed);
  number("evidence", c.evidence);
  json.Key("revoked");
  json.Bool(c.revoked);
  json.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

Certificate certificate_from_json(std::string_view text) {
  try {
    const rapidjson::Document json = parse_json(text, "certificate");
    const auto require = [](auto value) {
      if (!value) throw Error(ErrorCode::kDamagedData, "a certificate lacks a field");
      return *value;
    };
    const auto count = [&](const char* key) { return static_cast<std::size_t>(require(json_integer(json, key))); };
    Certificate c;
    c.subject = {require(json_string(json, "policy")), require(json_string(json, "span_type")), require(json_string(json, "layout")),
                 require(json_string(json, "model")), require(json_string(json, "numerics"))};
    c.questions = count("questions");
    c.changed = count("changed");
    c.changed_upper = require(json_number(json, "changed_upper"));
    c.tokens = count("tokens");
    c.kl_mean = require(json_number(json, "kl_mean"));
    c.kl_p99 = require(json_number(json, "kl_p99"));
    c.top1_agreement = require(json_number(json, "top1_agreement"));
    c.accept = require(json_number(json, "accept"));
    c.chunks = count("chunks");
    // Absent in certificates that were never watched.
    c.checked = static_cast<std::size_t>(json_integer(json, "checked").value_or(0));
    c.checked_changed = static_cast<std::size_t>(json_integer(json, "checked_changed").value_or(0));
    c.evidence = json_number(json, "evidence").value_or(0);
    c.revoked = json_bool(json, "revoked").value_or(false);
    return c;
  } catch (const Error& error) {
    throw Error(ErrorCode::kDamagedData, std::string("a certificate cannot be read: ") + error.what());
  }
}

std::string_view layout_name(PromptLayout layout) noexcept { return layout == PromptLayout::kQueryFirst ? "query-first" : "docs-first"; }

CertificateSubject certificate_subject(const ModelParts& model, const ReusePolicy& policy, KvType span_type, PromptLayout layout) {
  return {reuse_name(policy), std::string(kv_type_name(span_type)), std::string(layout_name(layout)), model.hash(),
          model.engine().numerics_id()};
}

ResolvedReuse resolve_reuse(const ReusePolicy& policy, const Store& store, const CollectionInfo& collection, const ModelParts& model,
                            KvType span_type, PromptLayout layout) {
  if (!policy.automatic) return {policy, std::nullopt};
  ResolvedReuse best{parse_reuse("auto"), std::nullopt};
  double least = 1.0;
  for (const std::string& body : store.certificates(collection.id)) {
    const Certificate certificate = certificate_from_json(body);
    if (!certificate.holds() || certificate.is_stale(collection.chunks)) continue;
    ReusePolicy certified = parse_reuse(certificate.subject.policy);
    certified.automatic = true;
    if (certified.grit()) continue;  // one passage and another prompt: for whoever asks for them
    if (certificate_subject(model, certified, span_type, layout).name() != certificate.subject.name()) continue;
    // The share that is computed again orders the policies by speed; 0.05 stands for the first tokens of a passage.
    const double again = certified.kind == ReuseKind::kBlend ? certified.fraction : certified.kind == ReuseKind::kFirst ? 0.05 : 0.0;
    if (again >= least) continue;
    least = again;
    best = {certified, certificate};
  }
  return best;
}

}  // namespace gritstone
