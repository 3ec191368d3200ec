#include "generator/prompt_format.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "model/tokenizer/role_escape.h"

namespace gritstone {
namespace {

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

std::string lower_ascii(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

[[noreturn]] void wrong_turns(std::size_t index, const char* reason) {
  throw Error(ErrorCode::kInvalidArgument, "message " + std::to_string(index) + ": " + reason);
}

}  // namespace

std::string_view prompt_style_name(PromptStyle style) noexcept {
  switch (style) {
    case PromptStyle::kPlain:
      return "plain";
    case PromptStyle::kTulu:
      return "tulu";
    case PromptStyle::kGrit:
      return "grit";
    case PromptStyle::kChatMl:
      return "chatml";
    case PromptStyle::kInst:
      return "inst";
  }
  return "plain";
}

PromptStyle choose_prompt_style(const ModelConfig& config, const Tokenizer& tokenizer) {
  if (config.grit_tuned) return PromptStyle::kGrit;
  const bool has_chatml_tokens = tokenizer.find("<|im_start|>") >= 0 && tokenizer.find("<|im_end|>") >= 0;
  const std::string& chat = config.chat_template;
  if (contains(chat, "<|im_start|>")) return has_chatml_tokens ? PromptStyle::kChatMl : PromptStyle::kPlain;
  if (contains(chat, "<|assistant|>")) return PromptStyle::kTulu;
  if (contains(chat, "[INST]")) return PromptStyle::kInst;
  if (!chat.empty()) return PromptStyle::kPlain;
  const std::string name = lower_ascii(config.name);
  if (contains(name, "gritlm")) return PromptStyle::kGrit;
  if (!contains(name, "instruct") && !contains(name, "chat")) return PromptStyle::kPlain;
  if (config.architecture == Architecture::kOlmoe) return PromptStyle::kTulu;
  if (has_chatml_tokens) return PromptStyle::kChatMl;
  return contains(name, "mistral") ? PromptStyle::kInst : PromptStyle::kPlain;
}

// Appends pieces, each tokenised on its own.
class PromptFormat::Builder {
 public:
  explicit Builder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  void begin(PieceKind kind, std::size_t passage = 0) {
    end();
    open_ = PromptPiece{kind, passage, prompt_.tokens.size(), 0};
    is_open_ = true;
  }
  // Our own words.
  void scaffold(std::string_view text) { append(tokenizer_.encode(text, SpecialTokens::kPlain)); }
  // Somebody else's words.
  void foreign(std::string_view text) { append(tokenizer_.encode(escape_roles(text), SpecialTokens::kPlain)); }
  void token(TokenId id) {
    if (id >= 0) prompt_.tokens.push_back(id);
  }
  // A control token by its exact text; styles that need one were only chosen where it exists.
  void control(std::string_view name) { token(tokenizer_.find(name)); }

  Prompt finish() {
    end();
    return std::move(prompt_);
  }

 private:
  void append(const std::vector<TokenId>& ids) { prompt_.tokens.insert(prompt_.tokens.end(), ids.begin(), ids.end()); }
  void end() {
    if (!is_open_) return;
    open_.count = prompt_.tokens.size() - open_.first;
    prompt_.pieces.push_back(open_);
    is_open_ = false;
  }

  const Tokenizer& tokenizer_;
  Prompt prompt_;
  PromptPiece open_;
  bool is_open_ = false;
};

PromptFormat::PromptFormat(const Tokenizer& tokenizer, PromptStyle style) : tokenizer_(tokenizer), style_(style) {
  switch (style) {
    case PromptStyle::kTulu:
    case PromptStyle::kGrit:
      // OLMoE has no BOS of its own: its template starts with the end-of-text id (50279).
      bos_ = tokenizer.bos() >= 0 ? tokenizer.bos() : tokenizer.eos();
      stop_strings_ = {"<|user|>", "<|assistant|>", "<|system|>"};
      break;
    case PromptStyle::kInst:
      bos_ = tokenizer.bos();
      stop_strings_ = {"[INST]"};
      break;
    case PromptStyle::kPlain:
      if (tokenizer.adds_bos()) bos_ = tokenizer.bos();
      stop_strings_ = {"\nQuestion:", "\nUser:"};
      break;
    case PromptStyle::kChatMl:
      if (tokenizer.adds_bos() && tokenizer.bos() != tokenizer.find("<|im_start|>")) bos_ = tokenizer.bos();
      break;
  }
}

void PromptFormat::open_user(Builder& b, std::string_view system) const {
  switch (style_) {
    case PromptStyle::kTulu:
    case PromptStyle::kGrit:
      b.scaffold("<|user|>\n");
      break;
    case PromptStyle::kChatMl:
      if (!system.empty()) {
        b.control("<|im_start|>");
        b.scaffold("system\n");
        b.scaffold(system);
        b.control("<|im_end|>");
        b.scaffold("\n");
      }
      b.control("<|im_start|>");
      b.scaffold("user\n");
      return;
    case PromptStyle::kInst:
      b.scaffold("[INST] ");
      break;
    case PromptStyle::kPlain:
      break;
  }
  if (!system.empty()) {
    b.scaffold(system);
    b.scaffold("\n\n");
  }
}

void PromptFormat::close_user(Builder& b) const {
  switch (style_) {
    case PromptStyle::kTulu:
    case PromptStyle::kGrit:
      b.scaffold("\n<|assistant|>\n");
      break;
    case PromptStyle::kChatMl:
      b.control("<|im_end|>");
      b.scaffold("\n");
      b.control("<|im_start|>");
      b.scaffold("assistant\n");
      break;
    case PromptStyle::kInst:
      b.scaffold(" [/INST]");
      break;
    case PromptStyle::kPlain:
      break;
  }
}

Prompt PromptFormat::chat(std::span<const ChatTurn> turns) const {
  using Role = ChatTurn::Role;
  if (turns.empty()) throw Error(ErrorCode::kInvalidArgument, "there are no messages");
  if (turns.back().role != Role::kUser) wrong_turns(turns.size() - 1, "the last message must be the user's");
  Builder b(tokenizer_);
  b.begin(PieceKind::kQuestion);
  b.token(bos_);
  std::string system;
  for (std::size_t i = 0; i < turns.size(); ++i) {
    const ChatTurn& turn = turns[i];
    switch (turn.role) {
      case Role::kSystem:
        if (i != 0) wrong_turns(i, "a system message may only be the first");
        // Whoever sends messages may not forge roles in them either.
        system = escape_roles(turn.content);
        if (style_ == PromptStyle::kTulu && !system.empty()) {
          b.scaffold("<|system|>\n");
          b.scaffold(system);
          b.scaffold("\n");
          system.clear();
        }
        break;
      case Role::kUser:
        if (i > 0 && turns[i - 1].role == Role::kUser) wrong_turns(i, "two user messages in a row");
        if (style_ == PromptStyle::kPlain) {
          open_user(b, system);
          b.scaffold(i > 1 || (i == 1 && turns[0].role != Role::kSystem) ? "\nUser: " : "User: ");
          b.foreign(turn.content);
          b.scaffold("\nAssistant:");
        } else {
          open_user(b, system);
          b.foreign(turn.content);
          close_user(b);
        }
        system.clear();
        break;
      case Role::kAssistant:
        if (i == 0 || turns[i - 1].role != Role::kUser) wrong_turns(i, "an assistant message must follow a user message");
        if (style_ == PromptStyle::kPlain || style_ == PromptStyle::kInst) b.scaffold(" ");
        b.foreign(turn.content);
        if (style_ == PromptStyle::kChatMl) {
          b.control("<|im_end|>");
          b.scaffold("\n");
        } else if (style_ != PromptStyle::kPlain) {
          b.token(tokenizer_.eos());
          if (style_ != PromptStyle::kInst) b.scaffold("\n");
        }
        break;
    }
  }
  return b.finish();
}

Prompt PromptFormat::answer(std::string_view question, std::span<const PromptPassage> passages, PromptLayout layout,
                            std::string_view instruction, std::span<const TokenId> question_prefix) const {
  if (instruction.empty()) instruction = default_instruction();
  const bool docs_first = layout == PromptLayout::kDocsFirst;
  Builder b(tokenizer_);
  if (docs_first || question_prefix.empty()) {
    b.begin(PieceKind::kHead);
    b.token(bos_);
    open_user(b, instruction);
    if (!docs_first) {
      b.begin(PieceKind::kGlue);
      b.scaffold("Question: ");
      b.begin(PieceKind::kQuestion);
      b.foreign(question);
      b.begin(PieceKind::kGlue);
      b.scaffold("\n\n");
    }
  } else {
    b.begin(PieceKind::kHead);
    for (const TokenId id : question_prefix) b.token(id);
    b.begin(PieceKind::kQuestion);
    b.foreign(question);
    // Belongs to the first passage, so that the question alone is the first link of a chain of states.
    b.begin(passages.empty() ? PieceKind::kGlue : PieceKind::kLabel, 0);
    b.scaffold("\n");
    open_user(b, instruction);
  }
  for (std::size_t i = 0; i < passages.size(); ++i) {
    b.begin(PieceKind::kLabel, i);
    b.scaffold("[" + std::to_string(i + 1) + "]");
    if (!passages[i].label.empty()) b.foreign(" " + passages[i].label);
    b.scaffold("\n");
    b.begin(PieceKind::kPassage, i);
    b.foreign(passages[i].text);
    b.begin(PieceKind::kLabel, i);
    b.scaffold("\n\n");
  }
  b.begin(PieceKind::kGlue);
  if (docs_first) {
    b.scaffold("Question: ");
    b.begin(PieceKind::kQuestion);
    b.foreign(question);
    b.begin(PieceKind::kGlue);
  } else {
    b.scaffold("Answer the question above.");
  }
  if (style_ == PromptStyle::kPlain) b.scaffold("\nAnswer:");
  close_user(b);
  return b.finish();
}

std::size_t PromptFormat::answer_base_tokens(std::string_view question, PromptLayout layout, std::string_view instruction,
                                             std::span<const TokenId> question_prefix) const {
  return answer(question, {}, layout, instruction, question_prefix).tokens.size();
}

std::size_t PromptFormat::passage_tokens(const PromptPassage& passage, std::size_t number) const {
  Builder b(tokenizer_);
  b.scaffold("[" + std::to_string(number) + "]");
  if (!passage.label.empty()) b.foreign(" " + passage.label);
  b.scaffold("\n");
  b.foreign(passage.text);
  b.scaffold("\n\n");
  return b.finish().tokens.size();
}

std::string_view PromptFormat::default_instruction() noexcept {
  return "Answer the question in one or two sentences, using only the numbered passages. After each sentence give the number of its "
         "passage in "
         "brackets, like [1]. If the passages do not hold the answer, reply: The documents do not say.";
}

std::string_view PromptFormat::refusal() noexcept { return "The documents do not say."; }

}  // namespace gritstone
