// A service that answers, measured at the client: POST /v1/answer of `gritstone serve`, or any OpenAI-compatible chat.
#pragma once

#include <memory>

#include "apps/network.h"
#include "apps/server/client/http_client.h"

namespace gritstone {

// Every request has a connection, which is kept for the next one. The first token is the first text that came; tokens are those of `usage`,
// or, where the service does not say, the pieces that came; stages are the service's own `timings`. An answer without tokens (an
// abstention) has no first token. Throws Error(kInvalidArgument) for a bad URL or missing collection, model or questions.
std::unique_ptr<ServiceUnderLoad> make_service_under_load(const ServiceOptions& options, const ServiceClientOptions& client);

}  // namespace gritstone
