// Options that the command line left open: from the environment, then from the config file.
#pragma once

#include <filesystem>

namespace CLI {
class App;
}

namespace gritstone {

// Fills the options of `command` (parsed already) that were not given:
//   1. GRITSTONE_<NAME> for the common options (GRITSTONE_MODEL, GRITSTONE_KV_TYPE),
//   2. the TOML file: common options at the top level, a command's own in its table ("[ask]", "[model.synth]").
// `config` empty: the default path, which need not exist. `root` is the whole application, to know which keys exist.
// Throws Error: kInvalidArgument naming variable or file and key (unknown key, wrong value, bad TOML); kNotFound if a named file is
// missing.
void apply_settings(CLI::App& root, CLI::App& command, const std::filesystem::path& config);

}  // namespace gritstone
