// CUDA on a CPU, for tests: takes the place of the toolkit's header of this name. Blocks run one after another and a block's threads are
// fibers of one OS thread (emulated_block.h), so that kernels written for the GPU can be checked where there is none.
#pragma once

#include "emulated_block.h"
#include "emulated_device.h"
#include "emulated_host.h"
#include "emulated_types.h"
#include "emulated_warp.h"
