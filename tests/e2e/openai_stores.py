#!/usr/bin/env python3
"""Files and vector stores through the official client, which must work unchanged. Not part of CI (needs PyPI's openai).

    python3 -m venv venv && venv/bin/pip install openai
    build/release/gritstone serve -m MODEL --store /tmp/store &
    venv/bin/python tests/e2e/openai_stores.py http://127.0.0.1:8080/v1 [KEY]

Exit status 0 if everything holds. Leaves the server as it was.
"""
import io
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key=sys.argv[2] if len(sys.argv) > 2 else "none", timeout=120)
checks = 0


def check(truth, what):
    global checks
    checks += 1
    if not truth:
        sys.exit(f"FAILED: {what}")


def text_file(name, text):
    return (name, io.BytesIO(text.encode()), "text/markdown")


# Stores
before = len(list(client.vector_stores.list()))
store = client.vector_stores.create(name="Ferry notes", metadata={"team": "harbour"})
check(store.object == "vector_store" and store.name == "Ferry notes" and store.metadata == {"team": "harbour"}, "create")
check(store.id == "vs_ferry-notes" or store.id.startswith("vs_ferry-notes-"), "id from the name")
check(client.vector_stores.retrieve(store.id).id == store.id, "retrieve")
check(len(list(client.vector_stores.list())) == before + 1, "list")
check(client.vector_stores.update(store.id, name="Ferries").name == "Ferries", "update")

# Files
plan = "# Plan\n\nThe ferry to Norderney leaves at nine.\n"
file = client.files.create(file=text_file("plan.md", plan), purpose="assistants")
check(file.object == "file" and file.filename == "plan.md" and file.bytes == len(plan) and file.status == "processed", "files.create")
check(client.files.content(file.id).read() == plan.encode(), "files.content")
check(file.id in [f.id for f in client.files.list(purpose="assistants")], "files.list")
check(client.files.retrieve(file.id) == file, "files.retrieve")

# Into the store, one by one and as a batch
attached = client.vector_stores.files.create_and_poll(file.id, vector_store_id=store.id, attributes={"year": 2024, "draft": False})
check(attached.status == "completed" and attached.last_error is None, f"create_and_poll: {attached.last_error}")
check(attached.attributes == {"year": 2024, "draft": False}, "attributes")
second = client.vector_stores.files.upload_and_poll(
    vector_store_id=store.id, file=text_file("winter.md", "# Winter\n\nIn winter no ferry leaves before noon.\n"),
    attributes={"year": 2020}, chunking_strategy={"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 0}})
check(second.status == "completed", f"upload_and_poll: {second.last_error}")
check(second.chunking_strategy.static.max_chunk_size_tokens == 100, "chunking_strategy")
batch = client.vector_stores.file_batches.upload_and_poll(
    store.id, files=[text_file("fares.md", "A crossing costs twelve euros.\n"), text_file("dogs.md", "Dogs travel on a lead.\n")])
check(batch.status == "completed" and batch.file_counts.completed == 2, "file_batches")
check(len(list(client.vector_stores.file_batches.list_files(batch.id, vector_store_id=store.id))) == 2, "list_files")
refused = client.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=("a.pdf", io.BytesIO(b"%PDF-1.4\n"), "application/pdf"))
check(refused.status == "failed" and refused.last_error.code == "unsupported_file", "a file that cannot be read")
counts = client.vector_stores.retrieve(store.id).file_counts
check((counts.completed, counts.failed, counts.total) == (4, 1, 5), f"file_counts {counts}")

# Lists page by page
pages = [f.id for f in client.vector_stores.files.list(store.id, limit=2)]
check(len(pages) == 5 and len(set(pages)) == 5, "pages of files")
check([f.id for f in client.vector_stores.files.list(store.id, order="asc")] == pages[::-1], "order")
check([f.id for f in client.vector_stores.files.list(store.id, filter="failed")] == [refused.id], "filter")

# Search
found = client.vector_stores.search(store.id, query="When does the ferry leave in winter?")
check(found.data[0].filename == "winter.md" and "before noon" in found.data[0].content[0].text, f"search: {found.data[0]}")
found = client.vector_stores.search(store.id, query="ferry", filters={"type": "gte", "key": "year", "value": 2024})
check([hit.filename for hit in found.data] == ["plan.md"] and found.data[0].attributes == {"year": 2024, "draft": False}, "filters")
found = client.vector_stores.search(store.id, query=["ferry", "dogs"], max_num_results=2, rewrite_query=True,
                                    ranking_options={"ranker": "auto", "score_threshold": 0.0})
check(len(found.data) == 2, "several queries")
passages = client.vector_stores.files.content(second.id, vector_store_id=store.id).data
check(passages[0].text == "In winter no ferry leaves before noon." and passages[0].start == 10, f"content {passages}")
changed = client.vector_stores.files.update(second.id, vector_store_id=store.id, attributes={"year": 1999})
check(changed.attributes == {"year": 1999}, "files.update")

# Errors have their classes
for error, call in [
    (openai.NotFoundError, lambda: client.vector_stores.retrieve("vs_nobody")),
    (openai.NotFoundError, lambda: client.files.retrieve("file-0")),
    (openai.BadRequestError, lambda: client.vector_stores.search(store.id, query="x", max_num_results=51)),
    (openai.BadRequestError, lambda: client.files.create(file=text_file("x.md", "x"), purpose="nonsense")),
]:
    try:
        call()
        check(False, f"{error.__name__} expected")
    except error as e:
        check(e.body["message"], "error body")

# Deletion
check(client.vector_stores.files.delete(second.id, vector_store_id=store.id).deleted, "files.delete")
check(client.files.delete(file.id).deleted, "delete")
names = [hit.filename for hit in client.vector_stores.search(store.id, query="ferry winter").data]
check("winter.md" not in names and "plan.md" not in names, f"deleted files are not found: {names}")
for item in list(client.files.list()):
    if item.filename in ("winter.md", "fares.md", "dogs.md", "a.pdf"):
        client.files.delete(item.id)
check(client.vector_stores.delete(store.id).deleted, "vector_stores.delete")
check(len(list(client.vector_stores.list())) == before, "gone")
print(f"{checks} checks passed")
