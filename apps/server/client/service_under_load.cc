#include "apps/server/client/service_under_load.h"

#include <algorithm>
#include <cstdlib>
#include <set>

#include "apps/json_output.h"
#include "base/error.h"
#include "base/json.h"

namespace gritstone {
namespace {

constexpr std::chrono::seconds kCheckSilence{10};

// Object member `key`, or null.
const rapidjson::Value* find_object(const rapidjson::Value& object, const char* key) {
  const auto member = object.FindMember(key);
  return member != object.MemberEnd() && member->value.IsObject() ? &member->value : nullptr;
}

// What a stream said so far.
class AnswerReader {
 public:
  // Borrows outcome and clock.
  AnswerReader(ServiceOptions::Api api, std::string url, RequestOutcome& outcome, LoadClock& clock)
      : api_(api), url_(std::move(url)), outcome_(outcome), clock_(clock), offset_(offset_of(clock)) {}

  void event(const StreamEvent& event) {
    if (event.data == "[DONE]") {
      done_ = true;
      return;
    }
    rapidjson::Document document;
    try {
      document = parse_json(event.data, "event");
    } catch (const Error& error) {
      fail(std::string("an event is no JSON: ") + error.what());
    }
    if (!document.IsObject()) fail("an event is no object");
    if (const rapidjson::Value* error = find_object(document, "error"))
      fail(json_string(*error, "message").value_or("an error without message"));
    const double came = std::min(seconds(event.came) + offset_, clock_.now());
    api_ == ServiceOptions::Api::kAnswer ? answer_event(event.name, document, came) : chat_event(document, came);
  }

  void finish() {
    if (!done_) fail("the answer ended half-way");
    // Services that count nothing send a token a piece, more or less.
    if (!counted_) outcome_.tokens = outcome_.pieces.size();
    if (outcome_.tokens > 0 && !outcome_.pieces.empty()) outcome_.first_token = outcome_.pieces.front();
    outcome_.ok = true;
  }

 private:
  static double seconds(std::chrono::steady_clock::time_point time) {
    return std::chrono::duration<double>(time.time_since_epoch()).count();
  }

  // What is added to the steady clock's seconds to have the run's. Whoever is interrupted between two clocks reads them at different times,
  // so the closest of a few readings counts.
  static double offset_of(LoadClock& clock) {
    double closest = 1e9, offset = 0;
    for (int i = 0; i < 5 && closest > 1e-5; ++i) {
      const double before = clock.now();
      const double steady = seconds(std::chrono::steady_clock::now());
      const double after = clock.now();
      if (after - before >= closest) continue;
      closest = after - before;
      offset = (before + after) / 2 - steady;
    }
    return offset;
  }

  void answer_event(const std::string& name, const rapidjson::Value& data, double came) {
    if (name == "delta") outcome_.pieces.push_back(came);
    if (name == "answer") read_figures(data);
  }

  void chat_event(const rapidjson::Value& data, double came) {
    const auto choices = data.FindMember("choices");
    if (choices != data.MemberEnd() && choices->value.IsArray() && !choices->value.Empty() && choices->value[0].IsObject()) {
      const rapidjson::Value* delta = find_object(choices->value[0], "delta");
      if (delta != nullptr && !json_string(*delta, "content").value_or("").empty()) outcome_.pieces.push_back(came);
    }
    read_figures(data);
    if (const rapidjson::Value* own = find_object(data, "gritstone")) read_figures(*own);
  }

  // "usage" and "timings".
  void read_figures(const rapidjson::Value& data) {
    if (const rapidjson::Value* usage = find_object(data, "usage")) {
      if (const auto tokens = json_integer(*usage, "completion_tokens"); tokens && *tokens >= 0) {
        outcome_.tokens = static_cast<std::size_t>(*tokens);
        counted_ = true;
      }
    }
    if (const auto wait = json_number(data, "wait_ms"); wait && *wait > 0) outcome_.stages["line_ms"] = *wait;
    const rapidjson::Value* timings = find_object(data, "timings");
    if (timings == nullptr) return;
    // Sums of others, and what is measured here.
    static const std::set<std::string_view> kNoStages{"ttft_ms", "tpot_ms", "retrieve_ms", "total_ms"};
    for (const auto& [name, value] : timings->GetObject()) {
      const std::string_view key(name.GetString(), name.GetStringLength());
      if (key.ends_with("_ms") && !kNoStages.contains(key) && value.IsNumber() && value.GetDouble() > 0) {
        outcome_.stages[std::string(key == "wait_ms" ? "line_ms" : key)] = value.GetDouble();
      }
    }
  }

  [[noreturn]] void fail(const std::string& what) const { throw Error(ErrorCode::kUnavailable, url_ + ": " + what); }

  const ServiceOptions::Api api_;
  const std::string url_;
  RequestOutcome& outcome_;
  LoadClock& clock_;
  const double offset_;
  bool done_ = false;
  bool counted_ = false;
};

class Service final : public ServiceUnderLoad {
 public:
  Service(const ServiceOptions& options, const ServiceClientOptions& client)
      : options_(options), client_(base_of(options.url), client), checks_(base_of(options.url), check_options(client)) {
    if (options.questions.empty()) throw Error(ErrorCode::kInvalidArgument, "there are no questions");
    if (options.api == ServiceOptions::Api::kChat && options.model.empty()) {
      throw Error(ErrorCode::kInvalidArgument, "--api chat needs --request-model NAME: which model the service is to answer with");
    }
    target_ = options.api == ServiceOptions::Api::kAnswer ? "/v1/answer" : "/v1/chat/completions";
    for (const std::string& question : options.questions) bodies_.push_back(body(question));
  }

  void check() override {
    // Whether it is there and its model loaded, which needs no key.
    if (options_.api == ServiceOptions::Api::kAnswer) require_ok(client_.base().text("/ready"), get("/ready"));
    // Whether the key is right. Not every service lists its models, and nothing else of it matters.
    const HttpReply models = get("/v1/models");
    if (models.status == 401 || models.status == 403 || models.status >= 500) require_ok(client_.base().text("/v1/models"), models);
  }

  RequestOutcome ask(std::size_t index, LoadClock& clock) override {
    RequestOutcome outcome;
    try {
      const std::string url = client_.base().text(target_);
      AnswerReader reader(options_.api, url, outcome, clock);
      HttpCall call;
      call.method = "POST";
      call.target = target_;
      call.body = bodies_[index % bodies_.size()];
      call.stop = options_.stop;
      bool any = false;
      call.on_event = [&](StreamEvent&& event) {
        any = true;
        reader.event(event);
      };
      const HttpReply reply = client_.call(call);
      require_ok(url, reply);
      if (!any) throw Error(ErrorCode::kUnavailable, url + ": a stream of events was expected, " + reply.content_type + " came");
      reader.finish();
    } catch (const std::exception& error) {
      outcome.ok = false;
      outcome.error = error.what();
    }
    return outcome;
  }

  ServiceUsage usage() override {
    ServiceUsage usage;
    try {
      const HttpReply reply = get("/metrics");
      if (!reply.ok()) return usage;
      usage.cpu_seconds = figure(reply.body, "process_cpu_seconds_total");
      usage.resident_bytes = figure(reply.body, "process_resident_memory_bytes");
    } catch (const Error&) {
      // A service without figures, or one that is gone: the requests say so themselves.
    }
    return usage;
  }

 private:
  static ServiceClientOptions check_options(ServiceClientOptions options) {
    options.silence_limit = kCheckSilence;
    return options;
  }

  // As OpenAI's clients want it, with /v1, or without.
  static HttpUrl base_of(const std::string& text) {
    HttpUrl url = parse_url(text);
    if (url.path.ends_with("/v1")) url.path.resize(url.path.size() - 3);
    return url;
  }

  HttpReply get(const std::string& target) {
    HttpCall call;
    call.target = target;
    call.stop = options_.stop;
    return checks_.call(call);
  }

  std::string body(const std::string& question) const {
    JsonOutput json;
    json.begin_object().field("stream", true).field("max_tokens", options_.max_tokens);
    if (options_.api == ServiceOptions::Api::kChat) {
      json.field("model", options_.model).field("temperature", 0).begin_object("stream_options").field("include_usage", true).end_object();
      json.begin_array("messages").begin_object().field("role", "user").field("content", question).end_object().end_array();
      return json.end_object().text();
    }
    json.field("collection", options_.collection).field("question", question).field("top_k", options_.passages);
    json.field("abstain", options_.abstain);
    for (const auto& [key, value] :
         {std::pair{"mode", &options_.mode}, {"layout", &options_.layout}, {"filters", &options_.filter}, {"reuse", &options_.reuse}}) {
      if (!value->empty()) json.field(key, *value);
    }
    return json.end_object().text();
  }

  // The value of "name VALUE" on a line of its own, in Prometheus' text format.
  static std::optional<double> figure(const std::string& text, const std::string& name) {
    const std::string wanted = "\n" + name + " ";
    const std::size_t at = ("\n" + text).find(wanted);
    if (at == std::string::npos) return std::nullopt;
    const char* begin = text.c_str() + at + wanted.size() - 1;
    char* end = nullptr;
    const double value = std::strtod(begin, &end);
    return end == begin ? std::nullopt : std::optional(value);
  }

  const ServiceOptions options_;
  ServiceClient client_;
  ServiceClient checks_;  // short questions about the service, which must not wait for ten minutes
  std::string target_;
  std::vector<std::string> bodies_;
};

}  // namespace

std::unique_ptr<ServiceUnderLoad> make_service_under_load(const ServiceOptions& options, const ServiceClientOptions& client) {
  return std::make_unique<Service>(options, client);
}

}  // namespace gritstone
