"""The pages made while the site is built: the article line by line, and all results."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from _ext import reference
from _ext.reference import Book

PAGE = ROOT / "chapters" / "reference" / "article.yml"
ARTICLE = yaml.safe_load(PAGE.read_text(encoding="utf-8"))
CLAIMS = {claim["id"]: claim for claim in ARTICLE["claims"]}
GROUPS = {f"{group.get('first')}-{group.get('second')}": group for group in ARTICLE["code"]}
ENTRIES = CLAIMS | GROUPS
RECORDS = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "results").glob("*.json"))
}


def labels_of_chapters() -> Counter[str]:
    """Count the labels of all chapters, read in another way than the page does."""
    found: Counter[str] = Counter()
    for path in (ROOT / "chapters").rglob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                lines = [line.strip() for line in cell.source.splitlines()]
                found.update(line[1:-2] for line in lines if line.startswith("(") and line.endswith(")="))
    return found


LABELS = labels_of_chapters()
BOOK = Book.read(ROOT)

# ---- the data of the article -------------------------------------------------------------------


def test_the_claims_are_numbered_without_a_gap_or_a_repetition():
    ids = [claim["id"] for claim in ARTICLE["claims"]]
    assert len(set(ids)) == len(ids)
    whole = [name for name in ids if name[1:].isdigit()]
    assert whole == [f"C{n:02d}" for n in range(1, 52)]
    assert sorted(set(ids) - set(whole)) == ["C32b", "C47b", "C47c"]
    assert ids == sorted(ids)


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_a_claim_says_what_the_article_says_and_where(claim):
    assert len({"quote", "code", "omitted"} & claim.keys()) == 1
    if "quote" in claim:
        assert len(claim["english"]) == len(claim["quote"])
        assert all(re.search(r"[\u4e00-\u9fff]", quote) and len(quote) < 50 for quote in claim["quote"])
        assert not re.search(r"[\u4e00-\u9fff]", "".join(claim["english"]))
    sections = [section for section in ARTICLE["sections"] if claim["section"] in section["covers"]]
    assert len(sections) == 1, "else the claim is shown nowhere, or twice"


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_an_entry_has_a_verdict_a_correct_statement_and_a_link(entry):
    assert entry["verdict"] in ARTICLE["verdicts"]
    assert len(entry["correct"].split()) >= 5
    assert entry["correct"].rstrip().endswith((".", "`"))
    assert entry["see"]


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_what_settles_an_entry_exists(entry):
    for target in entry["see"]:
        name = target.removeprefix("results-")
        if name != target:
            assert name in RECORDS
        elif "/" in target:
            assert (ROOT / "chapters" / f"{target}.ipynb").is_file()
        else:
            assert LABELS[target] == 1, f"{target}: expected one chapter with this label"


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_is_settled_first_of_all_where_a_chapter_quotes_it(name):
    assert CLAIMS[name]["see"][0] == f"claim-{name.lower()}"


@pytest.mark.parametrize("listing", ARTICLE["listings"], ids=["first", "second"])
def test_every_line_of_a_listing_is_covered_once(listing):
    """The lines of the data, with blank ones between, are the listing that the experiment ran."""
    lines: dict[int, str] = {}
    for group in ARTICLE["code"]:
        for i, line in enumerate(group["code"].splitlines(), group.get(listing["key"], 0)):
            if listing["key"] in group:
                assert line.strip()
                assert i not in lines, f"line {i} stands in two groups"
                lines[i] = line
    source = "".join(f"{lines.get(i, '')}\n" for i in range(1, max(lines) + 1))
    wanted = RECORDS["article_listing"]["listings_sha256"][int(listing["id"]) - 1]
    assert hashlib.sha256(source.encode()).hexdigest() == wanted


# ---- the page of the article -------------------------------------------------------------------


def test_the_page_asks_for_everything():
    page = PAGE.with_name("article_line_by_line.md").read_text(encoding="utf-8")
    assert re.findall(r"^```\{(.+)$", page, re.MULTILINE) == [
        "article-verdicts}",
        "article-claims}",
        *(f"article-listing}} {listing['id']}" for listing in ARTICLE["listings"]),
    ]


def test_the_counts_are_those_of_the_data():
    text = reference.verdicts_text(ARTICLE)
    found = {verdict: int(n) for verdict, n in re.findall(r"`([\w ]+)` \*\*(\d+)\*\*", text)}
    assert found == Counter(claim["verdict"] for claim in CLAIMS.values())
    assert text.startswith(f"{len(CLAIMS)} claims")
    moved = [claim | {"verdict": "right"} for claim in ARTICLE["claims"]]
    assert f"`right` **{len(CLAIMS)}**" in reference.verdicts_text(ARTICLE | {"claims": moved})


def test_every_claim_is_shown_once_with_its_links():
    parts = reference.claims_parts(ARTICLE, BOOK)
    text = "\n".join(part.text for part in parts)
    assert [f"C{name}" for name in re.findall(r"^\(article-c(\w+)\)=$", text, re.MULTILINE)] == list(CLAIMS)
    for claim in CLAIMS.values():
        assert claim["correct"] in text
        for words in [*claim.get("quote", []), *claim.get("code", []), *claim.get("english", [])]:
            assert words in text
    assert Counter(re.findall(r" <(claim-\w+|results-\w+)>`", text)) == Counter(
        target for claim in CLAIMS.values() for target in claim["see"] if "/" not in target
    )


@pytest.mark.parametrize("listing", ARTICLE["listings"], ids=["first", "second"])
def test_every_line_is_shown_with_its_comment_or_a_link_to_it(listing):
    first, second = (reference.listing_text(ARTICLE, BOOK, number) for number in "12")
    text = {"1": first, "2": second}[listing["id"]]
    groups = [group for group in ARTICLE["code"] if listing["key"] in group]
    cards = text.split("::::{card}")[1:]
    assert len(cards) == len(groups)
    for group, shown in zip(sorted(groups, key=lambda group: group[listing["key"]]), cards, strict=True):
        assert f"```python\n{group['code']}\n```" in shown
        assert f"`{group['verdict']}`" in shown
        if listing["id"] == "1" or "first" not in group:
            assert group["correct"] in shown
        else:
            assert f"<listing-1-{group['first']}>" in shown
            assert f"(listing-1-{group['first']})=" in first
    assert text.startswith(f"{sum(len(group['code'].splitlines()) for group in groups)} lines")


def test_a_link_that_leads_nowhere_is_named():
    with pytest.raises(LookupError, match=r"C12: nothing in the book is called 'claim-c99'"):
        BOOK.link("claim-c99", "C12")
    with pytest.raises(LookupError, match="results-nothing"):
        BOOK.link("results-nothing", "C12")
    with pytest.raises(LookupError, match="C12: expected a link"):
        reference.links({"see": []}, "C12", BOOK)
    with pytest.raises(LookupError, match="1 or 2, got '3'"):
        reference.listing_text(ARTICLE, BOOK, "3")


# ---- the results -------------------------------------------------------------------------------


def test_every_file_of_results_has_its_section():
    parts = reference.results_parts(BOOK)
    assert [part.label for part in parts] == ["", *(f"results-{name}" for name in RECORDS)]
    total = sum(len(record["rows"]) for record in RECORDS.values())
    assert f"{len(RECORDS)} files, {total:,} rows" in parts[0].text


def number(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))


@pytest.mark.parametrize("name", RECORDS)
def test_every_row_is_in_a_table_under_its_task(name):
    record = RECORDS[name]
    text = reference.record_part(name, record, BOOK).text
    assert record["command"] in text
    assert record["date"] in text
    assert all(version in text for version in record["versions"].values())
    assert f"{len(record['rows'])} rows" in text
    shown = []
    task = metric = ""
    for line in re.sub(r"\\(.)", r"\1", text).splitlines():
        if line.startswith("**") and line.endswith("**"):
            task = line.strip("*")
        elif line.startswith("| model"):
            metric = line.split(" | ")[1]
        elif line.startswith("| ") and not line.startswith("| ---"):
            model, mean, interval, runs, _, _ = line.strip("| ").split(" | ")
            low, high = interval.split(" to ")
            shown.append((task, metric, model, number(mean), number(low), number(high), int(runs)))
    assert len(shown) == len(record["rows"])
    rows = {(row["task"], row["metric"].replace("_", " "), row["model"]): row for row in record["rows"]}
    assert len(rows) == len(shown), "two rows of one model on one task"
    for task, metric, model, *values, runs in shown:
        row = rows[task, metric, model]
        assert values[0] == pytest.approx(row["mean"], rel=0.005, abs=0.000501)
        step = max(0.0005, 0.005 * abs(row["mean"]))
        assert values[1:] == pytest.approx([row["low"], row["high"]], abs=1.001 * step)
        assert runs == len(row["values"])


def test_chapters_that_read_a_record_are_named():
    texts = {path: path.read_text(encoding="utf-8") for path in (ROOT / "chapters").rglob("*.ipynb")}
    for name, record in RECORDS.items():
        call = re.compile(rf'load_re(?:cord|sults)\(\\"{name}\\"\)')
        readers = [path for path, text in texts.items() if call.search(text)]
        shown = reference.record_part(name, record, BOOK).text
        used = shown.partition("**Used in.**")[2].partition("**File.**")[0]
        assert used.count("{doc}") == len(readers)
        for path in readers:
            assert f"</{path.relative_to(ROOT).with_suffix('').as_posix()}>" in used


@pytest.mark.parametrize(
    ("mean", "metric", "written"),
    [
        (0.7408691, "accuracy", "0.741"),
        (-0.0004, "accuracy difference", "0.000"),
        (-0.201, "accuracy difference", "−0.201"),
        (299.5029, "perplexity", "299.5"),
        (472.27, "peak_megabytes", "472"),
        (0.055296, "peak_megabytes", "0.0553"),
        (15.2256, "time_ratio", "15.2"),
        (0.0, "mean_squared_error", "0.000"),
        (1234.5, "peak_megabytes", "1,234"),
    ],
)
def test_a_number_is_written_as_its_measure_needs(mean, metric, written):
    assert reference.signed(mean, reference.digits(mean, metric)) == written


def test_notes_that_differ_in_numbers_become_one():
    notes = [
        "over 1,575 test items",
        "over 990 test items",
        "of 5 seeds",
        "over 990 test items",
        "of 5 seeds",
    ]
    assert reference.merged(notes) == ["over 990 or 1,575 test items", "of 5 seeds"]


# ---- a book of one chapter ---------------------------------------------------------------------

SMALL = {
    "verdicts": {"wrong": "it does not hold"},
    "sections": [{"id": "1", "chinese": "引言", "english": "Introduction", "covers": ["1"]}],
    "listings": [{"id": "1", "key": "first", "section": "1"}],
    "claims": [
        {"id": "C01", "section": "1", "quote": ["记忆"], "english": ["memory"], "verdict": "wrong"}
        | {"correct": "It forgets.", "see": ["claim-c01", "results-trial", "part/topic"]},
        {"id": "C02", "section": "1", "code": ["x = [...]"], "verdict": "wrong"}
        | {"correct": "It is `...`.", "see": ["claim-c01"]},
        {"id": "C03", "section": "1", "omitted": "the loss", "verdict": "wrong"}
        | {"correct": "There is $a_t$.", "see": ["claim-c01"]},
    ],
    "code": [{"first": 1, "code": "x = [...]", "verdict": "wrong", "correct": "No.", "see": ["claim-c01"]}],
}
CONF = """
import sys
sys.path.insert(0, {root!r})
extensions = ["myst_nb", "sphinx_design", "_ext.reference"]
nb_execution_mode = "off"
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
exclude_patterns = ["_build", "README.md"]
"""
ROW = {"task": "a_task", "model": "a|model", "metric": "accuracy", "seeds": [0], "values": [0.5]}
ROW |= {
    "mean": 0.5,
    "low": 0.4,
    "high": 0.6,
    "train_cpu_seconds": [],
    "num_parameters": 0,
    "note": "over 9 items",
}


def small_book(root: Path, article: dict, **record: object) -> subprocess.CompletedProcess[str]:
    """Write a book of one chapter, one record and the two pages, and build it as strictly as ours."""
    for folder in ("chapters/part", "chapters/reference", "results", "experiments"):
        (root / folder).mkdir(parents=True)
    cells = ["# A topic", "(claim-c01)=\nThe article speaks of 「记忆」."]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(cell) for cell in cells])
    for cell, name in zip(notebook.cells, "ab", strict=True):
        cell["id"] = name
    nbformat.write(notebook, root / "chapters/part/topic.ipynb")
    pages = root / "chapters/reference"
    asked = ["{article-verdicts}", "{article-claims}", "{article-listing} 1"]
    text = "\n\n".join(f"## Part\n\n```{directive}\n```" for directive in asked)
    (pages / "article.md").write_text(f"# The article\n\n{text}\n", encoding="utf-8")
    (pages / "article.yml").write_text(yaml.safe_dump(article), encoding="utf-8")
    (pages / "results.md").write_text("# Results\n\n```{recorded-results}\n```\n", encoding="utf-8")
    entries = "chapters/part/topic\nchapters/reference/article\nchapters/reference/results"
    (root / "index.md").write_text(f"# A book\n\n```{{toctree}}\n{entries}\n```\n", encoding="utf-8")
    (root / "conf.py").write_text(CONF.format(root=str(ROOT)), encoding="utf-8")
    (root / "experiments/trial.py").write_text('"""What a trial shows."""\n', encoding="utf-8")
    machine = {"cpu": "a", "cores": 2, "torch_threads": 1, "instructions": "AVX2", "system": "linux"}
    whole = {"command": "python -m experiments.trial", "date": "2026-01-31", "versions": {"torch": "2"}}
    whole |= {"hardware": machine, "rows": [ROW]} | record
    (root / "results/trial.json").write_text(json.dumps(whole), encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "--keep-going", "-q", ".", "_build"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_the_links_of_a_small_book_lead_to_claim_record_and_chapter(tmp_path):
    done = small_book(tmp_path, SMALL)
    assert done.returncode == 0, done.stderr
    built = tmp_path / "_build/chapters"
    page, results, chapter = (
        BeautifulSoup((built / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
        for name in ("reference/article", "reference/results", "part/topic")
    )
    claim = page.find(id="article-c01").find_next(class_="sd-card-body")
    links = {link["href"]: link.get_text() for link in claim.select("a")}
    assert links == {
        "../part/topic.html#claim-c01": "A topic",
        "results.html#results-trial": "results/trial",
        "../part/topic.html": "A topic",
    }
    assert chapter.find(id="claim-c01")
    assert page.find(id="article-c02").find_next("pre").get_text().strip() == "x = [...]"
    assert "C01: A topic" in page.find(id="article-c03").find_next(class_="sd-card-body").get_text()
    section = results.find("section", id="results-trial")
    assert [cell.get_text(strip=True) for cell in section.select("tbody td")] == [
        *("a|model", "0.500", "0.400 to 0.600", "1", "–", "–")
    ]
    assert "What a trial shows." in section.get_text()
    sections = [found.get("id") for found in results.select("section section")]
    assert sections == ["results-trial"]
    text = results.get_text()
    assert text.index("1 file, 1 row") < text.index("What a trial shows."), "what comes first stands first"


def test_a_missing_link_and_an_unexplained_measure_end_the_build(tmp_path):
    claim = SMALL["claims"][0] | {"see": ["claim-c02"]}
    done = small_book(tmp_path, SMALL | {"claims": [claim]}, rows=[ROW | {"metric": "beauty"}])
    assert done.returncode != 0
    errors = {
        line.split(":")[0].rpartition("/")[2]: line for line in done.stderr.splitlines() if "ERROR" in line
    }
    assert "C01: nothing in the book is called 'claim-c02'" in errors["article.md"]
    assert "does not say what ['beauty'] are" in errors["results.md"]
