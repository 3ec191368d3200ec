// File names on the command line and in what is printed.
#pragma once

#include <string>
#include <string_view>

namespace gritstone {

// Absolute and lexically normalised ("../notes//a.md" -> "/home/ada/notes/a.md"); symbolic links stay. Documents are stored under absolute
// paths, so that `index .` means the same documents from wherever it is started.
std::string absolute_path(const std::string& path);

// The shorter of the path itself and the path relative to the working directory, for people.
std::string display_path(const std::string& path);

}  // namespace gritstone
