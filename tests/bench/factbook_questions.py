#!/usr/bin/env python3
"""Questions with gold answers from a folder of country profiles (The World Factbook as Markdown, public domain).

    factbook_questions.py DIR -o QUESTIONS.jsonl [--singles 330] [--pairs 170] [--seed 1]

Singles ask for one fact of one country: kind "single". Pairs ask which of two countries has more of something and need a passage of each:
kind "two"; the answer is right if it names that country before the other ("against"). Facts that are missing, ambiguous or equal are left out.
"""
import argparse
import json
import pathlib
import random
import re


def number(text):
    match = re.search(r"-?\d[\d,]*(?:\.\d+)?", text)
    return float(match.group().replace(",", "")) if match else None


def profile(path):
    """Facts of one file: what stands behind a key, by (section, key)."""
    country, section, facts = None, "", {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# ") and country is None:
            country = line[2:].strip()
        elif line.startswith("#"):
            section = line.lstrip("#").strip()
        elif ":" in line:
            key, value = line.split(":", 1)
            facts.setdefault((section, key.strip()), value.strip())
            facts.setdefault(("", key.strip()), value.strip())
    return country, facts


def name_of(value):
    """The plain name at the start of a value: "Tahat 2,908 m" -> "Tahat"."""
    value = re.split(r"[;(]| -?\d", value)[0].strip()
    return value if value and len(value) < 40 and not re.search(r"\d", value) else None


# Names, not figures: what counts is how many answers stay right, so questions that a small model gets wrong anyway would only cost time.
SINGLES = [
    ("What is the capital of {}?", ("Capital", "name"), lambda v: [name_of(v)]),
    ("What is the highest point of {}?", ("Elevation", "highest point"), lambda v: [name_of(v)]),
    ("What type of government does {} have?", ("", "Government type"), lambda v: [v] if len(v) < 50 and ";" not in v else [None]),
    ("Where is {} located?", ("", "Location"), lambda v: [v.split(",")[0].strip()] if len(v.split(",")[0]) < 40 else [None]),
]
PAIRS = [
    ("Which country has the larger total area, {} or {}?", ("Area", "total"), " sq km"),
    ("Which country has the longer coastline, {} or {}?", ("", "Coastline"), " km"),
    ("Which country has the larger total population, {} or {}?", ("Population", "total"), ""),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True)
    parser.add_argument("--singles", type=int, default=330)
    parser.add_argument("--pairs", type=int, default=170)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    countries = [(path.name, *profile(path)) for path in sorted(arguments.directory.glob("*.md"))]
    countries = [c for c in countries if c[1] and re.fullmatch(r"[A-Z][A-Za-z' -]+", c[1])]
    dice = random.Random(arguments.seed)
    singles, pairs = [], []
    for file, country, facts in countries:
        for template, key, read in SINGLES:
            gold = [g for g in read(facts[key]) if g] if key in facts else []
            if gold:
                singles.append({"question": template.format(country), "answers": gold, "kind": "single", "about": [file]})
    for template, key, unit in PAIRS:
        known = [(file, country, number(facts[key])) for file, country, facts in countries if key in facts and unit in facts[key] and number(facts[key])]
        for _ in range(3 * arguments.pairs):
            a, b = dice.sample(known, 2)
            # A third more, so that rounding or another year changes nothing; not ten times more, which anybody knows.
            if not 1.3 <= max(a[2], b[2]) / max(1, min(a[2], b[2])) <= 10:
                continue
            more, less = (a, b) if a[2] > b[2] else (b, a)
            if more[1] in less[1] or less[1] in more[1]:
                continue
            pairs.append({"question": template.format(a[1], b[1]), "answers": [more[1]], "against": [less[1]], "kind": "two", "about": [more[0], less[0]]})
    dice.shuffle(singles)
    dice.shuffle(pairs)
    chosen = singles[: arguments.singles] + pairs[: arguments.pairs]
    dice.shuffle(chosen)
    seen = set()
    with open(arguments.output, "w", encoding="utf-8") as out:
        for i, question in enumerate(chosen):
            if question["question"] in seen:
                continue
            seen.add(question["question"])
            out.write(json.dumps({"id": f"f{i:04d}", **question}, ensure_ascii=False) + "\n")
    print(f"{len(seen)} questions: {sum(q['kind'] == 'single' for q in chosen)} single, {sum(q['kind'] == 'two' for q in chosen)} of two countries")


if __name__ == "__main__":
    main()
