#include "apps/settings.h"

#include <toml++/toml.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "apps/cli_session.h"
#include "base/checked_file.h"
#include "base/error.h"

namespace gritstone {
namespace {

constexpr const char* kCommonGroup = "Common options";
constexpr std::uint64_t kMaxConfigBytes = 1 << 20;

bool is_common(const CLI::Option& option) { return option.get_group() == kCommonGroup; }

std::string environment_name(const CLI::Option& option) {
  std::string name = "GRITSTONE_";
  for (const char c : option.get_lnames().front()) name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

// The option's key in the file: its long name, also with underscores (kv-type, kv_type).
CLI::Option* find_option(CLI::App& command, std::string key) {
  for (char& c : key) {
    if (c == '_') c = '-';
  }
  for (CLI::Option* option : command.get_options()) {
    if (option->check_lname(key) && key != "help") return option;
  }
  return nullptr;
}

void set(CLI::Option& option, const std::vector<std::string>& values, const std::string& source) {
  try {
    for (const std::string& value : values) option.add_result(value);
    option.run_callback();
  } catch (const CLI::Error& error) {
    throw Error(ErrorCode::kInvalidArgument, source + ": " + error.what());
  }
}

std::optional<std::string> scalar_text(const toml::node& node) {
  std::ostringstream text;
  if (const auto* s = node.as_string()) return s->get();
  if (const auto* i = node.as_integer()) return std::to_string(i->get());
  if (const auto* b = node.as_boolean()) return std::string(b->get() ? "true" : "false");
  if (const auto* f = node.as_floating_point()) {
    text.precision(17);
    text << f->get();
    return text.str();
  }
  return std::nullopt;
}

class ConfigFile {
 public:
  ConfigFile(const std::filesystem::path& path, bool must_exist) : path_(path.string()) {
    try {
      const std::string text = read_file(path, kMaxConfigBytes);
      table_ = toml::parse(text);
    } catch (const Error& error) {
      if (must_exist || error.code() != ErrorCode::kNotFound) throw;
    } catch (const toml::parse_error& error) {
      throw Error(ErrorCode::kInvalidArgument,
                  path_ + ":" + std::to_string(error.source().begin.line) + ": " + std::string(error.description()));
    }
  }

  // Every key must be one that some command knows: a typo would otherwise be ignored silently.
  void check(CLI::App& root) const { check(root, table_, ""); }

  void apply(CLI::App& command) const {
    for (CLI::Option* option : command.get_options()) {
      if (option->count() > 0 || option->get_lnames().empty()) continue;
      const toml::table* table = is_common(*option) ? &table_ : own_table(command);
      if (table == nullptr) continue;
      for (const auto& [key, node] : *table) {
        if (node.is_table() || find_option(command, std::string(key.str())) != option) continue;
        set(*option, values(node, std::string(key.str())), path_ + ": " + std::string(key.str()));
      }
    }
  }

 private:
  void check(CLI::App& app, const toml::table& table, const std::string& prefix) const {
    for (const auto& [key, node] : table) {
      const std::string name(key.str());
      if (const auto* sub = node.as_table()) {
        CLI::App* command = subcommand(app, name);
        if (command == nullptr) throw Error(ErrorCode::kInvalidArgument, path_ + ": [" + prefix + name + "] is no command");
        check(*command, *sub, prefix + name + ".");
        continue;
      }
      if (prefix.empty() ? !known_common(app, name) : !known_own(app, name)) {
        throw Error(ErrorCode::kInvalidArgument, path_ + ": unknown key \"" + prefix + name + "\"");
      }
      values(node, prefix + name);
    }
  }

  static CLI::App* subcommand(CLI::App& app, const std::string& name) {
    const auto found = app.get_subcommands([&](CLI::App* command) { return command->get_name() == name; });
    return found.empty() ? nullptr : found.front();
  }

  static bool known_own(CLI::App& command, const std::string& key) {
    const CLI::Option* option = find_option(command, key);
    return option != nullptr && !is_common(*option);
  }

  static bool known_common(CLI::App& app, const std::string& key) {
    const CLI::Option* option = find_option(app, key);
    if (option != nullptr && is_common(*option) && !option->check_lname("config")) return true;
    for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) {
      if (known_common(*command, key)) return true;
    }
    return false;
  }

  std::vector<std::string> values(const toml::node& node, const std::string& key) const {
    std::vector<std::string> result;
    if (const auto* array = node.as_array()) {
      for (const toml::node& element : *array) {
        if (auto text = scalar_text(element)) result.push_back(*text);
      }
      if (result.size() == array->size()) return result;
    } else if (auto text = scalar_text(node)) {
      return {*text};
    }
    throw Error(ErrorCode::kInvalidArgument, path_ + ": \"" + key + "\" must be a text, a number, true, false or a list of these");
  }

  // [ask], or [model.synth] for the command "model synth".
  const toml::table* own_table(const CLI::App& command) const {
    std::vector<std::string> names;
    for (const CLI::App* app = &command; app->get_parent() != nullptr; app = app->get_parent())
      names.insert(names.begin(), app->get_name());
    const toml::table* table = &table_;
    for (const std::string& name : names) {
      const toml::node* node = table->get(name);
      if (node == nullptr || node->as_table() == nullptr) return nullptr;
      table = node->as_table();
    }
    return table;
  }

  std::string path_;
  toml::table table_;
};

}  // namespace

void apply_settings(CLI::App& root, CLI::App& command, const std::filesystem::path& config) {
  for (CLI::Option* option : command.get_options()) {
    if (!is_common(*option) || option->count() > 0 || option->check_lname("config")) continue;
    const std::string name = environment_name(*option);
    const char* value = std::getenv(name.c_str());
    if (value != nullptr && value[0] != '\0') set(*option, {value}, name);
  }
  const char* named = std::getenv("GRITSTONE_CONFIG");
  std::filesystem::path path = config;
  if (path.empty() && named != nullptr) path = named;
  const bool must_exist = !path.empty();
  if (path.empty()) path = default_config_path();
  if (path.empty()) return;
  const ConfigFile file(path, must_exist);
  file.check(root);
  file.apply(command);
}

}  // namespace gritstone
