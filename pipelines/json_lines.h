// JSON, one value a line: the format of most question sets and corpora.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "base/json.h"

namespace gritstone {

// Visits the values in file order; blank lines are skipped. `where` names file and line, for errors. Throws Error: kNotFound;
// kInvalidArgument naming the line that is not JSON; what `visit` throws.
void for_each_json_line(const std::filesystem::path& path,
                        const std::function<void(const rapidjson::Value& value, const std::string& where)>& visit);

}  // namespace gritstone
