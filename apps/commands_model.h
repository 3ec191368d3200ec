// The subcommands of `gritstone model`.
#pragma once

#include "apps/commands.h"

namespace gritstone {

void add_model_show_command(CLI::App& model, CliSession& session, CommandTable& table);
void add_model_forward_command(CLI::App& model, CliSession& session, CommandTable& table);
void add_model_synth_command(CLI::App& model, CliSession& session, CommandTable& table);
void add_model_quantize_command(CLI::App& model, CliSession& session, CommandTable& table);

}  // namespace gritstone
