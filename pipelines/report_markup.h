// HTML and SVG that cannot be broken by what it shows: it is made of literals of this program, escaped text and numbers, and nothing else.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace gritstone {

class Markup {
 public:
  // Markup itself: string literals only.
  template <std::size_t N>
  Markup& operator<<(const char (&literal)[N]) {
    text_.append(literal, N - 1);
    return *this;
  }
  Markup& operator<<(const Markup& other) {
    text_ += other.text_;
    return *this;
  }
  // Text or the value of a quoted attribute. The characters that HTML reads become references; invalid UTF-8 and control characters but
  // line feed and tab become U+FFFD.
  Markup& text(std::string_view text);
  Markup& number(double value, int digits);  // "12.50"; 0 where it is not finite
  Markup& count(std::size_t value);

  const std::string& str() const noexcept { return text_; }
  bool empty() const noexcept { return text_.empty(); }

 private:
  std::string text_;
};

}  // namespace gritstone
