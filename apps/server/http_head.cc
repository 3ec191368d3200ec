#include "apps/server/http_head.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <cctype>
#include <charconv>
#include <set>

#include "apps/server/router.h"

namespace gritstone {
namespace {

namespace http = boost::beast::http;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

HeadResult refuse(int status, std::string message) { return {std::nullopt, {status, std::move(message)}}; }

bool has_token(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    if (lower(trim(list.substr(0, comma))) == token) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

// Fields that mean something only once; two of them are how requests are smuggled past a proxy.
const std::set<std::string_view> kOnce = {"host", "content-length", "content-type", "authorization", "origin", "expect"};

HeadResult beast_error(const boost::system::error_code& ec) {
  if (ec == http::error::bad_version) return refuse(505, "only HTTP/1.0 and HTTP/1.1 are understood");
  if (ec == http::error::header_limit) return refuse(431, "the request's head is too large");
  return refuse(400, "malformed request head: " + ec.message());
}

}  // namespace

std::string RequestHead::field(std::string_view lower_case_name) const {
  for (const auto& [name, value] : fields) {
    if (name == lower_case_name) return value;
  }
  return {};
}

std::optional<std::size_t> find_head_end(std::string_view input, std::size_t max_bytes, std::optional<HeadError>& error) {
  const std::size_t end = input.find("\r\n\r\n");
  const std::string_view head = end == std::string_view::npos ? input : input.substr(0, end + 4);
  // A method is a few capital letters; anything else (a TLS handshake, say) need not wait for the time limit.
  const std::string_view start = head.substr(0, std::min<std::size_t>(head.find(' '), 16));
  if (!std::all_of(start.begin(), start.end(), [](char c) { return (c >= 'A' && c <= 'Z') || c == '-'; }) || start.size() > 15) {
    error = HeadError{400, "this is not an HTTP request"};
    return std::nullopt;
  }
  for (std::size_t i = head.find('\n'); i != std::string_view::npos; i = head.find('\n', i + 1)) {
    if (i > 0 && head[i - 1] == '\r') continue;
    error = HeadError{400, "lines end with CR LF"};
    return std::nullopt;
  }
  if (head.size() > max_bytes) {
    error = HeadError{431, "the request's head is larger than " + std::to_string(max_bytes) + " bytes"};
    return std::nullopt;
  }
  if (end == std::string_view::npos) return std::nullopt;
  return end + 4;
}

HeadResult parse_head(std::string_view bytes, std::size_t max_fields) {
  http::request_parser<http::empty_body> parser;
  parser.header_limit(static_cast<std::uint32_t>(bytes.size() + 1));
  parser.skip(true);
  // Before Beast, whose own checks of these two are for what it supports, not for what we do.
  if (bytes.find("\r\n ") != std::string_view::npos || bytes.find("\r\n\t") != std::string_view::npos) {
    return refuse(400, "folded header lines are not supported");
  }
  boost::system::error_code ec;
  const std::size_t used = parser.put(boost::asio::buffer(bytes.data(), bytes.size()), ec);
  if (!parser.is_header_done() || used != bytes.size()) {
    const std::string text = lower(bytes);
    if (text.find("\r\ntransfer-encoding") != std::string::npos) return refuse(411, "send Content-Length instead of Transfer-Encoding");
    return ec ? beast_error(ec) : refuse(400, "malformed request head");
  }
  const auto& message = parser.get();
  RequestHead head;
  head.method = std::string(message.method_string());
  head.target = std::string(message.target());
  head.version = static_cast<int>(message.version());
  std::size_t count = 0;
  for (const auto& field : message) {
    if (++count > max_fields) return refuse(431, "more than " + std::to_string(max_fields) + " header fields");
    std::string name = lower(field.name_string());
    if (kOnce.contains(name) && !head.field(name).empty()) return refuse(name == "host" ? 421 : 400, "repeated header field " + name);
    head.fields.emplace_back(std::move(name), std::string(field.value()));
  }
  for (const auto& [name, value] : head.fields) {
    if (std::any_of(value.begin(), value.end(), [](char c) { return (static_cast<unsigned char>(c) < 32 && c != '\t') || c == 127; })) {
      return refuse(400, "control character in header field " + name);
    }
    if (name == "transfer-encoding") return refuse(411, "send Content-Length instead of Transfer-Encoding");
    if (name == "content-length") {
      std::uint64_t length = 0;
      const auto [last, error] = std::from_chars(value.data(), value.data() + value.size(), length);
      if (value.empty() || value.size() > 18 || error != std::errc() || last != value.data() + value.size()) {
        return refuse(400, "Content-Length is not a number of bytes");
      }
      head.content_length = length;
    }
    if (name == "expect") {
      if (lower(trim(value)) != "100-continue") return refuse(417, "only Expect: 100-continue is understood");
      head.expects_continue = true;
    }
  }
  const auto once = [&](std::string_view name) {
    return std::count_if(head.fields.begin(), head.fields.end(), [&](const auto& f) { return f.first == name; }) <= 1;
  };
  for (const std::string_view name : kOnce) {
    if (!once(name)) return refuse(name == "host" ? 421 : 400, "repeated header field " + std::string(name));
  }
  if (std::any_of(head.target.begin(), head.target.end(), [](char c) { return c <= ' ' || c >= 127 || c == '#' || c == '\\'; })) {
    return refuse(400, "the request target has characters that must be percent-encoded");
  }
  const bool options_all = head.method == "OPTIONS" && head.target == "*";
  if (!options_all && head.target.front() != '/') {
    // An absolute target names a host of its own, which could differ from the one that was checked.
    const bool absolute = head.target.find("://") != std::string::npos;
    return refuse(absolute ? 421 : 400, "the request target must be a path");
  }
  const std::size_t mark = std::min(head.target.find('?'), head.target.size());
  head.path = head.target.substr(0, mark);
  head.query = mark < head.target.size() ? head.target.substr(mark + 1) : std::string();
  head.keep_alive = head.version == 11;
  for (const auto& [name, value] : head.fields) {
    if (name == "connection" && has_token(value, "close")) head.keep_alive = false;
  }
  return {std::move(head), {}};
}

std::optional<std::vector<std::pair<std::string, std::string>>> parse_query(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> pairs;
  while (!query.empty()) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view part = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (part.empty()) continue;
    const std::size_t equals = std::min(part.find('='), part.size());
    std::optional<std::string> name = percent_decode(part.substr(0, equals), true);
    std::optional<std::string> value = percent_decode(part.substr(std::min(equals + 1, part.size())), true);
    if (!name || !value) return std::nullopt;
    pairs.emplace_back(std::move(*name), std::move(*value));
  }
  return pairs;
}

}  // namespace gritstone
