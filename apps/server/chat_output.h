// Chat completions in OpenAI's shape, whole and in chunks.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "apps/json_output.h"
#include "apps/server/reply.h"
#include "generator/generate.h"

namespace gritstone {

// What all chunks of one completion share.
struct CompletionHead {
  std::string id;
  std::int64_t created = 0;
  std::string model;
  std::string fingerprint;
};

// Writes members into an object that is open; null: nothing.
using WriteMembers = std::function<void(JsonOutput&)>;

// message: members of "message" beside role and content (annotations); extra: members of the whole (timings).
std::string chat_completion_json(const CompletionHead& head, std::string_view content, FinishReason reason, const Usage& usage,
                                 const WriteMembers& message, const WriteMembers& extra);

// The chunks of one streamed completion: begin(), text() any number of times, end(). Throws what ReplyWriter::event() throws.
class ChatStream {
 public:
  // include_usage: as stream_options.include_usage asks.
  ChatStream(ReplyWriter& reply, CompletionHead head, bool include_usage)
      : reply_(reply), head_(std::move(head)), include_usage_(include_usage) {}

  void begin();
  void text(std::string_view piece);
  // delta: members of the last chunk's delta; extra: members of that chunk.
  void end(FinishReason reason, const Usage& usage, const WriteMembers& delta, const WriteMembers& extra);

 private:
  void open(JsonOutput& json) const;
  void usage_member(JsonOutput& json) const;

  ReplyWriter& reply_;
  const CompletionHead head_;
  const bool include_usage_;
};

}  // namespace gritstone
