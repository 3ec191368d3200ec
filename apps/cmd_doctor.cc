// gritstone doctor: what this machine, the model and the store look like, and what is wrong with them.
#include <sys/utsname.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <memory>

#include "apps/commands.h"
#include "apps/json_output.h"
#include "apps/terminal.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "model/cuda_devices.h"
#include "model/kernels/kernel_table.h"

namespace gritstone {
namespace {

// The value behind the first "key : value" line of a /proc file; empty if there is none.
std::string proc_value(const char* path, const std::string& key) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (line.rfind(key, 0) != 0) continue;
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::size_t begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

std::uint64_t proc_kib(const char* key) { return std::strtoull(proc_value("/proc/meminfo", key).c_str(), nullptr, 10) * 1024; }

struct Report {
  std::string cpu;
  std::vector<std::string> isas;
  std::string chosen_isa;
  std::size_t cores = 0;
  std::uint64_t memory = 0, available = 0;
  std::string os;
  CudaDevices cuda;
  std::string model_state, store_state;  // "ok", "none" or what is wrong
  std::uint64_t model_bytes = 0;
  std::string architecture;
  std::size_t collections = 0, documents = 0;
  std::vector<std::string> problems;
  int status = 0;

  void problem(const std::string& what, int code) {
    problems.push_back(what);
    if (status == 0) status = code;
  }
};

void examine_machine(CliSession& session, Report& report) {
  report.cpu = proc_value("/proc/cpuinfo", "model name");
  for (const KernelTable& table : available_kernels()) report.isas.emplace_back(table.isa);
  try {
    report.chosen_isa = select_kernels(session.options.simd).isa;
  } catch (const Error& error) {
    report.problem(error.what(), exit_code(error.code()));
  }
  report.cores = available_cores();
  report.cuda = cuda_devices();
  if (session.options.device == "cuda" && report.cuda.devices.empty()) {
    report.problem("no CUDA device: " + report.cuda.problem, exit_code(ErrorCode::kDevice));
  }
  report.memory = proc_kib("MemTotal");
  report.available = proc_kib("MemAvailable");
  struct utsname name {};
  if (::uname(&name) == 0) report.os = std::string(name.sysname) + " " + name.release + " " + name.machine;
}

void examine_model(CliSession& session, Report& report) {
  report.model_state = "none";
  if (!session.has_model()) return;
  try {
    const ModelFile& file = session.model();
    report.model_bytes = file.bytes();
    report.architecture = file.config().architecture == Architecture::kOlmoe ? "olmoe" : "llama";
    session.tokenizer();
    report.model_state = "ok";
    if (report.model_bytes > report.available) {
      report.problem("the model has " + human_bytes(report.model_bytes) + ", more than the " + human_bytes(report.available) +
                         " of memory that are free: it will be slow or not run",
                     exit_code(ErrorCode::kMemoryBudget));
    }
  } catch (const Error& error) {
    report.model_state = error.what();
    report.problem(error.what(), exit_code(error.code()));
  }
}

void examine_store(CliSession& session, Report& report) {
  try {
    const std::vector<CollectionInfo> collections = session.store(Store::Mode::kRead).collections();
    report.collections = collections.size();
    for (const CollectionInfo& info : collections) report.documents += info.documents;
    report.store_state = "ok";
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kNotFound) {
      report.store_state = "none";
      return;
    }
    report.store_state = error.what();
    report.problem(error.what(), exit_code(error.code()));
  }
}

void print_json(CliSession& session, const Report& report) {
  JsonOutput json;
  json.begin_object().field("version", GRITSTONE_VERSION).field("compiler", __VERSION__).field("os", report.os);
  json.begin_object("cpu")
      .field("model", report.cpu)
      .array("isas", report.isas)
      .field("isa", report.chosen_isa)
      .field("cores", report.cores);
  json.end_object();
  json.begin_object("cuda").field("built_in", report.cuda.built_in).field("problem", report.cuda.problem).begin_array("devices");
  for (const CudaDevice& device : report.cuda.devices) {
    json.begin_object().field("name", device.name).field("compute_capability", format("%d.%d", device.major, device.minor));
    json.field("memory", device.memory).field("free_memory", device.free_memory);
    json.field("multiprocessors", static_cast<std::uint64_t>(device.multiprocessors)).end_object();
  }
  json.end_array().end_object();
  json.begin_object("memory").field("total", report.memory).field("available", report.available).end_object();
  json.begin_object("model").field("path", session.options.model).field("state", report.model_state).field("bytes", report.model_bytes);
  json.field("architecture", report.architecture).end_object();
  json.begin_object("store").field("path", session.store_path().string()).field("state", report.store_state);
  json.field("collections", report.collections).field("documents", report.documents).end_object();
  json.array("problems", report.problems).end_object().print();
}

void print_text(CliSession& session, const Report& report) {
  std::string isas;
  for (const std::string& isa : report.isas) isas += (isas.empty() ? "" : ", ") + isa;
  print_out("gritstone " GRITSTONE_VERSION ", compiled by g++ " __VERSION__ ", on " + report.os + "\n");
  print_out("CPU     " + report.cpu + ", " + std::to_string(report.cores) + " cores; kernels: " + report.chosen_isa + " (of " + isas +
            ")\n");
  for (const CudaDevice& device : report.cuda.devices) {
    print_out("GPU     " + device.name + format(", compute capability %d.%d, ", device.major, device.minor) + human_bytes(device.memory) +
              ", " + human_bytes(device.free_memory) + " free\n");
  }
  if (report.cuda.devices.empty()) {
    print_out("GPU     none" + (report.cuda.problem.empty() ? std::string() : ": " + report.cuda.problem) + "\n");
  }
  print_out("Memory  " + human_bytes(report.memory) + ", " + human_bytes(report.available) + " available\n");
  if (report.model_state == "none") {
    print_out("Model   none named (use -m FILE or set GRITSTONE_MODEL)\n");
  } else {
    print_out("Model   " + session.options.model + ": " +
              (report.model_state == "ok" ? "ok, " + report.architecture + ", " + human_bytes(report.model_bytes) : "NOT USABLE") + "\n");
  }
  const std::string store = session.store_path().string();
  if (report.store_state == "none") {
    print_out("Store   " + store + ": not there yet (index creates it)\n");
  } else {
    print_out("Store   " + store + ": " +
              (report.store_state == "ok"
                   ? format("ok, %zu collections, ", report.collections) + human_count(report.documents) + " documents"
                   : std::string("NOT USABLE")) +
              "\n");
  }
  for (const std::string& problem : report.problems) print_out("Problem: " + printable(problem) + "\n");
  if (report.problems.empty()) print_out("No problems found\n");
}

int run(CliSession& session) {
  Report report;
  examine_machine(session, report);
  examine_model(session, report);
  examine_store(session, report);
  if (session.options.json) {
    print_json(session, report);
  } else {
    print_text(session, report);
  }
  return report.status;
}

}  // namespace

void add_doctor_command(CLI::App& app, CliSession& session, CommandTable& table) {
  CLI::App* command = app.add_subcommand("doctor", "What this machine, the model and the store look like");
  session.add_options(*command, CliSession::kEngine | CliSession::kStore);
  command->footer("Exit status: 0 if no problem was found, else that of the first one.\nExamples:\n  gritstone doctor -m model.gguf");
  table.add(command, [&session] { return run(session); });
}

}  // namespace gritstone
