#include "apps/server/client/network.h"

#include "apps/server/client/remote_embedder.h"
#include "apps/server/client/service_under_load.h"

namespace gritstone {
namespace {

constexpr std::chrono::seconds kEmbedSilence{120};  // a busy CPU may embed a batch for that long
constexpr std::chrono::seconds kAnswerSilence{600};

}  // namespace

Network make_network() {
  Network network;
  network.embedder = [](const RemoteEmbedding& remote, std::size_t dim, const EmbedderAccess& access, const std::stop_token& stop) {
    RemoteEmbedding there = remote;
    if (!access.url.empty()) there.url = access.url;
    ServiceClientOptions options;
    options.silence_limit = kEmbedSilence;
    options.bearer = client_key(access.key_file, "--embedder-api-key-file", "GRITSTONE_EMBEDDER_API_KEY");
    return std::unique_ptr<Embedder>(std::make_unique<RemoteEmbedder>(there, dim, options, stop));
  };
  network.service = [](const ServiceOptions& options) {
    ServiceClientOptions client;
    client.silence_limit = kAnswerSilence;
    client.bearer = client_key(options.key_file, "--api-key-file", "GRITSTONE_API_KEY");
    return make_service_under_load(options, client);
  };
  return network;
}

}  // namespace gritstone
