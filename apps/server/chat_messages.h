// The messages of a chat request as turns of a prompt.
#pragma once

#include <string>
#include <vector>

#include "apps/server/request_json.h"
#include "generator/prompt_format.h"

namespace gritstone {

// Content is a string or a list of {"type":"text"} parts. "developer" is "system"; system messages at the start become one, and so do
// neighbours of the same role, because chat formats know one system turn and alternating roles. The last turn is the user's.
// Throws ApiError (400) naming the message.
std::vector<ChatTurn> read_messages(const RequestFields& fields);

}  // namespace gritstone
