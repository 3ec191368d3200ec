// Hugging Face's parameter names of olmoe, llama and mistral models, as GGUF names.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace gritstone {

struct HfName {
  std::string gguf;                   // "blk.3.ffn_up_exps.weight"
  std::optional<std::size_t> expert;  // this file tensor is one expert of it
  std::string fused_second;           // transformers 5 may store gate and up as one [experts, 2 * ffn, hidden]: the name of the second half
};

// nullopt for names we do not know.
std::optional<HfName> map_hf_name(std::string_view name);

}  // namespace gritstone
