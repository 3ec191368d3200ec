#include "index/html_tokenizer.h"

#include <algorithm>

namespace gritstone {
namespace {

constexpr std::size_t kMaxNameBytes = 32;

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
bool is_name(char c) { return is_letter(c) || (c >= '0' && c <= '9') || c == '-' || c == ':' || c == '_'; }

}  // namespace

std::size_t HtmlTokenizer::tag_end(std::size_t from, bool& self_closing) const noexcept {
  self_closing = false;
  bool after_equals = false;  // a quote opens a value only there; elsewhere it is a stray character
  for (std::size_t i = from; i < text_.size(); ++i) {
    const char c = text_[i];
    if (c == '>') {
      self_closing = i > from && text_[i - 1] == '/';
      return i + 1;
    }
    if ((c == '"' || c == '\'') && after_equals) {
      const std::size_t close = text_.find(c, i + 1);
      if (close == std::string_view::npos) return text_.size();
      i = close;
      after_equals = false;
    } else if (c == '=') {
      after_equals = true;
    } else if (static_cast<unsigned char>(c) > ' ') {
      after_equals = false;
    }
  }
  return text_.size();
}

HtmlToken HtmlTokenizer::markup() {
  HtmlToken token;
  token.start = at_;
  const std::string_view rest = text_.substr(at_);
  if (rest.starts_with("<!--")) {
    // "<!-->" and "<!--->" are whole comments to a browser, hence the search from inside the opening.
    const std::size_t close = text_.find("-->", at_ + 2);
    token.kind = HtmlToken::Kind::kSkipped;
    token.end = close == std::string_view::npos ? text_.size() : close + 3;
  } else if (rest.size() > 1 && (rest[1] == '!' || rest[1] == '?')) {
    const std::size_t close = text_.find('>', at_);
    token.kind = HtmlToken::Kind::kSkipped;
    token.end = close == std::string_view::npos ? text_.size() : close + 1;
  } else {
    const bool closing = rest.size() > 1 && rest[1] == '/';
    const std::size_t name = at_ + (closing ? 2 : 1);
    if (name >= text_.size() || !is_letter(text_[name])) {
      token.kind = HtmlToken::Kind::kText;  // a lone "<"
      token.end = at_ + 1;
    } else {
      std::size_t i = name;
      for (; i < text_.size() && is_name(text_[i]); ++i) {
        if (i - name < kMaxNameBytes) token.name += lower(text_[i]);
      }
      token.kind = closing ? HtmlToken::Kind::kEndTag : HtmlToken::Kind::kStartTag;
      token.end = tag_end(i, token.self_closing);
    }
  }
  at_ = token.end;
  return token;
}

HtmlToken HtmlTokenizer::next() {
  if (at_ >= text_.size()) return {HtmlToken::Kind::kEnd, text_.size(), text_.size(), {}, false};
  if (text_[at_] == '<') return markup();
  HtmlToken token;
  token.kind = HtmlToken::Kind::kText;
  token.start = at_;
  token.end = std::min(text_.find('<', at_), text_.size());
  at_ = token.end;
  return token;
}

std::size_t HtmlTokenizer::skip_raw_text(std::string_view name) {
  for (std::size_t i = at_; i < text_.size(); ++i) {
    i = text_.find("</", i);
    if (i == std::string_view::npos) break;
    const std::string_view candidate = text_.substr(i + 2, name.size());
    const std::size_t after = i + 2 + name.size();
    const bool same = candidate.size() == name.size() &&
                      std::equal(candidate.begin(), candidate.end(), name.begin(), [](char a, char b) { return lower(a) == b; });
    if (!same || (after < text_.size() && is_name(text_[after]))) continue;
    bool self_closing = false;
    at_ = tag_end(after, self_closing);
    return i;
  }
  at_ = text_.size();
  return text_.size();
}

}  // namespace gritstone
