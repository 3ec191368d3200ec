#include "apps/server/file_ids.h"

namespace gritstone {

std::string file_id(const Snapshot& snapshot, const std::string& path) { return "file-" + snapshot.file_key(path); }

}  // namespace gritstone
