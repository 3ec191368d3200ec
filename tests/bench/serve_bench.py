#!/usr/bin/env python3
"""Latency and throughput of `gritstone serve`, from a client's side, with nothing but Python's standard library.

    tests/bench/serve_bench.py MODEL.gguf [--gritstone build/release/gritstone] [--streams 8] [--tokens 64] [--repeat 20]

Prints, each with n:
  overhead    what the server adds to the engine's own time to the first token (client's clock minus the answer's timings.ttft_ms), and the share
              of a stream's time that is not the engine's (median over the requests)
  streams     total tokens/s of N streams at once, and the ratio to one stream, measured in turns
  bulk        time to the first token of short requests, idle and while large embedding requests run, measured in turns
Figures are of this machine and model; random weights (gritstone model synth) show speed, never quality.
"""
import argparse
import http.client
import json
import re
import signal
import statistics
import subprocess
import tempfile
import threading
import time

PROMPT = "Tell me in a few sentences what a lighthouse is for and who works there."


def percentile(values, q):
    values = sorted(values)
    at = (len(values) - 1) * q
    low = int(at)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (at - low)


class Server:
    def __init__(self, gritstone, model, store, slots):
        self.process = subprocess.Popen([gritstone, "serve", "-m", model, "--store", store, "--port", "0", "--slots", str(slots)],
                                        stderr=subprocess.PIPE, text=True)
        self.port = None
        for line in self.process.stderr:
            found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
            if found:
                self.port = int(found.group(1))
            if "Ready" in line:
                break
        else:
            raise SystemExit("the server did not start")
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def stream(port, tokens, salt):
    """One streamed chat: client's seconds to the first word and to the end, tokens, the server's timings."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.connect()
    body = json.dumps({"messages": [{"role": "user", "content": PROMPT + " " + salt}], "temperature": 0, "max_tokens": tokens, "stream": True,
                       "stream_options": {"include_usage": True}})
    begin = time.perf_counter()
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    first = timings = None
    count = 0
    for line in response:
        if not line.startswith(b"data: {"):
            continue
        chunk = json.loads(line[6:])
        if chunk["choices"] and chunk["choices"][0]["delta"].get("content") and first is None:
            first = time.perf_counter() - begin
        timings = chunk.get("timings", timings)
        count = chunk["usage"]["completion_tokens"] if chunk.get("usage") else count
    total = time.perf_counter() - begin
    connection.close()
    return first, total, count, timings


def embed(port, texts, stop):
    body = json.dumps({"input": texts, "encoding_format": "base64"})
    while not stop.is_set():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        connection.request("POST", "/v1/embeddings", body, {"Content-Type": "application/json"})
        connection.getresponse().read()
        connection.close()


def overhead(port, tokens, repeat):
    added, share = [], []
    for i in range(repeat):
        first, total, _, timings = stream(port, tokens, "overhead %d" % i)
        if first is None:
            continue
        added.append(first * 1e3 - timings["ttft_ms"])
        share.append(1 - timings["total_ms"] / (total * 1e3))
    print("overhead: %.2f ms added to the first token (median; p95 %.2f), %.2f %% of a stream's time, n = %d" %
          (statistics.median(added), percentile(added, 0.95), 100 * statistics.median(share), len(added)))


def together(port, streams, tokens, salt):
    results = [None] * streams
    def run(i):
        results[i] = stream(port, tokens, "%s %d" % (salt, i))
    threads = [threading.Thread(target=run, args=(i,)) for i in range(streams)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(result[2] for result in results) / (time.perf_counter() - begin)


def throughput(port, streams, tokens, repeat):
    one, many = [], []
    for i in range(max(3, repeat // 5)):
        one.append(together(port, 1, tokens, "one %d" % i))
        many.append(together(port, streams, tokens, "many %d" % i))
    ratio = [b / a for a, b in zip(one, many)]
    print("streams: %.1f tokens/s alone, %.1f with %d at once; ratio %.2f (%.2f to %.2f), n = %d turns" %
          (statistics.median(one), statistics.median(many), streams, statistics.median(ratio), min(ratio), max(ratio), len(ratio)))


def beside_bulk(port, repeat):
    texts = [("Passage %d. " % i) + PROMPT * 6 for i in range(64)]
    idle, busy = [], []
    for turn in range(2):
        idle += [stream(port, 1, "idle %d %d" % (turn, i))[1] for i in range(repeat // 2)]
        stop = threading.Event()
        worker = threading.Thread(target=embed, args=(port, texts, stop))
        worker.start()
        time.sleep(1)
        busy += [stream(port, 1, "busy %d %d" % (turn, i))[1] for i in range(repeat // 2)]
        stop.set()
        worker.join()
    print("bulk: one-token requests take p50 %.0f, p95 %.0f ms idle, p50 %.0f, p95 %.0f ms beside embedding; p95 ratio %.2f, n = %d each" %
          (percentile(idle, 0.5) * 1e3, percentile(idle, 0.95) * 1e3, percentile(busy, 0.5) * 1e3, percentile(busy, 0.95) * 1e3,
           percentile(busy, 0.95) / percentile(idle, 0.95), len(idle)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--gritstone", default="build/release/gritstone")
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as store:
        server = Server(arguments.gritstone, arguments.model, store, arguments.streams)
        try:
            stream(server.port, 4, "warm up")
            overhead(server.port, arguments.tokens, arguments.repeat)
            throughput(server.port, arguments.streams, arguments.tokens, arguments.repeat)
            beside_bulk(server.port, arguments.repeat)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
