#!/usr/bin/env python3
"""What the server adds to the engine, and how it shares it. Starts `gritstone serve` itself; standard library only.

  tests/bench/serve_bench.py overhead -m SmolLM2.gguf [--requests 60]
      One client, streamed chats, one after the other. Added first-token time: from sending the request to the first piece of text here,
      minus the engine's own (timings.ttft_ms of the same request). Lost speed: the time from first to last piece against the engine's
      own for the same tokens.
  tests/bench/serve_bench.py streams -m OLMOE.gguf [--streams 8] [--rounds 3]
      Tokens/s of one stream and of all together, in turns.
  tests/bench/serve_bench.py bulk -m MODEL.gguf [--requests 30]
      First-token time of short chats alone, and while another client embeds long texts without pause, in turns.

Prints one Markdown table row per measurement. Random weights show speed, never quality.
"""
import argparse
import http.client
import json
import pathlib
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
WORDS = "river stone garden winter signal harbor copper meadow lantern orchard bridge paper candle forest engine valley window market".split()


class Service:
    def __init__(self, args):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.store = tempfile.TemporaryDirectory()
        command = [args.gritstone, "serve", "-m", args.model, "--store", self.store.name, "--port", str(self.port), "-t", str(args.threads),
                   "--slots", str(args.slots), "-q"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/ready")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            if self.process.poll() is not None:
                raise SystemExit(f"gritstone serve ended with {self.process.returncode}")
            time.sleep(0.2)
        raise SystemExit("gritstone serve did not become ready")

    def stop(self):
        self.process.terminate()
        self.process.wait(60)
        self.store.cleanup()


def chat(connection, tokens, seed, words=24):
    """(first piece, last piece, pieces, timings): seconds since sending."""
    dice = random.Random(seed)
    text = " ".join(dice.choice(WORDS) for _ in range(words))
    body = json.dumps({"messages": [{"role": "user", "content": f"Tell a long story about {text}."}], "max_tokens": tokens, "seed": seed,
                       "temperature": 1.0, "stream": True, "stream_options": {"include_usage": True}})
    start = time.perf_counter()
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    if response.status != 200:
        raise SystemExit(f"{response.status}: {response.read().decode()}")
    first = last = None
    timings, usage = {}, {}
    while line := response.readline():
        if not line.startswith(b"data: {"):
            continue
        now = time.perf_counter() - start
        event = json.loads(line[6:])
        if event.get("usage"):
            usage = event["usage"]
        if "timings" in event:
            timings = event["timings"]
        if event["choices"] and event["choices"][0]["delta"].get("content"):
            first = first or now
            last = now
    response.read()
    return first, last, usage.get("completion_tokens", 0), timings


def connect(service):
    return http.client.HTTPConnection("127.0.0.1", service.port, timeout=600)


def spread(values, digits=2):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} - {max(values):.{digits}f})"


def overhead(args, service):
    connection = connect(service)
    for seed in range(3):
        chat(connection, 16, seed)
    added, lost = [], []
    for seed in range(args.requests):
        first, last, tokens, timings = chat(connection, 64, 100 + seed)
        if first is None or tokens < 16:
            continue
        added.append(1e3 * first - timings["ttft_ms"])
        lost.append(100 * (1e3 * (last - first) / timings["decode_ms"] - 1))
    print("| requests | added first-token time, ms | lost tokens/s, % |\n| --- | --- | --- |")
    print(f"| {len(added)} | {spread(added)} | {spread(lost)} |")


def run_streams(service, count, tokens, seed):
    results, threads = [], []

    def one(i):
        results.append(chat(connect(service), tokens, seed + i))

    start = time.perf_counter()
    for i in range(count):
        threads.append(threading.Thread(target=one, args=(i,)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    return sum(r[2] for r in results) / seconds


def streams(args, service):
    run_streams(service, 1, 8, 1)
    alone, together = [], []
    for number in range(args.rounds):
        alone.append(run_streams(service, 1, args.tokens, 100 * number))
        together.append(run_streams(service, args.streams, args.tokens, 100 * number + 10))
    ratio = statistics.median(together) / statistics.median(alone)
    print(f"| streams | tokens/s, prefill included | ratio |\n| --- | --- | --- |\n| 1 | {spread(alone, 1)} | 1 |")
    print(f"| {args.streams} | {spread(together, 1)} | {ratio:.2f} |")


def bulk(args, service):
    stop, busy = threading.Event(), threading.Event()
    embedded = [0]

    def embed():
        connection = connect(service)
        while not stop.is_set():
            if not busy.wait(0.05):
                continue
            texts = [" ".join(random.choice(WORDS) for _ in range(180)) for _ in range(16)]
            connection.request("POST", "/v1/embeddings", json.dumps({"input": texts, "encoding_format": "base64"}),
                               {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read())
            if response.status != 200:
                raise SystemExit(f"{response.status}: {answer}")
            embedded[0] += answer["usage"]["prompt_tokens"]

    thread = threading.Thread(target=embed, daemon=True)
    thread.start()
    connection = connect(service)
    chat(connection, 4, 1)
    idle, loaded = [], []
    for number in range(args.requests):
        idle.append(1e3 * chat(connection, 4, 1000 + number)[0])
        busy.set()
        time.sleep(1.0)
        loaded.append(1e3 * chat(connection, 4, 5000 + number)[0])
        busy.clear()
        while embedded[0] == 0:
            time.sleep(0.1)
        time.sleep(args.pause)  # the request that embeds when this one ends is still running
    stop.set()

    def p95(values):
        values = sorted(values)
        at = 0.95 * (len(values) - 1)
        low = int(at)
        return values[low] + (at - low) * (values[min(low + 1, len(values) - 1)] - values[low])

    print("| short chats | first token, ms: median | p95 | p95 / idle |\n| --- | --- | --- | --- |")
    print(f"| idle | {statistics.median(idle):.0f} | {p95(idle):.0f} | 1 |")
    print(f"| while texts are embedded | {statistics.median(loaded):.0f} | {p95(loaded):.0f} | {p95(loaded) / p95(idle):.2f} |")
    print(f"\n{embedded[0]} tokens were embedded meanwhile.", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("overhead", "streams", "bulk"))
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("--gritstone", default=str(ROOT / "build" / "release" / "gritstone"))
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=48, help="of each stream")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pause", type=float, default=3.0, help="seconds in which a started embedding request ends")
    args = parser.parse_args()
    args.slots = max(4, args.streams)
    service = Service(args)
    try:
        {"overhead": overhead, "streams": streams, "bulk": bulk}[args.what](args, service)
    finally:
        service.stop()


if __name__ == "__main__":
    main()
