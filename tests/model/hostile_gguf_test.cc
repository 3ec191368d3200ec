// GGUF files made to break a reader: each must end in Error(kModelRejected) that says where, quickly and without reading out of bounds
// (the sanitizer build checks the latter). Shapes of published faults in other readers are named beside their cases.
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <limits>
#include <random>

#include "model/files/gguf_config.h"
#include "model/files/gguf_model.h"
#include "model/files/gguf_reader.h"
#include "tests/base/expect_error.h"
#include "tests/base/temp_directory.h"
#include "tests/model/gguf_bytes.h"
#include "tests/model/micro_model.h"

namespace gritstone {
namespace {

// All that opening a model does with the bytes, but for the mapping; returns "" or the error.
std::string open_bytes(const std::vector<std::uint8_t>& bytes) {
  // An exact copy on the heap, so that a read past the end is one past an allocation.
  const std::vector<std::uint8_t> exact(bytes.begin(), bytes.end());
  try {
    const GgufFile file(exact, "hostile");
    const ModelConfig config = gguf_config(file, "hostile");
    check_tensors(config, gguf_tensors(file), "hostile");
    if (file.find("tokenizer.ggml.model") != nullptr) gguf_vocab(file, "hostile");
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error_name(error.code()), error_name(ErrorCode::kModelRejected)) << error.what();
    return error.what();
  }
}

struct Case {
  const char* name;
  std::function<GgufBytes()> make;
  const char* message;  // part of the error
};

// A file of one tensor, for faults of the tensor table.
GgufBytes with_info(const std::vector<std::uint64_t>& dims, std::uint32_t type, std::uint64_t offset, std::size_t data = 256) {
  GgufBytes b;
  b.info("t", dims, type, offset);
  b.data.resize(data);
  return b;
}

GgufBytes llama_with(const std::function<void(GgufBytes&)>& change) {
  GgufBytes b = llama_bytes();
  change(b);
  return b;
}

// llama_bytes() with one of its keys changed to another value.
GgufBytes llama_key(const char* key, std::uint32_t replacement) {
  GgufBytes b = llama_bytes();
  const std::string needle(key);
  const auto at = std::search(b.metadata.begin(), b.metadata.end(), needle.begin(), needle.end());
  std::memcpy(&*at + needle.size() + 4, &replacement, 4);
  return b;
}

const Case kCases[] = {
    // Head
    {"magic", [] { return llama_with([](GgufBytes& b) { b.magic = 0x47475546; }); }, "not a GGUF file"},
    {"version 1", [] { return llama_with([](GgufBytes& b) { b.version = 1; }); }, "version 1"},
    {"version 4", [] { return llama_with([](GgufBytes& b) { b.version = 4; }); }, "version 4"},
    {"big-endian", [] { return llama_with([](GgufBytes& b) { b.version = 0x03000000; }); }, "big-endian"},
    // CVE-2024-21802, CVE-2024-23605: counts that overflow an allocation
    {"2^63 tensors", [] { return llama_with([](GgufBytes& b) { b.n_tensors = std::uint64_t{1} << 63; }); }, "tensors, the limit"},
    {"2^64-1 keys", [] { return llama_with([](GgufBytes& b) { b.n_metadata = ~std::uint64_t{0}; }); }, "metadata keys, the limit"},
    {"one key too many", [] { return llama_with([](GgufBytes& b) { ++b.n_metadata; }); }, "hostile"},
    {"one key too few", [] { return llama_with([](GgufBytes& b) { --b.n_metadata; }); }, "hostile"},
    {"one tensor too many", [] { return llama_with([](GgufBytes& b) { ++b.n_tensors; }); }, "hostile"},
    {"empty model", [] { return GgufBytes(); }, "general.architecture"},
    // Metadata
    {"key length 2^64-1",
     [] {
       GgufBytes b;
       GgufBytes::put(b.metadata, ~std::uint64_t{0});
       b.n_metadata = 1;
       return b;
     },
     "metadata key has 18446744073709551615 bytes"},
    {"string length 2^64-1",  // CVE-2024-23496: length + 1 wraps to 0
     [] {
       GgufBytes b;
       b.key("k", 8);
       GgufBytes::put(b.metadata, ~std::uint64_t{0});
       return b;
     },
     "metadata string has"},
    {"string longer than the file",
     [] {
       GgufBytes b;
       b.key("k", 8);
       GgufBytes::put(b.metadata, std::uint64_t{1000});
       return b;
     },
     "needs 1000 bytes"},
    {"unknown metadata type", [] { return GgufBytes().value("k", 13, 0u); }, "unknown metadata type 13"},
    {"duplicate key", [] { return llama_with([](GgufBytes& b) { b.u32("llama.block_count", 2); }); }, "llama.block_count appears twice"},
    {"bool of 2", [] { return GgufBytes().value("k", 7, std::uint8_t{2}); }, "neither 0 nor 1"},
    {"array of arrays", [] { return GgufBytes().array("k", 9, 1); }, "nested"},
    {"array of unknown type", [] { return GgufBytes().array("k", 99, 1); }, "unknown metadata type 99"},
    {"array count times size overflows",  // CVE-2025-53630, CVE-2026-27940
     [] { return GgufBytes().array("k", 12, (std::uint64_t{1} << 61) + 1); }, "metadata array of"},
    {"array longer than the file", [] { return GgufBytes().array("k", 4, 1 << 20); }, "needs 4194304 bytes"},
    {"string array longer than the file", [] { return GgufBytes().array("k", 8, 1 << 20); }, "does not fit"},
    {"vocabulary of numbers",  // #26690: element type not checked before use
     [] {
       return llama_with([](GgufBytes& b) {
         b.text("tokenizer.ggml.model", "gpt2").array("tokenizer.ggml.tokens", 4, 2);
         GgufBytes::put(b.metadata, std::uint64_t{0x4141414141414141});
       });
     },
     "tokenizer.ggml.tokens is array of uint32"},
    {"scores of strings",
     [] {
       return llama_with([](GgufBytes& b) {
         b.text("tokenizer.ggml.model", "llama").array("tokenizer.ggml.scores", 8, 1);
         GgufBytes::put_text(b.metadata, "x");
       });
     },
     "tokenizer.ggml.scores is array of string"},
    {"token types that are no array",
     [] { return llama_with([](GgufBytes& b) { b.text("tokenizer.ggml.model", "gpt2").u32("tokenizer.ggml.token_type", 1); }); },
     "tokenizer.ggml.token_type is uint32"},
    {"architecture is a number", [] { return GgufBytes().u32("general.architecture", 1); }, "general.architecture is uint32"},
    // Alignment
    {"alignment 0", [] { return llama_with([](GgufBytes& b) { b.u32("general.alignment", 0); }); }, "power of two"},
    {"alignment 24", [] { return llama_with([](GgufBytes& b) { b.u32("general.alignment", 24); }); }, "power of two"},
    {"alignment 4", [] { return llama_with([](GgufBytes& b) { b.u32("general.alignment", 4); }); }, "power of two"},
    {"alignment 2^31", [] { return llama_with([](GgufBytes& b) { b.u32("general.alignment", 1u << 31); }); }, "power of two"},
    {"alignment is a string", [] { return llama_with([](GgufBytes& b) { b.text("general.alignment", "xx"); }); },
     "general.alignment is string"},
    // Tensor table
    {"no dimensions", [] { return with_info({}, 0, 0); }, "0 dimensions"},
    {"five dimensions",
     [] {
       return with_info({1, 1, 1, 1, 1}, 0, 0);
     },
     "5 dimensions"},
    {"2^32-1 dimensions",
     [] {
       GgufBytes b;
       GgufBytes::put_text(b.infos, "t");
       GgufBytes::put(b.infos, 0xFFFFFFFFu);
       b.n_tensors = 1;
       return b;
     },
     "dimensions"},
    {"dimension 0",
     [] {
       return with_info({0, 4}, 0, 0);
     },
     "dimension of 0"},
    {"dimension 2^40", [] { return with_info({std::uint64_t{1} << 40}, 0, 0); }, "dimension of"},
    {"product overflows",
     [] {
       return with_info({1u << 31, 1u << 31, 1u << 31, 2}, 0, 0);
     },
     "64 bits"},
    {"size overflows",
     [] {
       return with_info({1u << 31, 1u << 31, 2}, 0, 0);
     },
     "too large"},  // CVE-2026-33298: elements fit, bytes do not
    {"removed type", [] { return with_info({32}, 4, 0); }, "type 4"},
    {"type 2^32-1", [] { return with_info({32}, 0xFFFFFFFF, 0); }, "type 4294967295"},
    {"IQ4_XS", [] { return with_info({256}, 23, 0); }, "type 23"},
    {"blocks cut",
     [] {
       return with_info({48, 2}, 8, 0);
     },
     "not a multiple of 32"},
    {"super-blocks cut",
     [] {
       return with_info({128, 2}, 12, 0);
     },
     "not a multiple of 256"},
    {"offset not aligned", [] { return with_info({4}, 0, 16); }, "not a multiple of 32"},
    {"offset behind the file", [] { return with_info({4}, 0, 1024); }, "of the data"},
    {"offset wraps", [] { return with_info({64}, 0, ~std::uint64_t{0} - 31); }, "of the data"},
    {"tensor larger than the file", [] { return with_info({65}, 0, 0); }, "of the data"},  // CVE-2026-7482: declared size beyond the file
    {"overlap",
     [] {
       GgufBytes b = with_info({16}, 0, 0);
       return b.info("u", {4}, 0, 32);
     },
     "overlap"},
    {"same place",
     [] {
       GgufBytes b = with_info({4}, 0, 32);
       return b.info("u", {4}, 0, 32);
     },
     "overlap"},
    {"duplicate tensor", [] { return llama_with([](GgufBytes& b) { b.tensor("output_norm.weight", {8}); }); },
     "output_norm.weight appears twice"},
    {"nameless tensor", [] { return GgufBytes().info("", {4}, 0, 0); }, "no name"},
    {"control characters in a name", [] { return GgufBytes().info("a\x1b[2J\n", {4}, 99, 0); }, "tensor a?[2J?"},
    // Hyperparameters against tensors
    {"unknown architecture", [] { return GgufBytes().text("general.architecture", "gpt-j"); }, "\"gpt-j\" is not supported"},
    {"missing key", [] { return GgufBytes().text("general.architecture", "llama"); }, "llama.block_count is missing"},
    {"no layers", [] { return llama_key("llama.block_count", 0); }, "number of layers is 0"},
    {"2^32-1 layers", [] { return llama_key("llama.block_count", 0xFFFFFFFF); }, "number of layers"},
    {"513 layers", [] { return llama_key("llama.block_count", 513); }, "blk.1.attn_norm.weight is missing"},  // #25821: fixed array of 512
    {"no heads", [] { return llama_key("llama.attention.head_count", 0); }, "number of heads is 0"},
    {"heads do not fit", [] { return llama_key("llama.attention.head_count", 3); }, "cannot be split into 3 heads"},
    {"wrong hidden size", [] { return llama_key("llama.embedding_length", 16); }, "token_embd.weight has shape [5, 8]"},
    {"wrong FFN width", [] { return llama_key("llama.feed_forward_length", 17); }, "ffn_gate.weight has shape [16, 8]"},
    {"no context", [] { return llama_key("llama.context_length", 0); }, "context length is 0"},
    {"epsilon NaN", [] { return llama_key("llama.attention.layer_norm_rms_epsilon", 0x7FC00000); }, "epsilon"},
    {"key-value heads do not divide", [] { return llama_with([](GgufBytes& b) { b.u32("llama.attention.head_count_kv", 3); }); },
     "key-value heads"},
    {"fewer key-value heads than rows", [] { return llama_with([](GgufBytes& b) { b.u32("llama.attention.head_count_kv", 1); }); },
     "attn_k.weight has shape [8, 8]"},
    {"heads per layer",
     [] {
       return llama_with([](GgufBytes& b) {
         b.array("llama.attention.head_count_kv", 4, 1);
         GgufBytes::put(b.metadata, 2u);
       });
     },
     "differs from layer to layer"},
    {"RoPE over a part", [] { return llama_with([](GgufBytes& b) { b.u32("llama.rope.dimension_count", 2); }); }, "RoPE over 2 of 4"},
    {"RoPE base infinite",
     [] { return llama_with([](GgufBytes& b) { b.f32("llama.rope.freq_base", std::numeric_limits<float>::infinity()); }); }, "RoPE base"},
    {"RoPE scaling",
     [] { return llama_with([](GgufBytes& b) { b.text("llama.rope.scaling.type", "yarn").f32("llama.rope.scaling.factor", 4.0f); }); },
     "RoPE scaling (yarn"},
    {"RoPE factors",
     [] {
       return llama_with([](GgufBytes& b) {
         b.tensor("rope_freqs.weight", {2});
         const float two = 2.0f;
         std::memcpy(b.data.data() + b.data.size() - 4, &two, 4);
       });
     },
     "rope_freqs.weight"},
    {"Mixtral", [] { return llama_with([](GgufBytes& b) { b.u32("llama.expert_count", 8); }); }, "Mixtral"},
    {"split file", [] { return llama_with([](GgufBytes& b) { b.value("split.count", 2, std::uint16_t{3}); }); }, "split model"},
    {"bias", [] { return llama_with([](GgufBytes& b) { b.tensor("blk.0.attn_q.bias", {8}); }); }, "biases"},
    {"tensor of another layer", [] { return llama_with([](GgufBytes& b) { b.tensor("blk.1.attn_norm.weight", {8}); }); },
     "blk.1.attn_norm.weight"},
    {"unknown block tensor", [] { return llama_with([](GgufBytes& b) { b.tensor("blk.0.attn_sinks.weight", {8}); }); },
     "not part of the architecture"},
};

TEST(HostileGguf, EveryCaseIsRejectedWithItsReason) {
  for (const Case& c : kCases) {
    const auto start = std::chrono::steady_clock::now();
    const std::string message = open_bytes(c.make().bytes());
    EXPECT_THAT(message, ::testing::HasSubstr(c.message)) << c.name;
    EXPECT_EQ(message.find('\n'), std::string::npos) << c.name;
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1)) << c.name;
  }
  EXPECT_EQ(open_bytes(llama_bytes().bytes()), "") << "the file that the cases start from must be good";
}

TEST(HostileGguf, TruncationAnywhereIsRejected) {
  const std::vector<std::uint8_t> whole = llama_bytes().bytes();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::vector<std::uint8_t> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    ASSERT_NE(open_bytes(cut), "") << size << " of " << whole.size() << " bytes";
  }
}

TEST(HostileGguf, RandomDamageNeverDoesMoreThanReject) {
  const TempDirectory directory;
  write_micro_gguf(directory / "m.gguf", micro_config(Architecture::kOlmoe), DType::kQ8_0);
  const std::vector<std::uint8_t> good = file_bytes(directory / "m.gguf");
  const std::size_t head = 3000;  // metadata and tensor table; damage to weights is not detectable
  std::mt19937_64 random(3);
  int rejected = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::uint8_t> bad = good;
    for (std::uint64_t n = 1 + random() % 3; n > 0; --n) {
      const std::size_t at = random() % head;
      switch (random() % 3) {
        case 0:
          bad[at] = static_cast<std::uint8_t>(bad[at] ^ (1u << random() % 8));
          break;
        case 1: {
          const std::uint64_t values[] = {0, 1, 0x7FFFFFFF, 0xFFFFFFFF, std::uint64_t{1} << 63, ~std::uint64_t{0}};
          std::memcpy(&bad[at], &values[random() % 6], random() % 2 == 0 ? 4 : 8);
          break;
        }
        default:
          bad.erase(bad.begin() + static_cast<std::ptrdiff_t>(at), bad.begin() + static_cast<std::ptrdiff_t>(at + random() % 16));
      }
    }
    rejected += open_bytes(bad).empty() ? 0 : 1;
  }
  EXPECT_GT(rejected, 1500);  // the rest hit names, texts and padding
}

TEST(HostileGguf, ManyTensorsAreCheckedInLinearTime) {
  // Quadratic duplicate checks take minutes here.
  GgufBytes b;
  for (int i = 0; i < 16384; ++i) b.info("tensor." + std::to_string(i), {8}, 0, static_cast<std::uint64_t>(i) * 32);
  b.data.resize(16384 * 32);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_THAT(open_bytes(b.bytes()), ::testing::HasSubstr("general.architecture"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
}

}  // namespace
}  // namespace gritstone
