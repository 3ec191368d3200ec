#include "pipelines/report_markup.h"

#include <cmath>

#include "base/utf8.h"
#include "pipelines/report_text.h"

namespace gritstone {

Markup& Markup::text(std::string_view text) {
  for (const char c : sanitize_utf8(text)) {
    const auto byte = static_cast<unsigned char>(c);
    switch (c) {
      case '&':
        text_ += "&amp;";
        break;
      case '<':
        text_ += "&lt;";
        break;
      case '>':
        text_ += "&gt;";
        break;
      case '"':
        text_ += "&quot;";
        break;
      case '\'':
        text_ += "&#39;";
        break;
      default:
        if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7F) {
          text_ += "\xEF\xBF\xBD";
        } else {
          text_ += c;
        }
    }
  }
  return *this;
}

Markup& Markup::number(double value, int digits) {
  text_ += std::isfinite(value) ? fixed(value, digits) : "0";
  return *this;
}

Markup& Markup::count(std::size_t value) {
  text_ += std::to_string(value);
  return *this;
}

}  // namespace gritstone
