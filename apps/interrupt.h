// Ctrl-C and SIGTERM as a stop token: the first asks for a clean end, the second ends the process at once.
#pragma once

#include <stop_token>

namespace gritstone {

// Call first in main, once. Also ignores SIGPIPE (a closed pipe is an error of that write) and SIGXFSZ (a file limit is a full disk). The
// token lives as long as the process. Throws Error(kStorage) if no pipe can be made.
std::stop_token install_signal_handling();

}  // namespace gritstone
