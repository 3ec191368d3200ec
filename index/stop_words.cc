#include "index/stop_words.h"

#include <algorithm>
#include <iterator>

namespace gritstone {
namespace {

// Articles, pronouns, auxiliaries, prepositions, conjunctions and question words, sorted. Contractions appear as ICU leaves them, in one
// word.
constexpr std::string_view kEnglish[] = {
    "a",     "about",  "above",  "after",  "again",  "against", "all",   "also",    "am",    "an",    "and",     "any",
    "are",   "aren't", "as",     "at",     "be",     "because", "been",  "before",  "being", "below", "between", "both",
    "but",   "by",     "can",    "can't",  "cannot", "could",   "did",   "didn't",  "do",    "does",  "doesn't", "doing",
    "don't", "down",   "during", "each",   "few",    "for",     "from",  "further", "had",   "has",   "have",    "having",
    "he",    "her",    "here",   "hers",   "him",    "his",     "how",   "i",       "if",    "in",    "into",    "is",
    "isn't", "it",     "it's",   "its",    "itself", "just",    "me",    "more",    "most",  "my",    "no",      "nor",
    "not",   "of",     "off",    "on",     "once",   "only",    "or",    "other",   "our",   "ours",  "out",     "over",
    "own",   "same",   "she",    "should", "so",     "some",    "such",  "than",    "that",  "the",   "their",   "theirs",
    "them",  "then",   "there",  "these",  "they",   "this",    "those", "through", "to",    "too",   "under",   "until",
    "up",    "us",     "very",   "was",    "wasn't", "we",      "were",  "weren't", "what",  "when",  "where",   "which",
    "while", "who",    "whom",   "whose",  "why",    "will",    "with",  "would",   "you",   "your",  "yours",
};
static_assert(std::is_sorted(std::begin(kEnglish), std::end(kEnglish)));

}  // namespace

bool is_stop_word(std::string_view word, std::string_view language) noexcept {
  return language == "english" && std::binary_search(std::begin(kEnglish), std::end(kEnglish), word);
}

}  // namespace gritstone
