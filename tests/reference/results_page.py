"""Pages under docs/results that several scripts write: each owns one marked section and leaves the others alone."""
import pathlib
import platform
import re
import subprocess


def isa():
    """Machines of different instruction sets have a section each where speed is measured."""
    return processor().rsplit(", ", 1)[-1]


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        file.seek(0)
        flags = next((line for line in file if line.startswith("flags")), "")
    best = "AVX-512 VNNI" if "avx512_vnni" in flags else "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else platform.machine()
    return f"{names[0] if names else platform.machine()}, {len(names)} logical cores, {best}"


def revision(root):
    done = subprocess.run(["git", "-C", str(root), "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def update_section(path, title, name, body):
    """Replaces or appends section `name` of the page at `path`; `title` heads a page that does not exist yet."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = path.read_text(encoding="utf-8") if path.exists() else f"# {title}\n"
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    section = f"{begin}\n{body.strip()}\n{end}"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    text = pattern.sub(lambda _: section, text) if pattern.search(text) else text.rstrip() + "\n\n" + section + "\n"
    path.write_text(text, encoding="utf-8")
