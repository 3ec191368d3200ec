// The logical export: what two stores over the same files have in common, as text. No ids, generations or times of ours.
#include "base/json.h"
#include "index/sqlite_store.h"

namespace gritstone {
namespace {

class Line {
 public:
  Line() { writer_.StartObject(); }
  Line& text(const char* key, const std::string& value) {
    writer_.Key(key);
    writer_.String(value);
    return *this;
  }
  Line& number(const char* key, std::int64_t value) {
    writer_.Key(key);
    writer_.Int64(value);
    return *this;
  }
  std::string finish() {
    writer_.EndObject();
    return std::string(buffer_.GetString(), buffer_.GetSize()) + "\n";
  }

 private:
  rapidjson::StringBuffer buffer_;
  rapidjson::Writer<rapidjson::StringBuffer> writer_{buffer_};
};

std::string vector_digest(Database& database, ChunkId id) {
  Statement& s = database.statement("SELECT vector FROM embeddings WHERE chunk_id = ?1").bind(1, id);
  if (!s.step()) return "none";
  std::string digest = to_hex(xxh128(s.blob(0)));
  s.reset();
  return digest;
}

}  // namespace

void Snapshot::export_logical(const std::function<void(std::string_view)>& write) const {
  const std::vector<DocumentRecord> all = documents();
  const std::lock_guard guard(impl_->mutex);
  Database& database = *impl_->database;
  const CollectionInfo& info = impl_->row.info;
  write(Line()
            .text("collection", info.name)
            .text("language", info.language)
            .text("manifest", info.manifest)
            .number("dim", static_cast<std::int64_t>(info.dim))
            .finish());
  for (const DocumentRecord& record : all) {
    if (record.damaged) throw Error(ErrorCode::kDamagedData, "the row of document " + record.path + " does not match its hash");
    Line line;
    line.text("document", record.path).text("sha256", to_hex(record.sha256)).number("size", static_cast<std::int64_t>(record.size));
    line.number("mtime_ns", record.mtime_ns).text("type", record.type).text("title", record.title);
    for (const auto& [key, value] : record.attributes) line.text(("@" + key).c_str(), value);
    write(line.finish());
    for (std::size_t i = 0; i < record.chunks; ++i) {
      const auto id = find_chunk_id(database, record.id, i);
      const auto row = id ? load_chunk(database, *id) : std::nullopt;
      if (!row) throw Error(ErrorCode::kDamagedData, "chunk " + std::to_string(i) + " of " + record.path + " is missing");
      const ChunkRecord& c = row->record;
      write(Line()
                .number("chunk", static_cast<std::int64_t>(i))
                .text("heading", c.heading_path)
                .number("start", static_cast<std::int64_t>(c.span.start))
                .number("end", static_cast<std::int64_t>(c.span.end))
                .number("context_bytes", static_cast<std::int64_t>(c.context_bytes))
                .number("tokens", static_cast<std::int64_t>(c.tokens))
                .text("text", c.text)
                .text("vector", vector_digest(database, *id))
                .finish());
    }
  }
}

}  // namespace gritstone
