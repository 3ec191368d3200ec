#include "index/text_analysis.h"

#include <libstemmer.h>
#include <unicode/brkiter.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/uscript.h>
#include <unicode/utext.h>

#include <algorithm>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "index/stop_words.h"

namespace gritstone {
namespace {

// Text is analysed in windows so that a 50 MB line needs no 100 MB of UTF-16; a window ends at a blank where one is near.
constexpr std::size_t kWindowBytes = 1 << 16;
// Longer "words" are data (base64, DNA): only their beginning is indexed. FTS5 itself cuts at 32768.
constexpr std::size_t kMaxTermBytes = 128;
// Stems of this many distinct words are remembered: the vocabulary of a few thousand chunks, about 4 MB.
constexpr std::size_t kMaxCachedStems = 1 << 15;

struct StemmerDeleter {
  void operator()(sb_stemmer* stemmer) const noexcept { sb_stemmer_delete(stemmer); }
};

void require_icu(UErrorCode status, const char* what) {
  if (U_FAILURE(status)) throw Error(ErrorCode::kDevice, std::string("ICU cannot open its ") + what + ": " + u_errorName(status));
}

bool is_mark(UChar32 c) { return (U_GET_GC_MASK(c) & U_GC_MN_MASK) != 0; }

std::size_t window_end(std::string_view text, std::size_t start) {
  std::size_t end = std::min(text.size(), start + kWindowBytes);
  if (end == text.size()) return end;
  for (std::size_t i = end; i > start + kWindowBytes / 2; --i) {
    if (static_cast<unsigned char>(text[i - 1]) <= ' ') return i;
  }
  while (end > start + 1 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return end;
}

}  // namespace

struct Analyzer::State {
  std::string language;
  std::unique_ptr<icu::BreakIterator> words;
  const icu::Normalizer2* casefold = nullptr;  // singletons of ICU
  const icu::Normalizer2* decompose = nullptr;
  const icu::Normalizer2* compose = nullptr;
  std::unique_ptr<sb_stemmer, StemmerDeleter> stemmer;
  std::unordered_map<std::string, std::string> stems;
  UText* text = nullptr;

  ~State() {
    if (text != nullptr) utext_close(text);
  }

  // Case-folded, compatibility-composed, without diacritics on Latin, Greek and Cyrillic letters. Marks of other scripts (Thai vowels,
  // Devanagari matras) are letters to a reader and stay.
  std::string fold(std::string_view word) const {
    if (std::all_of(word.begin(), word.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; })) {
      std::string lower(word);
      for (char& c : lower) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
      }
      return lower;
    }
    UErrorCode status = U_ZERO_ERROR;
    const icu::UnicodeString source = icu::UnicodeString::fromUTF8(icu::StringPiece(word.data(), static_cast<int32_t>(word.size())));
    const icu::UnicodeString folded = casefold->normalize(source, status);
    const icu::UnicodeString apart = decompose->normalize(folded, status);
    require_icu(status, "normaliser");
    icu::UnicodeString kept;
    bool strip = false;
    for (int32_t i = 0; i < apart.length(); i = apart.moveIndex32(i, 1)) {
      const UChar32 c = apart.char32At(i);
      if (is_mark(c)) {
        if (!strip) kept.append(c);
        continue;
      }
      const int32_t script = u_getIntPropertyValue(c, UCHAR_SCRIPT);
      strip = script == USCRIPT_LATIN || script == USCRIPT_GREEK || script == USCRIPT_CYRILLIC;
      kept.append(c == 0x2019 ? static_cast<UChar32>('\'') : c);
    }
    std::string out;
    compose->normalize(kept, status).toUTF8String(out);  // Hangul back to syllables
    require_icu(status, "normaliser");
    return out;
  }

  const std::string& stem(const std::string& word) {
    if (stemmer == nullptr) return word;
    const auto found = stems.find(word);
    if (found != stems.end()) return found->second;
    const sb_symbol* stemmed =
        sb_stemmer_stem(stemmer.get(), reinterpret_cast<const sb_symbol*>(word.data()), static_cast<int>(word.size()));
    if (stemmed == nullptr) throw Error(ErrorCode::kMemoryBudget, "out of memory while stemming");
    if (stems.size() >= kMaxCachedStems) stems.clear();
    std::string text_of(reinterpret_cast<const char*>(stemmed), static_cast<std::size_t>(sb_stemmer_length(stemmer.get())));
    return stems.emplace(word, std::move(text_of)).first->second;
  }

  // Calls visit(word, start, end) for every word of a window; underscores separate.
  template <typename Visit>
  bool words_in(std::string_view window, std::size_t base, const Visit& visit) {
    UErrorCode status = U_ZERO_ERROR;
    text = utext_openUTF8(text, window.data(), static_cast<int64_t>(window.size()), &status);
    words->setText(text, status);
    require_icu(status, "word boundaries");
    int32_t start = words->first();
    for (int32_t end = words->next(); end != icu::BreakIterator::DONE; start = end, end = words->next()) {
      if (words->getRuleStatus() < UBRK_WORD_NONE_LIMIT) continue;
      std::size_t from = static_cast<std::size_t>(start);
      const std::size_t limit = static_cast<std::size_t>(end);
      while (from < limit) {
        const std::size_t bar = std::min(limit, window.substr(0, limit).find('_', from));
        if (bar > from && !visit(window.substr(from, bar - from), base + from, base + bar)) return false;
        from = bar + 1;
      }
    }
    return true;
  }

  template <typename Visit>
  void all_words(std::string_view whole, const Visit& visit) {
    for (std::size_t start = 0; start < whole.size();) {
      const std::size_t end = window_end(whole, start);
      if (!words_in(whole.substr(start, end - start), start, visit)) return;
      start = end;
    }
  }
};

Analyzer::Analyzer(const std::string& language) : state_(std::make_unique<State>()) {
  UErrorCode status = U_ZERO_ERROR;
  state_->language = language;
  state_->words.reset(icu::BreakIterator::createWordInstance(icu::Locale::getRoot(), status));
  state_->casefold = icu::Normalizer2::getNFKCCasefoldInstance(status);
  state_->decompose = icu::Normalizer2::getNFDInstance(status);
  state_->compose = icu::Normalizer2::getNFCInstance(status);
  require_icu(status, "data");
  if (language == "none") return;
  state_->stemmer.reset(sb_stemmer_new(language.c_str(), "UTF_8"));
  if (state_->stemmer == nullptr) throw Error(ErrorCode::kInvalidArgument, "no stemmer for language \"" + language + "\"");
}

Analyzer::~Analyzer() = default;

void Analyzer::terms(std::string_view text, const Visitor& visit) {
  state_->all_words(text, [&](std::string_view word, std::size_t start, std::size_t end) {
    if (word.size() > kMaxTermBytes) word = word.substr(0, complete_utf8_prefix(word.substr(0, kMaxTermBytes)));
    const std::string folded = state_->fold(word);
    if (folded.empty()) return true;
    return visit(state_->stem(folded), start, end);
  });
}

std::vector<std::string> Analyzer::query_terms(std::string_view query, std::size_t limit) {
  std::vector<std::string> content;
  std::vector<std::string> stops;
  std::set<std::string> seen;
  state_->all_words(query, [&](std::string_view word, std::size_t, std::size_t) {
    if (word.size() > kMaxTermBytes) word = word.substr(0, complete_utf8_prefix(word.substr(0, kMaxTermBytes)));
    const std::string folded = state_->fold(word);
    if (folded.empty()) return true;
    const std::string& term = state_->stem(folded);
    if (seen.insert(term).second) (is_stop_word(folded, state_->language) ? stops : content).push_back(term);
    return content.size() < limit && stops.size() < limit;
  });
  return content.empty() ? stops : content;
}

bool is_known_language(std::string_view language) noexcept {
  if (language == "none") return true;
  for (const char** name = sb_stemmer_list(); *name != nullptr; ++name) {
    if (language == *name) return true;
  }
  return false;
}

Analyzer& AnalyzerCache::get(const std::string& language) {
  auto& slot = analyzers_[language];
  if (slot == nullptr) slot = std::make_unique<Analyzer>(language);
  return *slot;
}

}  // namespace gritstone
