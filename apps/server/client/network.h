// The HTTP client's part in the command line.
#pragma once

#include "apps/network.h"

namespace gritstone {

Network make_network();

}  // namespace gritstone
