// Any bytes as each of the three files that a Hugging Face directory's reader parses: the first byte chooses. Rejection is the only other
// outcome than success.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/error.h"
#include "model/files/hf_config.h"
#include "model/files/hf_names.h"
#include "model/files/safetensors_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gritstone;
  if (size == 0) return 0;
  const std::span<const std::uint8_t> rest(data + 1, size - 1);
  const std::string text(reinterpret_cast<const char*>(rest.data()), rest.size());
  try {
    if (data[0] == 'c') {
      hf_config(text, "fuzz");
    } else if (data[0] == 'i') {
      for (const auto& [name, file] : parse_safetensors_index(text, "fuzz")) map_hf_name(name);
    } else if (data[0] == 't') {
      hf_chat_template(text);
    } else {
      unsigned sum = 0;
      for (const SafetensorsTensor& tensor : parse_safetensors(rest, "fuzz")) {
        map_hf_name(tensor.name);
        for (std::size_t i = 0; i < tensor.bytes; ++i) sum += rest[tensor.offset + i];  // what was accepted lies inside the file
      }
      volatile unsigned keep = sum;
      static_cast<void>(keep);
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kModelRejected) __builtin_trap();
  }
  return 0;
}
