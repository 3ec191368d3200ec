"""llama.cpp as a reference, through llama-cpp-python's ctypes API: token ids in, logits out."""
import ctypes

import llama_cpp as lc
import numpy as np

_silence = lc.llama_log_callback(lambda level, text, data: None)


class LlamaReference:
    """One GGUF on the CPU with llama.cpp's defaults: f16 KV, flash attention on auto."""

    def __init__(self, path, context=512, threads=2):
        lc.llama_log_set(_silence, ctypes.c_void_p(0))
        lc.llama_backend_init()
        params = lc.llama_model_default_params()
        params.n_gpu_layers = 0
        self.model = lc.llama_model_load_from_file(str(path).encode(), params)
        if not self.model:
            raise SystemExit(f"llama.cpp cannot load {path}")
        self.vocab = lc.llama_model_get_vocab(self.model)
        self.vocab_size = lc.llama_vocab_n_tokens(self.vocab)
        params = lc.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = context
        params.n_threads = params.n_threads_batch = threads
        self.context = lc.llama_init_from_model(self.model, params)
        if not self.context:
            raise SystemExit(f"llama.cpp cannot make a context of {context} for {path}")
        self.batch = lc.llama_batch_init(context, 0, 1)

    def close(self):
        lc.llama_batch_free(self.batch)
        lc.llama_free(self.context)
        lc.llama_model_free(self.model)

    def adds_bos(self):
        return bool(lc.llama_vocab_get_add_bos(self.vocab))

    def bos(self):
        return lc.llama_vocab_bos(self.vocab)

    def tokenize(self, text):
        """Ids of UTF-8 bytes; nothing added, special tokens not parsed."""
        capacity = len(text) + 16
        buffer = (lc.llama_token * capacity)()
        count = lc.llama_tokenize(self.vocab, text, len(text), buffer, capacity, False, False)
        if count < 0:
            raise SystemExit(f"llama.cpp could not tokenize {len(text)} bytes")
        return list(buffer[:count])

    def logits(self, ids, first=0):
        """f32 [len(ids) - first, vocabulary]: causal logits after each token from `first` on, on an empty cache."""
        lc.llama_memory_clear(lc.llama_get_memory(self.context), True)
        for i, token in enumerate(ids):
            self.batch.token[i] = token
            self.batch.pos[i] = i
            self.batch.n_seq_id[i] = 1
            self.batch.seq_id[i][0] = 0
            self.batch.logits[i] = i >= first
        self.batch.n_tokens = len(ids)
        if lc.llama_decode(self.context, self.batch) != 0:
            raise SystemExit("llama_decode failed")
        rows = len(ids) - first
        pointer = lc.llama_get_logits(self.context)
        return np.ctypeslib.as_array(pointer, shape=(rows, self.vocab_size)).copy()
