#include "apps/server/chat_messages.h"

#include "apps/server/api_error.h"

namespace gritstone {
namespace {

constexpr std::size_t kMaxMessages = 2048;
using Role = ChatTurn::Role;

std::string read_content(const RequestFields& message) {
  const rapidjson::Value* content = message.find("content");
  if (content == nullptr) message.fail("content", "is missing", "missing_required_parameter");
  if (content->IsString()) return {content->GetString(), content->GetStringLength()};
  if (!content->IsArray()) message.fail("content", "must be a string or a list of text parts", "invalid_type");
  std::string text;
  for (rapidjson::SizeType i = 0; i < content->Size(); ++i) {
    const RequestFields part((*content)[i], message.name("content[" + std::to_string(i) + "]."));
    if (part.required_string("type") != "text") part.fail("type", "only text is supported", "unsupported_parameter");
    const std::optional<std::string> piece = part.string("text", std::size_t{4} << 20);
    if (!piece) part.fail("text", "is missing", "missing_required_parameter");
    text += *piece;
  }
  return text;
}

Role read_role(const RequestFields& message) {
  const std::string role = message.required_string("role", 64);
  if (role == "system" || role == "developer") return Role::kSystem;
  if (role == "user") return Role::kUser;
  if (role == "assistant") return Role::kAssistant;
  message.fail("role", "must be one of: system, developer, user, assistant");
}

}  // namespace

std::vector<ChatTurn> read_messages(const RequestFields& fields) {
  const rapidjson::Value* messages = fields.array("messages", kMaxMessages);
  if (messages == nullptr) fields.fail("messages", "is missing", "missing_required_parameter");
  std::vector<ChatTurn> turns;
  for (rapidjson::SizeType i = 0; i < messages->Size(); ++i) {
    const RequestFields message((*messages)[i], "messages[" + std::to_string(i) + "].");
    const Role role = read_role(message);
    std::string content = read_content(message);
    if (!turns.empty() && turns.back().role == role) {
      turns.back().content += "\n\n" + content;
    } else if (role == Role::kSystem && !turns.empty()) {
      message.fail("role", "system messages come first");
    } else if (role == Role::kAssistant && (turns.empty() || turns.back().role != Role::kUser)) {
      message.fail("role", "an assistant message must follow a user message");
    } else {
      turns.push_back({role, std::move(content)});
    }
  }
  if (turns.empty()) fields.fail("messages", "is empty");
  if (turns.back().role != Role::kUser) fields.fail("messages", "the last message must be the user's");
  return turns;
}

}  // namespace gritstone
