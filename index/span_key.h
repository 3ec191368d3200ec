// Names of KV spans: a span is addressed by everything its states depend on, so a hit can never be of another model, type or context.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/hash.h"
#include "base/kv_span.h"

namespace gritstone {

using SpanKey = Sha256Digest;

// What all spans of one use share.
struct SpanScope {
  std::string model;            // hash of the model file
  std::string tokenizer;        // Tokenizer::fingerprint()
  std::string numerics;         // Engine::numerics_id(): kernel version, ISA, compute mode, live KV type
  KvType type = KvType::kBF16;  // at rest
  bool bidirectional = false;   // attention of the pass that computed it
  std::string salt;             // of the collection: equal text of two collections shares nothing
};

// left: the span in front of this one, which its states have seen; nullptr if it starts the sequence.
SpanKey span_key(const SpanScope& scope, const SpanKey* left, std::span<const std::int32_t> ids);

}  // namespace gritstone
