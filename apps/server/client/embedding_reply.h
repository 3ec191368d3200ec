// What /v1/embeddings answers.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace gritstone {

// Checks that there are `texts` rows, each named once by its index, all of `columns` finite numbers (0: as the first has), and fills `rows`
// [texts, columns] in the order of the texts. Numbers as a list, or as base64 of little-endian f32. Returns usage.prompt_tokens; 0: absent.
// Throws Error: kUnavailable saying what was expected and what came; kInvalidArgument if the rows have another dimension than `columns`.
std::size_t read_embedding_reply(std::string_view body, std::size_t texts, std::size_t& columns, std::vector<float>& rows);

}  // namespace gritstone
