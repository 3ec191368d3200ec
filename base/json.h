// RapidJSON behind guards: what is parsed here may come from a stranger.
#pragma once

#include <cstddef>
#include <iterator>
#include <optional>
#include <streambuf>
#include <string>
#include <string_view>

// Must precede every RapidJSON include of the project: strings are std::string too.
#define RAPIDJSON_HAS_STDSTRING 1
// RapidJSON 1.1.0 adds offsets to the null pointer of an empty stack (internal/stack.h, Reserve), which clang's UBSan stops at. The
// standard headers that it uses come before, so that the attribute touches RapidJSON alone.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((no_sanitize("pointer-overflow"))), apply_to = function)
#endif
#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>
#if defined(__clang__)
#pragma clang attribute pop
#endif

namespace gritstone {

// Parses one JSON text. Refuses: nesting deeper than max_depth, duplicate keys in an object, invalid UTF-8, numbers that a double cannot hold
// (1e400, 1e-400), anything after the value. `what` names the source in errors ("config.json").
// Throws Error(kInvalidArgument) with the byte offset.
rapidjson::Document parse_json(std::string_view text, std::string_view what, std::size_t max_depth = 32, bool check_duplicate_keys = true);

// Members of an object, absent or null = nullopt. Throws Error(kInvalidArgument) naming the key if the type is wrong or out of range.
std::optional<std::string> json_string(const rapidjson::Value& object, const char* key);
std::optional<double> json_number(const rapidjson::Value& object, const char* key);
std::optional<std::int64_t> json_integer(const rapidjson::Value& object, const char* key);
std::optional<bool> json_bool(const rapidjson::Value& object, const char* key);

std::string json_text(const rapidjson::Value& value);

}  // namespace gritstone
