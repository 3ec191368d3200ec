#!/usr/bin/env python3
"""Drives the web page of a real `gritstone serve` in Chromium: upload, ask, stream, citations, cancel, search, delete, API key.

  tests/e2e/web_page.py --gritstone build/release/gritstone --model MODEL.gguf [--screenshots DIR] [--chromium /usr/bin/chromium]

Needs Playwright (PyPI) for the interpreter and Debian's `chromium`; not part of CI. The model must be able to repeat a fact from a passage
(SmolLM2-135M-Instruct is enough). Everything happens in temporary folders and on loopback. Also checks, in every state that it passes:
no violation of the content policy, no request to another origin, no script error, no sideways scrolling, contrast of text at least 4.5:1.
Exit status 1 if a check failed; the last line counts.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from playwright.sync_api import expect, sync_playwright

from web_page_snippets import CONTRAST, FIRSTS, WATCH

HERE = pathlib.Path(__file__).resolve().parent
KEY = "a-key-for-this-test-only"
# Characters of two, three and four bytes stand before the facts, so that a byte offset is no character offset.
NOTES = """# Harbour notes – Skärnholm

Über die Brücke: naïve façade, 日本語, 🎉🎉.

The lighthouse keeper of Skärnholm is Ragnhild Østerdal. The lighthouse of Skärnholm was built in 1874.

## Ferry

The ferry to Skärnholm leaves at 07:40 from pier four. <img src=x onerror="alert(1)"> ![x](https://evil.example/x.png)
"""
QUESTIONS = ["Who is the lighthouse keeper of Skärnholm?", "When was the lighthouse of Skärnholm built?",
             "When does the ferry to Skärnholm leave?"]

checks = failures = 0


def check(name, ok, shown=""):
    global checks, failures
    checks += 1
    if not ok:
        failures += 1
        print(f"FAILED: {name}: {shown}" if shown != "" else f"FAILED: {name}")
    return ok


class Server:
    """One `gritstone serve` on a free port; `url` once it listens, `stop()` at the end."""

    def __init__(self, args, store, key=None):
        env = {k: v for k, v in os.environ.items() if not k.startswith("GRITSTONE_")}
        if key:
            env["GRITSTONE_API_KEY"] = key
        command = [args.gritstone, "serve", "-m", args.model, "--store", store, "--port", "0"]
        self.log = []
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, env=env, text=True)
        self.url = None
        for line in self.process.stderr:
            self.log.append(line)
            found = re.search(r"Listening on (http://127\.0\.0\.1:\d+)", line)
            if found:
                self.url = found[1]
                break
        if not self.url:
            sys.exit("gritstone serve did not start:\n" + "".join(self.log))
        # Nobody else reads the log; a full pipe would stop the server.
        os.set_blocking(self.process.stderr.fileno(), False)

    def wait_ready(self):
        for _ in range(600):
            try:
                with urllib.request.urlopen(self.url + "/health") as reply:
                    if reply.status == 200:
                        return
            except OSError:
                pass
            time.sleep(0.2)
        sys.exit("the model was not loaded within two minutes")

    def get(self, path, headers=None):
        request = urllib.request.Request(self.url + path, headers=headers or {})
        try:
            with urllib.request.urlopen(request) as reply:
                return reply.status, dict(reply.headers), reply.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()

    def stop(self):
        self.process.terminate()
        try:
            status = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = "killed after 60 s"
        check("the server ends with status 0", status == 0, status)


class Page:
    """A browser page that keeps watch over what must never happen."""

    def __init__(self, browser, server, args, name, width, height, theme):
        self.context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme, has_touch=width < 700)
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.server, self.args, self.name, self.width = server, args, name, width
        self.errors, self.foreign = [], []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.foreign.append(request.url) if not request.url.startswith(server.url + "/") else None)
        self.page.add_init_script(f"({WATCH})()")

    def open(self, fragment=""):
        self.page.goto(self.server.url + "/" + fragment)

    def ask(self, question):
        self.page.fill("#question", question)
        self.page.press("#question", "Enter")

    def state(self, name):
        """Checks the state the page is in, and keeps a picture of it if asked to."""
        label = f"{self.name}, {name}"
        over = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        check(f"{label}: no sideways scrolling", over <= 0, f"{over} pixels")
        low = self.page.evaluate(CONTRAST)
        check(f"{label}: contrast", low == [], low)
        if self.args.screenshots:
            self.page.screenshot(path=pathlib.Path(self.args.screenshots) / f"{self.name}-{name}.png")

    def close(self):
        violations = self.page.evaluate("window.violations")
        check(f"{self.name}: no violation of the content policy", violations == [], violations)
        check(f"{self.name}: no request elsewhere", self.foreign == [], self.foreign)
        check(f"{self.name}: no script error", self.errors == [], self.errors)
        self.context.close()


def check_files(server):
    """The static files: types, policy, revalidation; no key is asked for."""
    types = {"/": "text/html", "/app.js": "text/javascript", "/style.css": "text/css", "/vendor/marked.js": "text/javascript",
             "/vendor/purify.js": "text/javascript", "/favicon.svg": "image/svg+xml"}
    for path, kind in types.items():
        status, headers, body = server.get(path)
        check(f"{path}: status and type", status == 200 and headers["Content-Type"].startswith(kind) and body, (status, headers))
        check(f"{path}: policy", "default-src 'none'" in headers.get("Content-Security-Policy", ""), headers)
        check(f"{path}: nosniff", headers.get("X-Content-Type-Options") == "nosniff", headers)
        check(f"{path}: no referrer", headers.get("Referrer-Policy") == "no-referrer", headers)
        status, _, body = server.get(path, {"If-None-Match": f'"other", W/{headers["ETag"]}'})
        check(f"{path}: unchanged is 304 without a body", status == 304 and body == b"", (status, body[:100]))
        status, _, _ = server.get(path, {"If-None-Match": '"other"'})
        check(f"{path}: another tag gets the file", status == 200, status)


def drop(page, name, text):
    """Lets a file fall onto the page."""
    data = page.evaluate_handle("""([name, text]) => { const d = new DataTransfer();
        d.items.add(new File([text], name, {type: 'text/markdown'})); return d; }""", [name, text])
    page.dispatch_event("body", "dragenter", {"dataTransfer": data})
    expect(page.locator(".drop-veil")).to_be_visible()
    page.dispatch_event("body", "drop", {"dataTransfer": data})
    expect(page.locator(".drop-veil")).to_be_hidden()


def make_collection(view, name):
    page = view.page
    page.click("#new-collection")
    page.fill("#name-input", name)
    view.state("new-collection")
    page.press("#name-input", "Enter")
    expect(page.locator("#documents-title")).to_have_text(name)
    expect(page.locator("#files-empty")).to_be_visible()


def upload(view):
    page = view.page
    drop(page, "harbour notes.md", NOTES)
    expect(page.locator(".row.file.completed .row-name")).to_have_text("harbour notes.md", timeout=60_000)
    page.set_input_files("#file-input", [{"name": "empty.md", "mimeType": "text/markdown", "buffer": b""}])
    expect(page.locator(".row.upload.failed")).to_contain_text("empty")
    view.state("documents")
    page.focus(".skip")
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    expect(page.locator("#view-documents")).to_be_visible()
    page.click(".row.upload.failed button:has-text('Dismiss')")
    expect(page.locator(".row.upload.failed")).to_have_count(0)


def check_answer(view):
    """Asks until an answer cites; then everything that belongs to an answer must be there."""
    page = view.page
    page.keyboard.press("/")
    expect(page.locator("#question")).to_be_focused()
    cited = False
    for question in QUESTIONS:
        page.evaluate(FIRSTS)
        view.ask(question)
        expect(page.locator("#current .question")).to_have_text(question)
        expect(page.locator("#current .latency")).to_be_visible(timeout=120_000)
        firsts = page.evaluate("window.firsts")
        check("sources stand before the first text", 0 < firsts.get("source", 0) <= firsts.get("text", 1e18), firsts)
        summary = page.locator("#current .latency-summary").inner_text()
        check("first token and total in numbers", re.search(r"First token after [\d.]+ m?s · total [\d.]+ m?s", summary), summary)
        stages = page.locator("#current .stages .stage-name").all_inner_texts()
        check("stages of the bar", {"bm25", "prefill", "decode"} <= set(stages), stages)
        reuse = page.locator("#current .reuse").inner_text()
        check("reuse in numbers", re.search(r"\d+ of [\d,]+ prompt tokens reused \(policy \w+", reuse), reuse)
        cited = page.locator("#current .answer .cite").count() > 0
        if cited:
            break
    if not check("one of the questions is answered with a citation", cited):
        view.state("answer")
        return
    view.state("answer")
    page.locator("#current .answer .cite").first.click()
    mark = page.locator("#panel .passage-text mark").first
    expect(mark).to_be_visible()
    quote = mark.inner_text()
    check("the highlighted words are the document's", " ".join(quote.split()) in " ".join(NOTES.split()), quote)
    page.click("#panel details summary")
    original = page.locator("#panel .original mark")
    expect(original).to_be_visible()
    facts = page.locator("#panel-facts").inner_text()
    start, end = (int(n.replace(",", "")) for n in re.search(r"bytes ([\d,]+) to ([\d,]+)", facts).groups())
    wanted = NOTES.encode()[start:end].decode()
    check("the original shows the cited bytes", original.inner_text().strip() == wanted.strip(), (original.inner_text(), wanted))
    check("the byte span holds the quote", quote.strip() in wanted, (quote, wanted))
    view.state("citation")
    page.keyboard.press("Escape")
    expect(page.locator("#panel")).to_be_hidden()
    check("the focus returns to the marker", page.evaluate("document.activeElement.className") == "cite")


def running(server, headers=None):
    text = server.get("/metrics", headers)[2].decode()
    return int(re.search(r"^gritstone_slots_busy (\d+)", text, re.M)[1])


def check_cancel(view):
    page = view.page
    page.click(".settings > summary")
    page.fill("#settings-form [name=max_tokens]", "2000")
    page.fill("#settings-form [name=temperature]", "1.5")
    view.state("settings")
    page.click(".settings > summary")
    view.ask("Tell a very long story about the harbour, the lighthouse and the ferry of Skärnholm.")
    expect(page.locator("#current .answer")).not_to_be_empty()
    view.state("streaming")
    page.keyboard.press("Escape")
    expect(page.locator("#current .notice")).to_contain_text("was not checked against its sources")
    expect(page.locator("#ask-button")).to_be_visible()
    view.state("stopped")
    page.click("#current .notice button")
    page.click("#stop-button")
    expect(page.locator("#current .notice")).to_contain_text("Stopped")
    for _ in range(50):
        if running(view.server) == 0:
            break
        time.sleep(0.1)
    check("a stopped answer frees its slot", running(view.server) == 0)
    check("the question before is kept", page.locator("#earlier-list details").count() >= 1)
    page.click(".settings > summary")
    page.click("#settings-reset")
    page.click(".settings > summary")


def check_search(view):
    page = view.page
    page.click("#to-search")
    page.fill("#query", "lighthouse keeper <b>")
    page.press("#query", "Enter")
    expect(page.locator(".hit").first).to_be_visible()
    figures = page.locator(".hit").first.locator(".figure").all_inner_texts()
    check("scores of a passage", [f.split()[0] for f in figures] == ["Score", "BM25", "Dense"] and re.search(r"\d", figures[1]), figures)
    check("a document's tags are text", page.locator(".hit img").count() == 0)
    view.state("search")
    page.locator(".hit-name").first.click()
    expect(page.locator("#panel .passage-own")).to_be_visible()
    page.click("#panel-close")


def check_abstention(view):
    page = view.page
    page.click("#to-ask")
    view.ask("Quarterly zirconium dividend yields?")
    expect(page.locator("#current .abstained")).to_be_visible(timeout=120_000)
    view.state("abstained")


def check_deletion(view):
    page = view.page
    page.click("#to-documents")
    page.click(".row.file .icon-button")
    expect(page.locator("#confirm-option input")).to_be_checked()
    view.state("confirm")
    page.keyboard.press("Escape")
    expect(page.locator(".row.file")).to_have_count(1)
    page.click(".row.file .icon-button")
    page.click("#confirm-ok")
    expect(page.locator("#files-empty")).to_be_visible()
    files = json.loads(view.server.get("/v1/files")[2])["data"]
    check("the upload is gone, too", files == [], files)
    page.click("#delete-collection")
    page.click("#confirm-ok")
    expect(page.locator("#documents-none")).to_be_visible()
    view.state("no-collection")
    page.click("#to-ask")
    expect(page.locator("#ask-empty")).to_be_visible()
    view.state("first-step")


def check_failure(view):
    """A server that cannot be reached is said in words, and asking again works."""
    page = view.page
    page.route("**/v1/**", lambda route: route.abort())
    page.reload()
    expect(page.locator("#banner")).to_contain_text("does not answer")
    view.state("unreachable")
    page.unroute("**/v1/**")
    page.click("#banner-retry")
    expect(page.locator("#banner")).to_be_hidden()


def check_key(view):
    page = view.page
    view.open()
    expect(page.locator("#key-dialog")).to_be_visible()
    view.state("key")
    page.fill("#key-input", "not-the-right-one")
    page.press("#key-input", "Enter")
    expect(page.locator("#key-refused")).to_be_visible()
    page.fill("#key-input", KEY)
    page.press("#key-input", "Enter")
    expect(page.locator("#ask-empty")).to_be_visible()
    check("the key is kept for the tab alone", page.evaluate("localStorage.length === 0 || !Object.values(localStorage).some((v) => v.includes('only'))"))
    page.reload()
    expect(page.locator("#ask-empty")).to_be_visible()
    expect(page.locator("#key-dialog")).to_be_hidden()


def drive(view):
    """The whole way, once for each look of the page."""
    view.open()
    make_collection(view, f"Harbour {view.name}")
    upload(view)
    check_answer(view)
    check_cancel(view)
    check_search(view)
    check_abstention(view)
    check_failure(view)
    check_deletion(view)
    view.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gritstone", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--screenshots", help="folder for a picture of every state")
    args = parser.parse_args()
    if args.screenshots:
        pathlib.Path(args.screenshots).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=args.chromium, args=["--no-sandbox"])
        server = Server(args, work + "/open")
        try:
            check_files(server)
            server.wait_ready()
            view = Page(browser, server, args, "modules", 1280, 800, "light")
            view.open()
            for name, ok, shown in view.page.evaluate((HERE / "web_page_modules.js").read_text()):
                check(name, ok, shown)
            view.close()
            for name, width, height, theme in (("desktop-light", 1280, 800, "light"), ("phone-dark", 360, 740, "dark")):
                drive(Page(browser, server, args, name, width, height, theme))
        finally:
            server.stop()
        server = Server(args, work + "/keyed", KEY)
        try:
            check_files(server)
            server.wait_ready()
            view = Page(browser, server, args, "key", 390, 844, "light")
            check_key(view)
            view.close()
        finally:
            server.stop()
        browser.close()
    print(f"{checks - failures} checks passed, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
