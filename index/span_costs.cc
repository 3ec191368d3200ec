#include "index/span_costs.h"

#include <cmath>
#include <system_error>
#include <utility>

#include "base/checked_file.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"

namespace gritstone {
namespace {

constexpr std::size_t kLeastTokens = 16;
constexpr std::uint64_t kLeastBytes = std::uint64_t{64} << 10;

double seconds_for(double amount, double rate) { return rate > 0 ? amount / rate : 0; }

bool differs(double a, double b) { return std::abs(a - b) > 0.25 * b; }

}  // namespace

SpanCosts::SpanCosts(std::filesystem::path file) : file_(std::move(file)) {
  if (file_.empty()) return;
  try {
    const rapidjson::Document json = parse_json(read_file(file_, 4096), file_.string());
    const auto rate = [&](const char* key) {
      const double value = json.IsObject() ? json_number(json, key).value_or(0) : 0;
      return value > 0 ? value : 0;
    };
    rates_ = {rate("tokens_per_second"), rate("disk_bytes_per_second"), rate("ram_bytes_per_second")};
    saved_ = rates_;
  } catch (const Error&) {
    // Not there, or damaged: measured anew.
  }
}

void SpanCosts::saw_compute(std::size_t tokens, double seconds) {
  if (tokens >= kLeastTokens && seconds > 0) saw(&SpanRates::tokens_per_second, static_cast<double>(tokens) / seconds);
}
void SpanCosts::saw_disk(std::uint64_t bytes, double seconds) {
  if (bytes >= kLeastBytes && seconds > 0) saw(&SpanRates::disk_bytes_per_second, static_cast<double>(bytes) / seconds);
}
void SpanCosts::saw_ram(std::uint64_t bytes, double seconds) {
  if (bytes >= kLeastBytes && seconds > 0) saw(&SpanRates::ram_bytes_per_second, static_cast<double>(bytes) / seconds);
}

void SpanCosts::saw(double SpanRates::*rate, double value) {
  const std::lock_guard lock(mutex_);
  double& known = rates_.*rate;
  known = known > 0 ? 0.75 * known + 0.25 * value : value;
  if (file_.empty() || !differs(known, saved_.*rate)) return;
  saved_ = rates_;
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> json(buffer);
  json.StartObject();
  json.Key("tokens_per_second");
  json.Double(rates_.tokens_per_second);
  json.Key("disk_bytes_per_second");
  json.Double(rates_.disk_bytes_per_second);
  json.Key("ram_bytes_per_second");
  json.Double(rates_.ram_bytes_per_second);
  json.EndObject();
  try {
    std::error_code ignored;  // writing says what is wrong
    std::filesystem::create_directories(file_.parent_path(), ignored);
    write_file_atomically(file_, as_bytes({buffer.GetString(), buffer.GetSize()}));
  } catch (const Error&) {
    // A full or read-only disk costs the memory of it, nothing else.
  }
}

bool SpanCosts::disk_pays(std::size_t tokens, std::uint64_t bytes) const {
  const std::lock_guard lock(mutex_);
  if (rates_.tokens_per_second == 0 || rates_.disk_bytes_per_second == 0) return true;
  const auto size = static_cast<double>(bytes);
  return seconds_for(size, rates_.disk_bytes_per_second) + seconds_for(size, rates_.ram_bytes_per_second) <=
         static_cast<double>(tokens) / rates_.tokens_per_second;
}

bool SpanCosts::ram_pays(std::size_t tokens, std::uint64_t bytes) const {
  const std::lock_guard lock(mutex_);
  if (rates_.tokens_per_second == 0 || rates_.ram_bytes_per_second == 0) return true;
  return seconds_for(static_cast<double>(bytes), rates_.ram_bytes_per_second) <= static_cast<double>(tokens) / rates_.tokens_per_second;
}

SpanRates SpanCosts::rates() const {
  const std::lock_guard lock(mutex_);
  return rates_;
}

}  // namespace gritstone
