#!/usr/bin/env python3
"""Writes the tokenizer goldens of this folder: two small vocabularies trained on the sample corpus, and what Hugging Face `tokenizers` and
llama.cpp make of ordinary and nasty texts.

    python make_tokenizer_goldens.py --text-dir data/sample/docs --out tests/golden/tokenizer

Needs tokenizers, gguf and llama-cpp-python (made with 0.23.3, 0.19.0, 0.3.36; see the script that sets up the reference environment).
bpe_tokenizer.json, bpe_variants.json   byte-level BPE; the variants replace its normalizer, pre_tokenizer and ignore_merges
spm_tokenizer.json, spm_variants.json   BPE over characters with byte fallback (Llama's tokenizer.json)
spm_vocab.json                          the same pieces with SentencePiece scores, as a GGUF carries them
texts.json                              [text]
golden.json                             {variant: {"parse": [[ids] per text], "plain": {index: [ids] where it differs}}}
"""
import argparse
import json
import pathlib
import random
import tempfile

import gguf
import llama_cpp
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
MARK = "\u2581"

NASTY = [
    "", " ", "  ", "   ", "     ", "\t", "\n", "\n\n", "\r\n", " \n ", "\n  \n x", "a  b   c    d", "x  ", "  x", " \t\n\x0b\x0c\r x",
    "I'm you're he'd we'll they've it's can't I'M YOU'RE IT'S", "''s 's'", "'\u017f x'\u017f", "don\u2019t",
    "1 12 123 1234 12345", "a1b22c333", "3.14 -1e10 0xFF 1,000,000", "\u00b2\u00bd\u2167\u0663\uff11\uff12 x\u00b2",
    "   42", "\n7", "a 1  2   3", "x=1;y=[2]  # z", "!!! ??? ... --- ***\n\n", "hello!\r\n\r\nworld?\n", "a/b\\c|d", "<|user|>\nhi\n<|embed|>\n",
    "<|endoftext|>", "a<|endoftext|>b", "<|endoftext|><|padding|>", "<|endoftext|", "x <mask> y", "x  <mask>  y", "<right>   x", "wordy", " wordy ",
    "swordy wordy. wordyx", "a        b", "caf\u00e9", "cafe\u0301", "\u00e9 e\u0301 E\u0323\u0302", "\u212b \u2126 \u1e9b\u0323", "\uac00 \u1100\u1161 \u1100\u1161\u11a8",
    "\u0344 \u0340\u0341", "\ufb01 \u2460 \uff21", "\u043f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440", "\u4f60\u597d\uff0c\u4e16\u754c", "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8\u3067\u3059\u3002",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645", "\u0928\u092e\u0938\u094d\u0924\u0947", "\u05e9\u05dc\u05d5\u05dd", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1eb\U0001f1f7", "\U0001d518\U0001d52b\U0001d526",
    "\u200bzero\u200cwidth\u200d \ufeffbom", "nbsp\u00a0here\u202fthin\u3000wide", "line\u2028sep\u2029par\u0085nel", "\ufffd \uffff \U0010ffff \ue000",
    "\x00\x01\x1b[0m\x7f", "\u0000a", "a" * 100, "ab" * 60, " " * 70, "\n" * 40, "\u00e9" * 30, "\u0301" * 20, "<s>", "x</s>y", "<unk>", "<0x41>", "<0x0A>\n", MARK + "a" + MARK, " " + MARK,
    "tool<tool>tool", "a <tool> b",
]

BPE_ADDED = [
    AddedToken("<|padding|>", special=True), AddedToken("<|endoftext|>", special=True), AddedToken("  ", special=False, normalized=True),
    AddedToken("    ", special=False, normalized=True), AddedToken("<mask>", special=True, lstrip=True), AddedToken("<right>", special=False, rstrip=True),
    AddedToken("wordy", special=False, single_word=True, normalized=True), AddedToken("cafe\u0301", special=False, normalized=True),
]


def byte_level(use_regex=True, prefix=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": use_regex}


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def split(pattern):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def metaspace(scheme, cut):
    return {"type": "Metaspace", "replacement": MARK, "prepend_scheme": scheme, "split": cut}


NFC = {"type": "NFC"}
BPE_VARIANTS = {
    "gpt2": {"normalizer": None, "pre_tokenizer": byte_level()},
    "neox": {"normalizer": NFC, "pre_tokenizer": byte_level()},
    "smollm": {"normalizer": None, "pre_tokenizer": sequence({"type": "Digits", "individual_digits": True}, byte_level())},
    "llama3": {"normalizer": None, "pre_tokenizer": sequence(split(LLAMA3), byte_level(False)), "ignore_merges": True},
    "qwen2": {"normalizer": NFC, "pre_tokenizer": sequence(split(QWEN2), byte_level(False))},
    "prefix": {"normalizer": None, "pre_tokenizer": byte_level(prefix=True)},
}
REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": MARK}
SPM_VARIANTS = {
    "legacy": {"normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": MARK}, REPLACE]}, "pre_tokenizer": None},
    "first": {"normalizer": None, "pre_tokenizer": metaspace("first", False)},
    "always": {"normalizer": None, "pre_tokenizer": metaspace("always", True)},
    "gemma": {"normalizer": REPLACE, "pre_tokenizer": None},
}


def sample_texts(corpus, rng):
    texts = list(NASTY)
    for _ in range(40):
        source = rng.choice(corpus)
        begin = rng.randrange(len(source))
        texts.append(source[begin:begin + rng.choice([3, 20, 120])])
    pools = [range(0x20, 0x7f), range(0, 0x250), range(0x300, 0x370), range(0x900, 0x980), range(0x2000, 0x2070), range(0x1f600, 0x1f650), [ord(c) for c in "'stremvld SLT0123456789"]]
    for _ in range(40):
        chosen = rng.sample(pools, 2)
        texts.append("".join(chr(rng.choice(rng.choice(chosen))) for _ in range(rng.randrange(2, 25))))
    return texts


def train_bpe(files):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=1200, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<|padding|>"], show_progress=False)
    tokenizer.train(files, trainer)
    tokenizer.add_tokens(BPE_ADDED)
    return json.loads(tokenizer.to_str())


def train_spm(files):
    """Llama's layout: unknown, bos, eos, 256 bytes, pieces in order of merging, characters last."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)])
    # Words are cut for training only, as SentencePiece does, so that no piece has a mark inside.
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False, limit_alphabet=90)
    tokenizer.train(files, trainer)
    trained = json.loads(tokenizer.to_str())
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in trained["model"]["merges"]]
    characters = sorted((t for t in trained["model"]["vocab"] if len(t) == 1), key=trained["model"]["vocab"].get)
    pieces = [MARK + MARK] + ["".join(m) for m in merges if "".join(m) != MARK + MARK]
    merges = [(MARK, MARK)] + [m for m in merges if "".join(m) != MARK + MARK]
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + pieces + characters + ["<tool>"]
    types = [2, 3, 3] + [6] * 256 + [1] * (len(pieces) + len(characters)) + [4]
    scores = [0.0] * 259 + [-float(i) for i in range(len(pieces) + len(characters))] + [0.0]
    trained["model"]["vocab"] = {t: i for i, t in enumerate(tokens)}
    trained["model"]["merges"] = [list(m) for m in merges]
    added = [(0, "<unk>", True), (1, "<s>", True), (2, "</s>", True), (len(tokens) - 1, "<tool>", False)]
    trained["added_tokens"] = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": s} for i, t, s in added]
    return trained, {"tokens": tokens, "token_type": types, "scores": scores}


def hf_ids(spec, texts):
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    parse = [encode(text) for text in texts]
    tokenizer.encode_special_tokens = True
    plain = {str(i): ids for i, ids in enumerate(map(encode, texts)) if ids != parse[i]}
    return {"parse": parse, "plain": plain}


def llama_ids(vocab, texts):
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder) / "vocab.gguf")
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_tokenizer_model("llama")
        writer.add_token_list(vocab["tokens"])
        writer.add_token_scores(vocab["scores"])
        writer.add_token_types(vocab["token_type"])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_unk_token_id(0)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        model = llama_cpp.Llama(path, vocab_only=True, verbose=False)
        encode = lambda text, special: model.tokenize(text.encode(), add_bos=False, special=special) if text else []
        parse = [encode(text, True) for text in texts]
        plain = {str(i): ids for i, ids in enumerate(encode(text, False) for text in texts) if ids != parse[i]}
    return {"parse": parse, "plain": plain}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text-dir", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()
    files = sorted(str(path) for path in options.text_dir.iterdir() if path.suffix in (".md", ".txt"))
    corpus = [pathlib.Path(path).read_text(encoding="utf-8") for path in files]
    texts = sample_texts(corpus, random.Random(7))
    bpe = train_bpe(files)
    spm, spm_vocab = train_spm(files)

    golden = {}
    for name, variant in BPE_VARIANTS.items():
        spec = json.loads(json.dumps(bpe))
        spec["normalizer"], spec["pre_tokenizer"] = variant["normalizer"], variant["pre_tokenizer"]
        spec["model"]["ignore_merges"] = variant.get("ignore_merges", False)
        golden["bpe." + name] = hf_ids(spec, texts)
    for name, variant in SPM_VARIANTS.items():
        golden["spm." + name] = hf_ids({**spm, **variant}, texts)
    golden["gguf.llama"] = llama_ids(spm_vocab, texts)

    def write(name, value):
        (options.out / name).write_text(json.dumps(value, separators=(",", ":")) + "\n", encoding="utf-8")

    write("bpe_tokenizer.json", bpe)
    write("bpe_variants.json", BPE_VARIANTS)
    write("spm_tokenizer.json", spm)
    write("spm_variants.json", SPM_VARIANTS)
    write("spm_vocab.json", spm_vocab)
    write("texts.json", texts)
    write("golden.json", golden)


if __name__ == "__main__":
    main()
