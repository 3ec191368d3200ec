#include "pipelines/qa_metrics.h"

#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <map>
#include <optional>

namespace gritstone {
namespace {

using Words = std::vector<std::string>;

// What Python's str.split() cuts at.
bool is_space(UChar32 c) { return u_isUWhiteSpace(c) != 0 || (c >= 0x1c && c <= 0x1f); }

bool is_ascii_punctuation(UChar32 c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

Words words_of(const std::string& normalised) {
  Words words;
  for (std::size_t begin = 0; begin < normalised.size();) {
    const std::size_t end = std::min(normalised.find(' ', begin), normalised.size());
    words.push_back(normalised.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

double f1_of(const Words& answer, const Words& gold) {
  if (answer.empty() || gold.empty()) return answer.empty() && gold.empty() ? 1 : 0;
  std::map<std::string_view, std::size_t> left;
  for (const std::string& word : gold) ++left[word];
  std::size_t common = 0;
  for (const std::string& word : answer) {
    const auto it = left.find(word);
    if (it == left.end() || it->second == 0) continue;
    --it->second;
    ++common;
  }
  if (common == 0) return 0;
  const double precision = static_cast<double>(common) / static_cast<double>(answer.size());
  const double recall = static_cast<double>(common) / static_cast<double>(gold.size());
  return 2 * precision * recall / (precision + recall);
}

std::optional<std::size_t> position_of(const Words& part, const Words& all) {
  if (part.empty()) return std::nullopt;
  const auto it = std::search(all.begin(), all.end(), part.begin(), part.end());
  if (it == all.end()) return std::nullopt;
  return static_cast<std::size_t>(it - all.begin());
}

}  // namespace

std::string normalise_answer(std::string_view text) {
  icu::UnicodeString lower = icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<std::int32_t>(text.size())));
  lower.toLower(icu::Locale::getRoot());
  std::string out;
  icu::UnicodeString word;  // of what stands between spaces: maximal runs of word characters, and what is between them
  bool pending_space = false;
  const auto put = [&](const icu::UnicodeString& piece) {
    if (pending_space && !out.empty()) out += ' ';
    pending_space = false;
    piece.toUTF8String(out);
  };
  const auto end_word = [&] {
    if (word.isEmpty()) return;
    if (word == u"a" || word == u"an" || word == u"the") {
      pending_space = true;  // the article becomes a space
    } else {
      put(word);
    }
    word.remove();
  };
  for (std::int32_t i = 0; i < lower.length(); i = lower.moveIndex32(i, 1)) {
    const UChar32 c = lower.char32At(i);
    if (is_ascii_punctuation(c)) continue;
    if (is_space(c)) {
      end_word();
      pending_space = true;
    } else if (u_isalnum(c) != 0) {
      word.append(c);
    } else {
      end_word();
      put(icu::UnicodeString(c));
    }
  }
  end_word();
  return out;
}

AnswerScore score_answer(std::string_view answer, std::span<const std::string> gold, std::span<const std::string> against) {
  const std::string normalised = normalise_answer(answer);
  const Words words = words_of(normalised);
  AnswerScore best;
  if (gold.empty()) {
    best.exact_match = best.f1 = words.empty() ? 1 : 0;
    return best;
  }
  std::size_t wrong_at = words.size();
  for (const std::string& text : against) {
    wrong_at = std::min(wrong_at, position_of(words_of(normalise_answer(text)), words).value_or(words.size()));
  }
  for (const std::string& text : gold) {
    const std::string normalised_gold = normalise_answer(text);
    const Words gold_words = words_of(normalised_gold);
    best.exact_match = std::max(best.exact_match, normalised == normalised_gold ? 1.0 : 0.0);
    best.f1 = std::max(best.f1, f1_of(words, gold_words));
    const std::optional<std::size_t> at = position_of(gold_words, words);
    best.contained = best.contained || (at && *at <= wrong_at);
  }
  return best;
}

}  // namespace gritstone
