#!/usr/bin/env python3
"""The official openai client against `gritstone serve`, unchanged: models, embeddings, chat, streams, answers with citations, errors.

    python3 -m venv ~/.cache/gritstone/clients-venv && ~/.cache/gritstone/clients-venv/bin/pip install openai
    ~/.cache/gritstone/clients-venv/bin/python tests/e2e/openai_client.py build/release/gritstone MODEL.gguf

Starts a server of its own on a free port with a key, over an index of data/sample/docs in a temporary store. Not part of CI: it needs PyPI
and a model that can chat.
"""
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

import openai

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KEY = "client-test-key-1"
checks = 0


def check(condition, what):
    global checks
    checks += 1
    if not condition:
        raise SystemExit("FAILED: %s" % what)


def start(gritstone, model, store):
    environment = dict(os.environ, GRITSTONE_API_KEY=KEY)
    server = subprocess.Popen([gritstone, "serve", "-m", model, "--store", store, "--port", "0"], env=environment,
                              stderr=subprocess.PIPE, text=True)
    for line in server.stderr:
        found = re.search(r"Listening on (http://127\.0\.0\.1:\d+)", line)
        if found:
            break
    else:
        raise SystemExit("the server did not start")
    url = found.group(1)
    for _ in range(600):
        try:
            if urllib.request.urlopen(url + "/health", timeout=5).status == 200:
                return server, url
        except urllib.error.HTTPError:
            time.sleep(0.1)
    raise SystemExit("the model was not loaded")


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def models(client):
    ids = [model.id for model in client.models.list()]
    check("gritstone/sample" in ids and len(ids) == 2, "the model and the collection are listed: %s" % ids)
    check(client.models.retrieve(ids[0]).id == ids[0], "a model is retrieved")
    check(client.models.retrieve("gritstone/sample").id == "gritstone/sample", "a collection is retrieved as a model")
    return ids[0]


def embeddings(client, model):
    # Without encoding_format the client asks for base64 and decodes it.
    base64 = client.embeddings.create(model=model, input=["green tea", "an octopus"])
    floats = client.embeddings.create(model=model, input=["green tea", "an octopus"], encoding_format="float")
    check(len(base64.data) == 2 and base64.data[1].index == 1, "two embeddings")
    for a, b in zip(base64.data, floats.data):
        check(max(abs(x - y) for x, y in zip(a.embedding, b.embedding)) < 1e-7, "base64 and floats are the same numbers")
        check(abs(cosine(a.embedding, a.embedding) - 1) < 1e-5 and abs(sum(x * x for x in a.embedding) - 1) < 1e-4, "the norm is 1")
    one = client.embeddings.create(model=model, input="green tea").data[0].embedding
    check(one == base64.data[0].embedding, "one text alone has the embedding that it has among others")
    check(base64.usage.prompt_tokens > 0 and base64.usage.total_tokens == base64.usage.prompt_tokens, "usage is counted")


def chat(client, model):
    messages = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": "Name a colour."}]
    whole = client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=16)
    text = whole.choices[0].message.content
    check(text and whole.choices[0].finish_reason in ("stop", "length"), "a chat is answered")
    check(whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens, "usage adds up")
    pieces, finish, usage = [], None, None
    stream = client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=16, stream=True,
                                            stream_options={"include_usage": True})
    for chunk in stream:
        if chunk.usage:
            usage = chunk.usage
        for choice in chunk.choices:
            pieces.append(choice.delta.content or "")
            finish = choice.finish_reason or finish
    check("".join(pieces) == text, "the stream says what the whole answer says")
    check(finish == whole.choices[0].finish_reason and usage.total_tokens == whole.usage.total_tokens, "it ends the same way")
    a, b = (client.chat.completions.create(model=model, messages=messages, temperature=1, seed=5, max_tokens=12) for _ in range(2))
    check(a.choices[0].message.content == b.choices[0].message.content, "the same seed gives the same text")
    text = client.completions.create(model=model, prompt="The capital of France is", max_tokens=5, temperature=0)
    check("Paris" in text.choices[0].text, "a completion goes on: %r" % text.choices[0].text)


def answers(client):
    question = [{"role": "user", "content": "When was the Brooklyn Bridge opened?"}]
    answer = client.chat.completions.create(model="gritstone/sample", messages=question)
    message = answer.choices[0].message
    check("1883" in message.content, "the collection answers: %r" % message.content)
    extra = answer.model_extra["gritstone"]
    check(extra["passages"] and "generation" in extra, "the whole answer is there too")
    if not extra["abstained"]:
        note = message.model_extra["annotations"][0] if message.annotations is None else message.annotations[0]
        note = note if isinstance(note, dict) else note.model_dump()
        check(note["type"] == "file_citation" and note["file_id"].startswith("file-"), "the answer cites: %r" % note)
        with open(os.path.join(ROOT, "data/sample/docs", note["filename"]), "rb") as source:
            check(b"1883" in source.read()[note["start"]:note["end"]], "the citation is a byte span of the source")
    chunks = list(client.chat.completions.create(model="gritstone/sample", messages=question, stream=True))
    check(chunks[-1].choices[0].finish_reason == "stop", "it streams")


def errors(client, url):
    for action, kind, name in [
        (lambda: client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "a"}]), openai.NotFoundError, "model"),
        (lambda: client.embeddings.create(model=client.models.list().data[0].id, input="a", dimensions=3), openai.BadRequestError, "dimensions"),
        (lambda: client.chat.completions.create(model="gritstone/sample", messages=[]), openai.BadRequestError, "messages"),
    ]:
        try:
            action()
            check(False, "an error was expected")
        except kind as error:
            check(error.param == name, "the error names %s: %r" % (name, error.body))
    try:
        openai.OpenAI(base_url=url + "/v1", api_key="not-the-right-key", max_retries=0).models.list()
        check(False, "a wrong key was taken")
    except openai.AuthenticationError:
        check(True, "a wrong key is refused")


def main():
    gritstone, model_file = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    with tempfile.TemporaryDirectory() as store:
        subprocess.run([gritstone, "index", os.path.join(ROOT, "data/sample/docs"), "-c", "sample", "-m", model_file, "--store", store, "-q",
                        "--dense", "later"], check=True)
        server, url = start(gritstone, model_file, store)
        try:
            client = openai.OpenAI(base_url=url + "/v1", api_key=KEY, max_retries=0, timeout=300)
            model = models(client)
            embeddings(client, model)
            chat(client, model)
            answers(client)
            errors(client, url)
        finally:
            server.send_signal(signal.SIGTERM)
            status = server.wait(timeout=60)
        check(status == 0, "SIGTERM ends the server with status 0, not %s" % status)
    print("%d checks passed with openai %s" % (checks, openai.__version__))


if __name__ == "__main__":
    main()
