// Checks the sample corpus in data/sample against the rules stated in data/README.md.
#include <gtest/gtest.h>
#include <libstemmer.h>
#include <rapidjson/document.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace gritstone {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMinDocuments = 42;
constexpr std::size_t kMinWords = 300;
constexpr std::size_t kMaxWords = 900;
constexpr std::size_t kMinQuestions = 155;
constexpr std::size_t kMinUnanswerable = 30;
constexpr std::size_t kMinNearMisses = 15;
constexpr std::size_t kMinTwoDocument = 27;
constexpr double kMinParaphraseShare = 0.40;

struct Gold {
  std::string document;
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  std::string text;
};

struct Question {
  std::string id;
  std::string question;
  std::vector<std::string> answers;
  std::string kind;
  bool near_miss = false;
  bool paraphrase = false;
  std::string about;
  std::vector<Gold> gold;
};

fs::path sample_folder() { return fs::path(GRITSTONE_SOURCE_DIR) / "data" / "sample"; }

std::string read_bytes(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path.string());
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// Decodes one code point at `at` and moves `at` behind it. Returns false on bytes that are not UTF-8.
bool next_code_point(std::string_view text, std::size_t& at, char32_t& code) {
  const auto first = static_cast<unsigned char>(text[at]);
  std::size_t length = 0;
  if (first < 0x80) {
    length = 1;
    code = first;
  } else if (first >= 0xC2 && first < 0xE0) {
    length = 2;
    code = first & 0x1FU;
  } else if (first >= 0xE0 && first < 0xF0) {
    length = 3;
    code = first & 0x0FU;
  } else if (first >= 0xF0 && first < 0xF5) {
    length = 4;
    code = first & 0x07U;
  } else {
    return false;
  }
  if (at + length > text.size()) return false;
  for (std::size_t i = 1; i < length; ++i) {
    const auto next = static_cast<unsigned char>(text[at + i]);
    if ((next & 0xC0U) != 0x80U) return false;
    code = (code << 6U) | (next & 0x3FU);
  }
  if ((length == 3 && code < 0x800) || (length == 4 && (code < 0x10000 || code > 0x10FFFF))) return false;
  if (code >= 0xD800 && code <= 0xDFFF) return false;
  at += length;
  return true;
}

bool is_utf8(std::string_view text) {
  char32_t code = 0;
  for (std::size_t at = 0; at < text.size();) {
    if (!next_code_point(text, at, code)) return false;
  }
  return true;
}

// A full Unicode table is not needed: the corpus has Latin, Greek, Cyrillic and East Asian letters, and everything else
// beyond ASCII in it is punctuation, signs or symbols from a few known blocks.
bool is_word_character(char32_t code) {
  if (code < 0x80) return (code >= '0' && code <= '9') || (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z');
  if (code < 0xC0 || code == 0xD7 || code == 0xF7) return false;
  return !(code >= 0x2000 && code <= 0x2BFF) && !(code >= 0x3000 && code <= 0x303F) && code < 0xFE00;
}

// Appends one UTF-8 character in lower case. Capitals beyond Latin-1 do not occur where a comparison depends on them.
void append_lower(std::string_view character, std::string& out) {
  const auto last = static_cast<unsigned char>(character.back());
  const bool ascii_upper = character.size() == 1 && last >= 'A' && last <= 'Z';
  const bool latin1_upper = character.size() == 2 && character.front() == '\xC3' && last >= 0x80 && last <= 0x9E && last != 0x97;
  out += character;
  if (ascii_upper || latin1_upper) out.back() = static_cast<char>(last + 0x20);
}

// Maximal runs of letters and digits, in lower case.
std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  char32_t code = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    if (!next_code_point(text, at, code)) throw std::runtime_error("not UTF-8: " + std::string(text));
    if (is_word_character(code)) {
      append_lower(text.substr(begin, at - begin), word);
    } else if (!word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words;
}

// Lower case with white space collapsed, so that an answer may span a line break of its document.
std::string normalise(std::string_view text) {
  std::string lower;
  char32_t code = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    if (!next_code_point(text, at, code)) throw std::runtime_error("not UTF-8: " + std::string(text));
    append_lower(text.substr(begin, at - begin), lower);
  }
  std::istringstream in(lower);
  std::string out;
  for (std::string token; in >> token;) {
    if (!out.empty()) out.push_back(' ');
    out += token;
  }
  return out;
}

// Replaces tags by spaces. Rough, but the corpus has no scripts, styles or comments.
std::string strip_html(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '<') {
      const std::size_t close = text.find('>', at);
      if (close == std::string_view::npos) break;
      at = close;
      out.push_back(' ');
    } else if (text[at] == '&') {
      // A reference often stands inside a word (Andr&eacute;), so it leaves a letter and does not split the word.
      const std::size_t close = text.find(';', at);
      if (close == std::string_view::npos || close - at > 10) continue;
      at = close;
      out.push_back('x');
    } else {
      out.push_back(text[at]);
    }
  }
  return out;
}

// What `wc -w` counts, less the tokens made of markup alone such as table bars and heading marks.
std::size_t count_words(const std::string& text) {
  std::istringstream in(text);
  std::size_t count = 0;
  for (std::string token; in >> token;) {
    if (!split_words(token).empty()) ++count;
  }
  return count;
}

class Stemmer {
 public:
  Stemmer() : stemmer_(sb_stemmer_new("english", "UTF_8"), &sb_stemmer_delete) {
    if (!stemmer_) throw std::runtime_error("no English stemmer");
  }

  std::string stem(const std::string& word) {
    const auto* symbols = reinterpret_cast<const sb_symbol*>(word.data());
    const sb_symbol* result = sb_stemmer_stem(stemmer_.get(), symbols, static_cast<int>(word.size()));
    if (result == nullptr) throw std::runtime_error("stemmer ran out of memory");
    return {reinterpret_cast<const char*>(result), static_cast<std::size_t>(sb_stemmer_length(stemmer_.get()))};
  }

 private:
  std::unique_ptr<sb_stemmer, decltype(&sb_stemmer_delete)> stemmer_;
};

Question parse_question(const std::string& line) {
  rapidjson::Document json;
  json.Parse(line.c_str(), line.size());
  if (json.HasParseError() || !json.IsObject()) throw std::runtime_error("bad line: " + line);
  const auto text = [&line](const rapidjson::Value& object, const char* key) -> std::string {
    const auto member = object.FindMember(key);
    if (member == object.MemberEnd() || !member->value.IsString()) throw std::runtime_error(std::string("no string ") + key + ": " + line);
    return {member->value.GetString(), member->value.GetStringLength()};
  };
  const auto flag = [&](const char* key) {
    const auto member = json.FindMember(key);
    if (member == json.MemberEnd() || !member->value.IsBool()) throw std::runtime_error(std::string("no boolean ") + key + ": " + line);
    return member->value.GetBool();
  };
  const auto list = [&](const char* key) -> const rapidjson::Value& {
    const auto member = json.FindMember(key);
    if (member == json.MemberEnd() || !member->value.IsArray()) throw std::runtime_error(std::string("no list ") + key + ": " + line);
    return member->value;
  };
  Question question;
  question.id = text(json, "id");
  question.question = text(json, "question");
  question.kind = text(json, "kind");
  question.near_miss = flag("near_miss");
  question.paraphrase = flag("paraphrase");
  if (json.HasMember("about")) question.about = text(json, "about");
  for (const auto& answer : list("answers").GetArray()) {
    if (!answer.IsString()) throw std::runtime_error("answer is no string: " + line);
    question.answers.emplace_back(answer.GetString(), answer.GetStringLength());
  }
  for (const auto& entry : list("gold").GetArray()) {
    if (!entry.IsObject() || !entry.HasMember("start") || !entry.HasMember("end") || !entry["start"].IsUint64() ||
        !entry["end"].IsUint64()) {
      throw std::runtime_error("bad gold entry: " + line);
    }
    question.gold.push_back({text(entry, "document"), entry["start"].GetUint64(), entry["end"].GetUint64(), text(entry, "text")});
  }
  return question;
}

class SampleTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const auto& entry : fs::directory_iterator(sample_folder() / "docs")) {
      documents_[entry.path().filename().string()] = read_bytes(entry.path());
    }
    std::istringstream questions(read_bytes(sample_folder() / "questions.jsonl"));
    for (std::string line; std::getline(questions, line);) questions_.push_back(parse_question(line));
    std::istringstream stop_words(read_bytes(sample_folder() / "stopwords.txt"));
    for (std::string word; stop_words >> word;) stop_words_.insert(word);
  }

  std::set<std::string> content_stems(std::string_view text) {
    std::set<std::string> stems;
    for (const std::string& word : split_words(text)) {
      if (!stop_words_.contains(word)) stems.insert(stemmer_.stem(word));
    }
    return stems;
  }

  std::size_t count_kind(std::string_view kind) const {
    return static_cast<std::size_t>(std::ranges::count_if(questions_, [kind](const Question& q) { return q.kind == kind; }));
  }

  Stemmer stemmer_;
  std::map<std::string, std::string> documents_;
  std::vector<Question> questions_;
  std::set<std::string> stop_words_;
};

TEST_F(SampleTest, DocumentsAreWithinTheirLimits) {
  EXPECT_GE(documents_.size(), kMinDocuments);
  for (const auto& [name, text] : documents_) {
    ASSERT_TRUE(is_utf8(text)) << name;
    const std::size_t words = count_words(name.ends_with(".html") ? strip_html(text) : text);
    EXPECT_GE(words, kMinWords) << name;
    EXPECT_LE(words, kMaxWords) << name;
  }
}

TEST_F(SampleTest, FormatsAreMixed) {
  std::map<std::string, double> share;
  for (const auto& [name, text] : documents_) {
    const std::string extension = fs::path(name).extension().string();
    share[extension] += 1.0 / static_cast<double>(documents_.size());
    if (extension == ".md") {
      EXPECT_TRUE(text.starts_with("# ")) << name;
      EXPECT_NE(text.find("\n## "), std::string::npos) << name;
    } else if (extension == ".html") {
      EXPECT_TRUE(text.starts_with("<!DOCTYPE html>")) << name;
      for (const char* part : {"<title>", "<h1>", "<table>", "</body>", "</html>"}) {
        EXPECT_NE(text.find(part), std::string::npos) << name << " lacks " << part;
      }
    }
  }
  EXPECT_EQ(share.size(), 3U);
  EXPECT_NEAR(share[".md"], 0.6, 0.1);
  EXPECT_NEAR(share[".html"], 0.2, 0.1);
  EXPECT_NEAR(share[".txt"], 0.2, 0.1);
}

TEST_F(SampleTest, QuestionsAreUniqueAndEnough) {
  std::set<std::string> ids;
  std::set<std::string> texts;
  for (const Question& question : questions_) {
    EXPECT_TRUE(ids.insert(question.id).second) << question.id;
    EXPECT_TRUE(texts.insert(normalise(question.question)).second) << question.id;
    EXPECT_TRUE(question.question.ends_with("?")) << question.id;
  }
  EXPECT_GE(questions_.size(), kMinQuestions);
  EXPECT_GE(count_kind("unanswerable"), kMinUnanswerable);
  EXPECT_GE(count_kind("two"), kMinTwoDocument);
  EXPECT_EQ(count_kind("single") + count_kind("two") + count_kind("unanswerable"), questions_.size());
}

TEST_F(SampleTest, OffsetsGiveTheGoldText) {
  for (const Question& question : questions_) {
    for (const Gold& gold : question.gold) {
      const auto found = documents_.find(gold.document);
      ASSERT_NE(found, documents_.end()) << question.id << ' ' << gold.document;
      ASSERT_LT(gold.start, gold.end) << question.id;
      ASSERT_LE(gold.end, found->second.size()) << question.id;
      EXPECT_EQ(found->second.substr(gold.start, gold.end - gold.start), gold.text) << question.id;
      // Markup inside a passage would be gone after loading, and then the passage could not be found again.
      if (gold.document.ends_with(".html")) {
        EXPECT_EQ(gold.text.find_first_of("<>&"), std::string::npos) << question.id;
      }
    }
  }
}

TEST_F(SampleTest, AnswersOccurInTheGoldText) {
  for (const Question& question : questions_) {
    if (question.kind == "unanswerable") continue;
    const bool found = std::ranges::any_of(question.answers, [&question](const std::string& answer) {
      const std::string wanted = normalise(answer);
      return !wanted.empty() && std::ranges::any_of(question.gold, [&wanted](const Gold& gold) {
        return normalise(gold.text).find(wanted) != std::string::npos;
      });
    });
    EXPECT_TRUE(found) << question.id << ' ' << question.question;
  }
}

TEST_F(SampleTest, GoldEntriesFitTheKind) {
  for (const Question& question : questions_) {
    std::set<std::string> used;
    for (const Gold& gold : question.gold) used.insert(gold.document);
    const std::size_t wanted = question.kind == "single" ? 1 : question.kind == "two" ? 2 : 0;
    EXPECT_EQ(question.gold.size(), wanted) << question.id;
    EXPECT_EQ(used.size(), wanted) << question.id;
    EXPECT_EQ(question.answers.empty(), wanted == 0) << question.id;
  }
}

TEST_F(SampleTest, NearMissesNameADocument) {
  std::size_t near_misses = 0;
  for (const Question& question : questions_) {
    EXPECT_EQ(question.near_miss, !question.about.empty()) << question.id;
    if (!question.near_miss) continue;
    ++near_misses;
    EXPECT_EQ(question.kind, "unanswerable") << question.id;
    EXPECT_TRUE(documents_.contains(question.about)) << question.id;
  }
  EXPECT_GE(near_misses, kMinNearMisses);
}

TEST_F(SampleTest, ParaphrasesShareNoContentWord) {
  std::size_t paraphrases = 0;
  for (const Question& question : questions_) {
    if (!question.paraphrase) continue;
    ASSERT_FALSE(question.gold.empty()) << question.id;
    if (question.kind == "single") ++paraphrases;
    const std::set<std::string> asked = content_stems(question.question);
    EXPECT_FALSE(asked.empty()) << question.id;
    for (const Gold& gold : question.gold) {
      for (const std::string& stem : content_stems(gold.text)) {
        EXPECT_FALSE(asked.contains(stem)) << question.id << " shares '" << stem << "' with its passage";
      }
    }
  }
  EXPECT_GE(static_cast<double>(paraphrases), kMinParaphraseShare * static_cast<double>(count_kind("single")));
}

}  // namespace
}  // namespace gritstone
