#!/usr/bin/env python3
"""The service under people who leave, crowds and SIGTERM, at the sizes of a reliability test. Standard library only; outside CI.

    tests/e2e/serve_soak.py build/release/gritstone MODEL.gguf [--disconnects 200] [--overload-seconds 60] [--terminations 50]

disconnects   clients that leave in the head, in the body, in line, before the first and in the middle of a stream; at the end nothing runs,
              no slot is taken, and a request is answered as before
overload      ten clients for each slot and place in line: only 200 (whole) and 429 (with Retry-After), /health answers throughout
terminations  SIGTERM at a random moment under ten streams: exit status 0, every answer that began is whole
Exit status 1 if anything else happens. Timings are printed, never judged.
"""
import argparse
import http.client
import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

BODY = json.dumps({"messages": [{"role": "user", "content": "Tell me what a lighthouse is for."}], "max_tokens": 24, "temperature": 0, "stream": True})
failures = []


def check(condition, what):
    if not condition:
        failures.append(what)
        print(f"FAILED: {what}", flush=True)


class Server:
    def __init__(self, gritstone, model, *options):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.store = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen([gritstone, "serve", "-m", model, "--store", self.store.name, "--host", "127.0.0.1", "--port",
                                         str(self.port), "-q", *options])
        for _ in range(600):
            if self.get("/ready")[0] == 200:
                return
            time.sleep(0.05)
        raise SystemExit("the server did not become ready")

    def get(self, path):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name):
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        raise SystemExit(f"/metrics has no {name}")

    def idle(self):
        for _ in range(400):
            # The request that asks is running itself.
            if self.metric("gritstone_requests_running") <= 1 and self.metric("gritstone_slots_busy") == 0 and self.metric("gritstone_queue_length") == 0:
                return True
            time.sleep(0.05)
        return False

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        status = self.process.wait(120)
        self.store.cleanup()
        return status


def ask(port):
    """(status, text, whole, retry_after); status 0: no connection, or it ended before an answer began."""
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        connection.request("POST", "/v1/chat/completions", BODY, {"Content-Type": "application/json"})
        response = connection.getresponse()
    except OSError:
        return 0, "", True, None
    except http.client.HTTPException:
        return 0, "", True, None
    retry = response.getheader("Retry-After")
    try:
        data = response.read().decode()
    except (OSError, http.client.HTTPException):
        return response.status, "", False, retry
    if response.status != 200:
        return response.status, data, True, retry
    events = [line[6:] for line in data.splitlines() if line.startswith("data: ")]
    text = "".join(json.loads(e)["choices"][0]["delta"].get("content") or "" for e in events if e != "[DONE]" and json.loads(e).get("choices"))
    return 200, text, bool(events) and events[-1] == "[DONE]", retry


def disconnects(server, count, dice):
    expected = ask(server.port)[1]
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"

    def leave(phase):
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as peer:
            if phase == "head":
                peer.sendall(head[: dice.randrange(1, len(head) - 1)].encode())
            elif phase == "body":
                peer.sendall((head + BODY[: dice.randrange(len(BODY))]).encode())
            else:
                peer.sendall((head + BODY).encode())
                if phase == "stream":
                    peer.recv(dice.randrange(1, 2000))
                elif phase == "line":
                    time.sleep(dice.random() * 0.02)
                else:
                    time.sleep(dice.random() * 0.3)
            if dice.random() < 0.5:  # a reset instead of an orderly end
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

    phases = ["head", "body", "line", "prefill", "stream"]
    for first in range(0, count, 10):
        threads = [threading.Thread(target=leave, args=(phases[(first + i) % 5],)) for i in range(min(10, count - first))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    check(server.idle(), "after the disconnects something still runs")
    status, text, whole, _ = ask(server.port)
    check(status == 200 and whole and text == expected, "after the disconnects a request is answered otherwise")
    print(f"{count} disconnects: nothing left", flush=True)


def overload(server, seconds, clients):
    counts, lock, waits, slow = {}, threading.Lock(), [], []
    end = time.monotonic() + seconds
    expected = ask(server.port)[1]

    def crowd():
        while time.monotonic() < end:
            begin = time.monotonic()
            status, text, whole, retry = ask(server.port)
            with lock:
                counts[status] = counts.get(status, 0) + 1
                if status == 429:
                    waits.append(time.monotonic() - begin)
            check(whole, f"a torn answer with status {status}")
            check(status in (200, 429), f"status {status} under overload")
            if status == 200:
                check(text == expected, "another answer under overload")
            if status == 429:
                check(retry is not None and int(retry) >= 1, "429 without Retry-After")
                time.sleep(0.05)

    def health():
        while time.monotonic() < end:
            begin = time.monotonic()
            check(server.get("/health")[0] == 200, "/health does not answer under overload")
            slow.append(time.monotonic() - begin)
            time.sleep(0.2)

    threads = [threading.Thread(target=crowd) for _ in range(clients)] + [threading.Thread(target=health)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(server.idle(), "after the overload something still runs")
    check(counts.get(200, 0) > 0 and counts.get(429, 0) > 0, f"no overload: {counts}")
    waits.sort()
    slow.sort()
    print(f"{seconds} s of {clients} clients: {counts}; refused after {1e3 * waits[len(waits) * 99 // 100]:.0f} ms, /health after "
          f"{1e3 * slow[len(slow) * 99 // 100]:.0f} ms (99th percentile)", flush=True)


def terminations(args, count, dice):
    answered = 0
    slowest = 0.0
    for _ in range(count):
        server = Server(args.gritstone, args.model)
        results, lock = [], threading.Lock()
        stop = threading.Event()

        def stream():
            while not stop.is_set():
                result = ask(server.port)
                with lock:
                    results.append(result)
                if result[0] == 0:
                    return

        threads = [threading.Thread(target=stream) for _ in range(10)]
        for thread in threads:
            thread.start()
        time.sleep(0.1 + 1.4 * dice.random())
        begin = time.monotonic()
        status = server.end()
        slowest = max(slowest, time.monotonic() - begin)
        stop.set()
        for thread in threads:
            thread.join()
        check(status == 0, f"exit status {status} after SIGTERM under load")
        for code, _, whole, _ in results:
            check(whole, f"a torn answer (status {code}) at SIGTERM")
            check(code in (0, 200, 429, 503), f"status {code} at SIGTERM")
            answered += code == 200
    print(f"{count} SIGTERMs under load: exit 0, {answered} answers whole, slowest end {slowest:.1f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gritstone")
    parser.add_argument("model")
    parser.add_argument("--disconnects", type=int, default=200)
    parser.add_argument("--overload-seconds", type=int, default=60)
    parser.add_argument("--terminations", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    dice = random.Random(args.seed)
    server = Server(args.gritstone, args.model, "--slots", "2", "--queue", "4")
    disconnects(server, args.disconnects, dice)
    overload(server, args.overload_seconds, 60)
    check(server.end() == 0, "exit status after SIGTERM")
    terminations(args, args.terminations, dice)
    if failures:
        print(f"{len(failures)} failures")
        sys.exit(1)


if __name__ == "__main__":
    main()
