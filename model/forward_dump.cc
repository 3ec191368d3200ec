#include "model/forward_dump.h"

#include <numeric>
#include <utility>

#include "model/safetensors_writer.h"

namespace gritstone {

std::vector<DumpTensor> forward_dump(Engine& engine, std::span<const TokenId> ids, Attention attention, std::stop_token cancel) {
  const ModelConfig& config = engine.config();
  Job job;
  job.tokens.assign(ids.begin(), ids.end());
  job.attention = attention;
  job.wants.hidden_after.resize(config.layers + 1);
  std::iota(job.wants.hidden_after.begin(), job.wants.hidden_after.end(), std::size_t{0});
  job.wants.normed_after = config.layers;
  job.wants.router = config.experts > 0;
  job.wants.logits = Wants::Logits::kAll;
  job.cancel = std::move(cancel);
  JobOutput output = engine.run(std::move(job));

  std::vector<DumpTensor> tensors;
  for (std::size_t i = 0; i < output.hidden.size(); ++i) {
    tensors.push_back({"hidden." + std::to_string(i), ids.size(), config.hidden, std::move(output.hidden[i])});
  }
  tensors.push_back({"hidden.norm", ids.size(), config.hidden, std::move(output.normed)});
  for (std::size_t i = 0; i < output.router.size(); ++i) {
    tensors.push_back({"router." + std::to_string(i), ids.size(), config.experts, std::move(output.router[i])});
  }
  tensors.push_back({"logits", ids.size(), config.vocab, std::move(output.logits)});
  return tensors;
}

void write_dump(const std::filesystem::path& path, std::span<const DumpTensor> tensors) {
  std::vector<SafetensorsEntry> entries;
  for (const DumpTensor& tensor : tensors) entries.push_back({tensor.name, {tensor.rows, tensor.cols}});
  SafetensorsWriter writer(path, entries);
  for (const DumpTensor& tensor : tensors) writer.append(tensor.values);
  writer.commit();
}

}  // namespace gritstone
