// gritstone model: looks into, runs, makes and converts model files.
#include <CLI/CLI.hpp>

#include "apps/commands_model.h"

namespace gritstone {

void add_model_commands(CLI::App& app, CliSession& session, CommandTable& table) {
  CLI::App* model = app.add_subcommand("model", "Looks into, runs, makes and converts model files");
  model->require_subcommand(1);
  add_model_show_command(*model, session, table);
  add_model_forward_command(*model, session, table);
  add_model_synth_command(*model, session, table);
  add_model_quantize_command(*model, session, table);
}

}  // namespace gritstone
