// What an evaluation says about itself: the command as it was typed and the machine it ran on.
#pragma once

#include <string>

namespace gritstone {

// The arguments of this process, quoted for a shell where they need it; empty where the system does not tell.
std::string command_line();
// "Intel(R) Xeon(R) ..., 2 threads".
std::string machine_name();

}  // namespace gritstone
