#!/usr/bin/env bash
# The model commands on tiny models: what they print, that it does not depend on threads, and that broken files are refused.
source "$(dirname "$0")/lib.sh" "$@"

run 0 model synth --like tiny --type f16 --seed 3 -o tiny.gguf --json
check 'd["bytes"] > 0 and d["path"] == "tiny.gguf"'
run 0 model synth --like tiny --type f16 --seed 3 -o again.gguf
same tiny.gguf again.gguf
run 0 model synth --like tiny --type f16 --seed 4 -o other.gguf
cmp -s tiny.gguf other.gguf && die "another seed gave the same file"
export GRITSTONE_MODEL=$work/tiny.gguf

run 0 model show --json
check 'd["config"]["architecture"] == "olmoe" and d["config"]["experts"] == 8 and d["config"]["experts_used"] == 2'
check 'd["active_parameters"] < d["parameters"]'
run 0 model show --tensors --json
check 'len(d["tensors"]) == d["tensor_count"] and all(t["bytes"] > 0 for t in d["tensors"])'

# Text to ids and back, byte for byte.
printf 'Hello, world! caf\xc3\xa9 \xe6\xbc\xa2 \xf0\x9f\x98\x80\ttab\n' >text
run 0 tokenize -f text --json
check 'len(d["ids"]) > 0'
# shellcheck disable=SC2046
run 0 tokenize --decode $(value '" ".join(map(str, d["ids"]))') --json
check 'd["text"] == open("text", encoding="utf-8", newline="").read()'
run 1 tokenize --decode 99999999
run 1 tokenize --decode -- -5
run 1 tokenize one two

# The same answer with one thread and with two, in a batch or alone.
run 0 generate -p "Once upon a time" -n 12 --json -t 1
check 'd["finish_reason"] in ("stop", "length") and d["usage"]["completion_tokens"] <= 12'
check 'd["usage"]["total_tokens"] == d["usage"]["prompt_tokens"] + d["usage"]["completion_tokens"]'
check 'd["timings"]["ttft_ms"] > 0 and d["timings"]["total_ms"] >= d["timings"]["ttft_ms"]'
value '(d["ids"], d["text"])' >one
run 0 generate -p "Once upon a time" -n 12 --json -t 2
value '(d["ids"], d["text"])' >two
same one two
run 0 generate -p "Once upon a time" -n 12 --temp 0.9 --seed 5 --json
value 'd["ids"]' >one
run 0 generate -p "Once upon a time" -n 12 --temp 0.9 --seed 5 --json
value 'd["ids"]' >two
same one two
run 0 generate --raw --ignore-eos -p "Once" -n 7 --json
check 'len(d["ids"]) == 7 and d["finish_reason"] == "length"'
run 1 generate -p x --temp -1
run 1 generate -p x -n 100000000
run 1 generate

run 0 embed "a cat" "a dog sat" --json
check 'd["dim"] == len(d["embeddings"][0]) and len(d["embeddings"]) == 2 and len(d["tokens"]) == 2 and d["truncated"] == 0'
check 'all(abs(sum(x * x for x in row) - 1) < 1e-4 for row in d["embeddings"])'
cp out both
run 0 embed "a dog sat" --json -t 1
check 'd["embeddings"][0] == json.load(open("both"))["embeddings"][1]'
printf 'a cat\na dog sat\n' >lines
run 0 embed -f lines --json
check 'd["embeddings"] == json.load(open("both"))["embeddings"]'
run 0 embed --role query --instruction "Find it" --pooling mean --attention bidirectional --embed-layer 1 "a cat" --json
check 'd["embeddings"][0] != json.load(open("both"))["embeddings"][0]'
run 1 embed x --pooling nonsense
run 1 embed x --embed-layer 99

# Random weights are about as good as none: perplexity near the size of the vocabulary, and the same for every number of threads.
for i in $(seq 300); do echo "Line $i of a text that is long enough for two windows."; done >long
run 0 perplexity -f long --ctx 128 --json -t 1
check 'd["perplexity"] > 50 and d["tokens"] == d["windows"] * 63 and d["windows"] > 2'
value 'd["nll"]' >one
run 0 perplexity -f long --ctx 128 --json -t 2
value 'd["nll"]' >two
same one two
run 1 perplexity -f long --ctx 1000000
run 1 perplexity -f missing

run 0 model forward --ids 5,7,9 -o dump.safetensors --json
check '"hidden.0" in d["tensors"] and "hidden.norm" in d["tensors"] and "router.1" in d["tensors"] and "logits" in d["tensors"]'
python3 - <<'PY' || die "the dump is no safetensors file of three rows"
import json, struct
data = open("dump.safetensors", "rb").read()
size = struct.unpack("<Q", data[:8])[0]
header = json.loads(data[8:8 + size])
header.pop("__metadata__", None)
assert all(t["dtype"] == "F32" and t["shape"][0] == 3 for t in header.values()), header
assert max(t["data_offsets"][1] for t in header.values()) + 8 + size == len(data)
router = header["router.0"]["data_offsets"]
values = struct.unpack("<%df" % ((router[1] - router[0]) // 4), data[8 + size + router[0]:8 + size + router[1]])
width = header["router.0"]["shape"][1]
for row in range(3):
    assert abs(sum(values[row * width:(row + 1) * width]) - 1) < 1e-5
PY
run 1 model forward --ids 5,99999999 -o x.safetensors
run 1 model forward --ids 5,x -o x.safetensors
run 5 model forward --ids 5 -o no/such/directory/x.safetensors

for type in q8_0 q4_k; do
  run 0 model quantize tiny.gguf --type $type -o $type.gguf --json
  check 'd["bytes"] < d["source_bytes"]'
  run 0 generate -p "Once upon a time" -n 3 -m $type.gguf --json
done
run 1 model quantize tiny.gguf --type q99 -o x.gguf
run 1 model quantize tiny.gguf -o tiny.gguf

run 0 bench --prefill 8 --decode 4 --embed 8 --depth 0,16 --repeat 2 --json
check '[r["test"] for r in d["rows"]] == ["pp8", "embed8", "tg4", "tg4@16"]'
check 'all(r["tokens_per_s"] > 0 and r["limit"] in ("memory", "compute") and 0 < r["fraction"] < 10 for r in d["rows"])'

# Broken files: status 6, one line that names the file.
size=$(stat -c %s tiny.gguf)
for bytes in 0 3 10 100 1000 $((size / 2)) $((size - 1)); do
  head -c "$bytes" tiny.gguf >cut.gguf
  run 6 model show -m cut.gguf
  says err 'cut.gguf'
done
head -c 100000 /dev/urandom >noise.gguf
run 6 generate -p x -m noise.gguf
mkdir -p hf
cp "$source_tree"/tests/golden/parity/olmoe_plain_bf16/* hf/
run 0 model show -m hf --json
check 'd["config"]["architecture"] == "olmoe"'
echo '{"model_type": "olmoe"' >hf/config.json
run 6 model show -m hf
cp "$source_tree"/tests/golden/parity/olmoe_plain_bf16/config.json hf/
head -c 300 "$source_tree"/tests/golden/parity/olmoe_plain_bf16/model.safetensors >hf/model.safetensors
run 6 generate -p x -m hf
cp "$source_tree"/tests/golden/parity/olmoe_plain_bf16/model.safetensors hf/
echo '{' >hf/tokenizer.json
run 6 tokenize x -m hf
mkfifo pipe.gguf
run 6 model show -m pipe.gguf
done_all
