// What a server is started with. The defaults are those of `gritstone serve`.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace gritstone {

struct ServerLimits {
  std::size_t head_bytes = 8192;  // request line and fields
  std::size_t head_fields = 64;
  std::chrono::milliseconds head_time{10'000};
  std::chrono::milliseconds body_time{30'000};  // plus one second for each 256 KiB
  std::chrono::milliseconds idle_time{60'000};  // between requests
  std::size_t connections = 1024;
  std::size_t connections_per_address = 64;
  std::size_t requests_per_connection = 100;
  std::size_t body_memory = std::size_t{256} << 20;  // request bodies held at a time, over all connections

  std::size_t slots = 4;   // requests that use the model at a time
  std::size_t queue = 32;  // that may wait for a slot
  std::chrono::milliseconds queue_wait{30'000};
  std::chrono::milliseconds deadline{300'000};
  std::size_t max_tokens = 4096;  // that a request may ask to be written

  std::size_t output_bytes = std::size_t{1} << 20;  // unread by a client
  std::chrono::milliseconds write_stall{20'000};
  std::chrono::milliseconds ping{15'000};  // comment in a silent event stream
  std::chrono::milliseconds drain{30'000};
};

struct ServerOptions {
  std::string host = "localhost";          // "localhost": 127.0.0.1 and ::1
  std::uint16_t port = 8080;               // 0: any free one
  std::vector<std::string> allow_hosts;    // beside localhost, 127.0.0.1, [::1] and `host`
  std::vector<std::string> allow_origins;  // "https://app.example": gets CORS headers
  std::vector<std::string> api_keys;
  std::string tls_certificate;  // PEM files; both or none
  std::string tls_key;
  ServerLimits limits;
  std::string model_alias;  // id of the model in /v1/models; empty: the file's stem

  // Defaults of answers.
  std::string reuse = "auto";
  std::string span_type = "int8";
  std::uint64_t cache_ram_bytes = std::uint64_t{1} << 30;
  std::uint64_t cache_disk_bytes = std::uint64_t{8} << 30;
};

}  // namespace gritstone
