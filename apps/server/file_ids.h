// How documents are called over HTTP: "file-" and 24 hex digits, for uploaded files and for what the command line indexed alike.
#pragma once

#include <string>

#include "index/store.h"

namespace gritstone {

std::string file_id(const Snapshot& snapshot, const std::string& path);

}  // namespace gritstone
