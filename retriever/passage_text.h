// The text of a chunk as the model reads it, the same for embedding and answering, so that one KV span can serve both.
#pragma once

#include <string>
#include <string_view>

namespace gritstone {

// "{heading path}\n{text}", or the text alone where there is no heading path. The heading tells what a passage from the middle of a
// document is about.
inline std::string passage_text(std::string_view heading_path, std::string_view text) {
  if (heading_path.empty()) return std::string(text);
  std::string result(heading_path);
  result += '\n';
  result += text;
  return result;
}

}  // namespace gritstone
