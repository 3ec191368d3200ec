// Any bytes as a form: the first line is the Content-Type, the rest the body. Whatever is accepted lies inside the body, piece after piece.
#include <cstddef>
#include <cstdint>
#include <string>

#include "apps/server/multipart.h"
#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gritstone;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const std::size_t line = text.find('\n');
  if (line == std::string::npos) return 0;
  const std::string type = text.substr(0, line);
  const std::string body = text.substr(line + 1);
  try {
    const char* last = body.data();
    const MultipartLimits limits;
    const auto parts = parse_multipart(body, type, limits);
    if (parts.size() > limits.parts) __builtin_trap();
    for (const MultipartPart& part : parts) {
      if (part.data.empty()) continue;
      if (part.data.data() < last || part.data.data() + part.data.size() > body.data() + body.size()) __builtin_trap();
      last = part.data.data() + part.data.size();
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kInvalidArgument) __builtin_trap();
  }
  return 0;
}
