#include "pipelines/json_lines.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "base/mapped_file.h"

namespace gritstone {

void for_each_json_line(const std::filesystem::path& path,
                        const std::function<void(const rapidjson::Value& value, const std::string& where)>& visit) {
  const MappedFile file(path);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.size());
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    ++number;
    const std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string where = path.string() + ", line " + std::to_string(number);
    const rapidjson::Document document = parse_json(line, where);
    try {
      visit(document, where);
    } catch (const Error& error) {
      // A member of the wrong type does not know its line.
      if (error.code() != ErrorCode::kInvalidArgument || std::string_view(error.what()).find(where) != std::string_view::npos) throw;
      throw Error(error.code(), where + ": " + error.what());
    }
  }
}

}  // namespace gritstone
