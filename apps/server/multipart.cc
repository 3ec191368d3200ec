#include "apps/server/multipart.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"

namespace gritstone {
namespace {

[[noreturn]] void refuse(const std::string& why) { throw Error(ErrorCode::kInvalidArgument, "multipart body: " + why); }

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

bool is_token(char c) {
  const bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return alphanumeric || (c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos);
}

// "form-data; name=\"file\"; filename=\"a.md\"" piece by piece.
class Parameters {
 public:
  explicit Parameters(std::string_view text) : text_(text) {}

  // The value before the first semicolon.
  std::string_view value() {
    const std::size_t end = std::min(text_.find(';'), text_.size());
    std::string_view first = text_.substr(0, end);
    text_.remove_prefix(end);
    while (!first.empty() && (first.back() == ' ' || first.back() == '\t')) first.remove_suffix(1);
    return first;
  }

  // The next "; name=value"; false at the end. `quotes_escape`: a backslash takes the character after it (RFC 2045); browsers do not
  // escape backslashes in file names, so there it stands for itself unless a quote or a backslash follows.
  bool next(std::string& name, std::string& value) {
    skip_blanks();
    if (text_.empty()) return false;
    if (text_.front() != ';') refuse("a parameter must follow a semicolon");
    text_.remove_prefix(1);
    skip_blanks();
    if (text_.empty()) return false;  // a semicolon at the end
    std::size_t end = 0;
    while (end < text_.size() && is_token(text_[end])) ++end;
    if (end == 0 || end == text_.size() || text_[end] != '=') refuse("a parameter has no value");
    name.assign(text_.substr(0, end));
    std::transform(name.begin(), name.end(), name.begin(), lower);
    text_.remove_prefix(end + 1);
    value.clear();
    if (text_.empty() || text_.front() != '"') {
      std::size_t length = 0;
      while (length < text_.size() && is_token(text_[length])) ++length;
      if (length == 0) refuse("a parameter has no value");
      value.assign(text_.substr(0, length));
      text_.remove_prefix(length);
      return true;
    }
    std::size_t i = 1;
    for (;; ++i) {
      if (i >= text_.size()) refuse("a quote is not closed");
      if (text_[i] == '"') break;
      if (text_[i] == '\\' && i + 1 < text_.size() && (text_[i + 1] == '"' || text_[i + 1] == '\\')) ++i;
      value += text_[i];
    }
    text_.remove_prefix(i + 1);
    return true;
  }

 private:
  void skip_blanks() {
    while (!text_.empty() && (text_.front() == ' ' || text_.front() == '\t')) text_.remove_prefix(1);
  }

  std::string_view text_;
};

std::string boundary_of(std::string_view content_type) {
  Parameters parameters(content_type);
  if (!equal_ignoring_case(parameters.value(), "multipart/form-data")) refuse("Content-Type is not multipart/form-data");
  std::optional<std::string> boundary;
  std::string name, value;
  while (parameters.next(name, value)) {
    if (name != "boundary") continue;
    if (boundary) refuse("Content-Type names two boundaries");
    boundary = value;
  }
  if (!boundary) refuse("Content-Type names no boundary");
  const auto allowed = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && std::string_view("'()+_,-./:=? ").find(c) != std::string_view::npos);
  };
  if (boundary->empty() || boundary->size() > 70 || boundary->back() == ' ' || !std::all_of(boundary->begin(), boundary->end(), allowed)) {
    refuse("the boundary must be 1 to 70 characters of RFC 2046");
  }
  return *boundary;
}

// Browsers write a quote in a name as %22 (and line ends as %0D%0A, which no name keeps).
std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i).starts_with("%22")) {
      out += '"';
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// filename*=UTF-8''na%C3%AFve.md (RFC 5987), which older clients write for names that are not ASCII.
std::string extended_value(std::string_view text) {
  const std::size_t language = text.find('\'');
  const std::size_t begin = language == std::string_view::npos ? language : text.find('\'', language + 1);
  if (begin == std::string_view::npos || !equal_ignoring_case(text.substr(0, language), "utf-8")) refuse("filename* is not in UTF-8");
  std::string out;
  for (std::size_t i = begin + 1; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
    if (high < 0 || low < 0 || high + low == 0) refuse("filename* is malformed");
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

void read_disposition(std::string_view value, MultipartPart& part) {
  Parameters parameters(value);
  if (!equal_ignoring_case(parameters.value(), "form-data")) refuse("Content-Disposition is not form-data");
  bool named = false;
  std::optional<std::string> extended;
  std::string name, text;
  while (parameters.next(name, text)) {
    if (name == "name") {
      if (std::exchange(named, true)) refuse("a part has two names");
      part.name = unescaped(text);
    } else if (name == "filename") {
      if (part.filename) refuse("a part has two file names");
      part.filename = unescaped(text);
    } else if (name == "filename*") {
      if (extended) refuse("a part has two file names");
      extended = extended_value(text);
    }
  }
  if (extended) part.filename = std::move(extended);  // the better of both, as RFC 6266 says
  if (!named) refuse("a part has no name");
  if (!is_valid_utf8(part.name)) refuse("the name of a part is not valid UTF-8");
}

// Header lines of a part, each ended by CRLF, without the empty line.
void read_head(std::string_view head, const MultipartLimits& limits, MultipartPart& part) {
  bool disposed = false, typed = false;
  for (std::size_t lines = 0; !head.empty(); ++lines) {
    if (lines >= limits.heads) refuse("a part has more than " + std::to_string(limits.heads) + " header lines");
    const std::size_t end = head.find("\r\n");
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(end == std::string_view::npos ? head.size() : end + 2);
    std::size_t colon = 0;
    while (colon < line.size() && is_token(line[colon])) ++colon;
    if (colon == 0 || colon == line.size() || line[colon] != ':') refuse("a header line of a part is malformed");
    const std::string_view name = line.substr(0, colon);
    std::string_view value = line.substr(colon + 1);
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
    if (value.find_first_of("\r\n") != std::string_view::npos) refuse("a lone line end in a header of a part");
    if (equal_ignoring_case(name, "Content-Disposition")) {
      if (std::exchange(disposed, true)) refuse("a part has two Content-Disposition lines");
      read_disposition(value, part);
    } else if (equal_ignoring_case(name, "Content-Type")) {
      if (std::exchange(typed, true)) refuse("a part has two Content-Type lines");
      part.content_type = value;
    } else if (equal_ignoring_case(name, "Content-Transfer-Encoding") && !equal_ignoring_case(value, "binary") &&
               !equal_ignoring_case(value, "8bit") && !equal_ignoring_case(value, "7bit")) {
      // Deprecated by RFC 7578; taking encoded bytes for the file would store something else than was meant.
      refuse("Content-Transfer-Encoding is not supported");
    }
  }
  if (!disposed) refuse("a part has no Content-Disposition");
}

}  // namespace

std::vector<MultipartPart> parse_multipart(std::string_view body, std::string_view content_type, const MultipartLimits& limits) {
  const std::string delimiter = "\r\n--" + boundary_of(content_type);
  // The first boundary may stand at the very start, without its line end.
  if (body.starts_with("\r\n")) body.remove_prefix(2);
  const std::string_view first = std::string_view(delimiter).substr(2);
  if (!body.starts_with(first)) refuse("it does not begin with the boundary");
  body.remove_prefix(first.size());
  std::vector<MultipartPart> parts;
  while (true) {
    if (body.starts_with("--")) {
      body.remove_prefix(2);
      if (!body.empty() && body != "\r\n") refuse("text after the last boundary");
      return parts;
    }
    if (!body.starts_with("\r\n")) refuse("a boundary is followed by neither a line end nor --");
    body.remove_prefix(2);
    if (parts.size() >= limits.parts) refuse("more than " + std::to_string(limits.parts) + " parts");
    const std::string_view window = body.substr(0, limits.head_bytes + 4);
    const std::size_t head = window.find("\r\n\r\n");
    if (head == std::string_view::npos) {
      refuse(window.size() < body.size() ? "the header of a part is longer than " + std::to_string(limits.head_bytes) + " bytes"
                                         : "it ends within the header of a part");
    }
    MultipartPart part;
    read_head(body.substr(0, head), limits, part);
    body.remove_prefix(head + 4);
    // The delimiter's line end may be the one that ended the header: an empty part.
    const std::size_t end = body.find(delimiter);
    const bool empty = body.starts_with(first);
    if (!empty && end == std::string_view::npos) refuse("the last boundary is missing");
    part.data = empty ? std::string_view() : body.substr(0, end);
    body.remove_prefix(empty ? first.size() : end + delimiter.size());
    parts.push_back(std::move(part));
  }
}

}  // namespace gritstone
