#include "index/sqlite_fts_tokenizer.h"

#include <sqlite3.h>

#include <exception>
#include <new>

#include "base/error.h"
#include "index/sqlite_fts_api.h"

namespace gritstone {
namespace {

struct Tokenizer {
  Analyzer* analyzer;  // owned by the connection's cache
};

int create_tokenizer(void* context, const char** arguments, int count, Fts5Tokenizer** out) {
  try {
    const std::string language = count > 0 ? arguments[0] : "none";
    *out = reinterpret_cast<Fts5Tokenizer*>(new Tokenizer{&static_cast<AnalyzerCache*>(context)->get(language)});
    return SQLITE_OK;
  } catch (const std::bad_alloc&) {
    return SQLITE_NOMEM;
  } catch (const std::exception&) {
    return SQLITE_ERROR;
  }
}

void delete_tokenizer(Fts5Tokenizer* tokenizer) { delete reinterpret_cast<Tokenizer*>(tokenizer); }

using TokenCallback = int (*)(void* context, int flags, const char* token, int length, int start, int end);

int tokenize(Fts5Tokenizer* self, void* context, int flags, const char* text, int length, TokenCallback emit) {
  if (text == nullptr || length <= 0) return SQLITE_OK;
  if ((flags & FTS5_TOKENIZE_QUERY) != 0) return emit(context, 0, text, length, 0, length);
  int code = SQLITE_OK;
  try {
    const std::string_view whole(text, static_cast<std::size_t>(length));
    reinterpret_cast<Tokenizer*>(self)->analyzer->terms(whole, [&](std::string_view term, std::size_t start, std::size_t end) {
      code = emit(context, 0, term.data(), static_cast<int>(term.size()), static_cast<int>(start), static_cast<int>(end));
      return code == SQLITE_OK;
    });
  } catch (const std::bad_alloc&) {
    return SQLITE_NOMEM;
  } catch (const std::exception&) {
    return SQLITE_ERROR;
  }
  return code;
}

}  // namespace

fts5_api* fts5_api_of(sqlite3* connection, const std::string& path) {
  fts5_api* api = nullptr;
  sqlite3_stmt* statement = nullptr;
  int code = sqlite3_prepare_v2(connection, "SELECT fts5(?1)", -1, &statement, nullptr);
  if (code == SQLITE_OK) {
    sqlite3_bind_pointer(statement, 1, &api, "fts5_api_ptr", nullptr);
    code = sqlite3_step(statement);
  }
  sqlite3_finalize(statement);
  if (api == nullptr) throw Error(ErrorCode::kStorage, "this SQLite has no FTS5 (" + path + "): " + sqlite3_errstr(code));
  return api;
}

void register_fts_tokenizer(sqlite3* connection, AnalyzerCache& analyzers, const std::string& path) {
  fts5_api* api = fts5_api_of(connection, path);
  fts5_tokenizer functions{create_tokenizer, delete_tokenizer, tokenize};
  if (api->xCreateTokenizer(api, "gritstone", &analyzers, &functions, nullptr) != SQLITE_OK) {
    throw Error(ErrorCode::kStorage, "cannot register the full-text tokenizer on " + path);
  }
}

std::string match_expression(const std::vector<std::string>& terms) {
  std::string expression;
  for (const std::string& term : terms) {
    if (!expression.empty()) expression += " OR ";
    expression += '"';
    for (const char c : term) {
      if (c == '"') expression += '"';
      expression += c;
    }
    expression += '"';
  }
  return expression;
}

}  // namespace gritstone
