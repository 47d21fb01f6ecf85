"""Two reference pages that are made while the site is built: the article's claims, and all results.

``{article-verdicts}``, ``{article-claims}`` and ``{article-listing} 1`` show ``article.yml``, which lies
beside the page; ``{recorded-results}`` shows every file of ``results/``. Each becomes MyST text, so its
links are Sphinx's own. What the text names and the book lacks is an error of the build, with its place.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

Entry = dict[str, Any]


class Part(NamedTuple):
    """A piece of a page in MyST; with a title it becomes a section that links can lead to."""

    text: str
    title: str = ""
    label: str = ""


COLOURS = {
    "right": "success",
    "incomplete": "info",
    "misleading": "warning",
    "wrong": "danger",
    "cannot run": "dark",
    "not delivered": "primary-line",
}
# How each measure is written, and what it is. A whole number: decimals; None: three digits that count.
METRICS: dict[str, tuple[int | None, str]] = {
    "accuracy": (3, "share of right answers"),
    "accuracy difference": (3, "accuracy less that of the model it is compared with, seed by seed"),
    "both_right": (3, "share of pairs of sentences with both answers right"),
    "exact_match": (3, "share of outputs that agree with the right one in every token"),
    "f1": (3, "harmonic mean of precision and recall"),
    "mean_squared_error": (None, "mean of the squared errors"),
    "memory_ratio": (None, "memory, as a multiple of that of the other way in the same run"),
    "nats_per_token": (3, "mean cross-entropy of a token, with the natural logarithm"),
    "peak_megabytes": (None, "most memory at one time, in megabytes"),
    "perplexity": (1, "exponential of the mean cross-entropy of a token in nats"),
    "sacrebleu": (1, "BLEU of the whole test set, from 0 to 100, by sacrebleu"),
    "sacrebleu_lowercase": (1, "the same, capitals ignored"),
    "same_answer": (3, "share of pairs of sentences with the same answer for both"),
    "share_ratio": (3, "a part, as a share of the whole in the same run"),
    "solved": (3, "share of seeds that solved the task"),
    "speed_ratio": (None, "how many times as fast as the other way in the same run"),
    "time_ratio": (None, "time, as a multiple of that of the other way in the same run"),
}
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?<!,)")
MEDIAN = re.compile(r"median [\d.,]+ of (?=\d+ rounds)")  # the median is the row's own


# ---- what the book holds -----------------------------------------------------------------------


@dataclass
class Book:
    """Labels, pages and records that a link may lead to, read from the sources."""

    root: Path
    titles: dict[str, str] = field(default_factory=dict)  # of chapters, by PART/TOPIC
    labels: dict[str, str] = field(default_factory=dict)  # the chapter that holds a label
    uses: dict[str, list[str]] = field(default_factory=dict)  # the chapters that read a record

    @classmethod
    def read(cls, root: Path) -> Self:
        """Read titles, labels and uses of records out of all notebooks."""
        book = cls(root)
        for path in sorted((root / "chapters").glob("*/*.ipynb")):
            name = path.relative_to(root / "chapters").with_suffix("").as_posix()
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            text = {
                kind: "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == kind)
                for kind in ("markdown", "code")
            }
            title = re.search(r"^# +(.+?) *$", text["markdown"], re.MULTILINE)
            book.titles[name] = title[1] if title else name
            book.labels |= dict.fromkeys(re.findall(r"^\(([\w-]+)\)=", text["markdown"], re.MULTILINE), name)
            for record in dict.fromkeys(re.findall(r'load_re\w+\(\s*"(\w+)"', text["code"])):
                book.uses.setdefault(record, []).append(name)
        return book

    def chapter(self, name: str) -> str:
        """Return a link to a chapter, by its title."""
        return f"{{doc}}`{self.titles[name]} </chapters/{name}>`"

    def link(self, target: str, owner: str) -> str:
        """Return a link to a label, to the record ``results-NAME``, or to the chapter ``PART/TOPIC``.

        Raises ``LookupError`` if there is no such thing; ``owner`` says in the message who asks for it.
        """
        if target in self.titles:
            return self.chapter(target)
        if target in self.labels:
            claim = target.removeprefix("claim-c")
            other = f"C{claim}: " if claim != target and f"C{claim}" != owner else ""
            return f"{{ref}}`{other}{self.titles[self.labels[target]]} <{target}>`"
        name = target.removeprefix("results-")
        if name != target and (self.root / "results" / f"{name}.json").is_file():
            return f"{{ref}}`results/{name} <{target}>`"
        raise LookupError(
            f"article.yml, {owner}: nothing in the book is called {target!r}; "
            "expected a label of a chapter, results-NAME of a file in results/, or PART/TOPIC of a chapter"
        )


# ---- the article -------------------------------------------------------------------------------


def links(entry: Entry, owner: str, book: Book) -> str:
    """Return the line that says where an entry is settled."""
    if not entry.get("see"):
        raise LookupError(f"article.yml, {owner}: expected a link under `see`, got none")
    return "→ " + " · ".join(book.link(target, owner) for target in entry["see"])


def badge(verdict: str) -> str:
    """Return a verdict as a badge."""
    return f"{{bdg-{COLOURS[verdict]}}}`{verdict}`"


def quoted(claim: Entry) -> str:
    """Return what the article says, with its translation, or what it leaves out."""
    if "omitted" in claim:
        return f"*Left out:* {claim['omitted']}."
    if "code" in claim:
        return "```python\n" + "\n".join(claim["code"]) + "\n```"
    pairs = zip(claim["quote"], claim["english"], strict=True)
    return "\\\n".join(f"「{quote}」, “{english}”" for quote, english in pairs)


def card(label: str, head: str, *body: str) -> str:
    """Return a card with a label to link to."""
    text = "\n\n".join(body)
    return f"({label})=\n::::{{card}}\n:::{{card-header}}\n{head}\n:::\n{text}\n::::\n"


def claims_parts(article: Entry, book: Book) -> list[Part]:
    """Return a part for each section of the article, with a card for each claim."""
    parts = []
    for section in article["sections"]:
        cards = []
        for claim in article["claims"]:
            if claim["section"] in section["covers"]:
                where = "abstract" if claim["section"] == "0" else claim["section"]
                head = f"**{claim['id']}** · {where} · {badge(claim['verdict'])}"
                body = quoted(claim), claim["correct"], links(claim, claim["id"], book)
                cards.append(card(f"article-{claim['id'].lower()}", head, *body))
        title = f"{section['id']} · {section['chinese']}, {section['english'].lower()}"
        parts.append(Part("\n".join(cards), title, f"article-section-{section['id']}"))
    return parts


def verdicts_text(article: Entry) -> str:
    """Return each verdict with its meaning, its number and its claims."""
    text = [f"{len(article['claims'])} claims:\n"]
    for verdict, meaning in article["verdicts"].items():
        found = [claim["id"] for claim in article["claims"] if claim["verdict"] == verdict]
        where = ", ".join(f"{{ref}}`{name} <article-{name.lower()}>`" for name in found)
        text.append(f"{badge(verdict)} **{len(found)}**, {meaning}\n: {where}\n")
    return "\n".join(text)


def span(start: int, count: int) -> str:
    """Say which lines a group has."""
    last = start + count - 1
    return f"line {start}" if count == 1 else f"lines {start} {'and' if count == 2 else 'to'} {last}"


def listing_text(article: Entry, book: Book, number: str) -> str:
    """Return a listing, a card for each group of its lines; what the first one had is told there.

    Raises ``LookupError`` if the article has no listing of this number.
    """
    keys = {listing["id"]: listing["key"] for listing in article["listings"]}
    if number not in keys:
        raise LookupError(
            f"article.yml: expected the number of a listing, {' or '.join(keys)}, got {number!r}"
        )
    key, original = keys[number], next(iter(keys.values()))
    tally, shared, cards = Counter[str](), 0, []
    for group in sorted((group for group in article["code"] if key in group), key=lambda group: group[key]):
        start, count = group[key], len(group["code"].splitlines())
        tally[group["verdict"]] += count
        comment = [group["correct"], links(group, f"line {start} of listing {number}", book)]
        if key != original and original in group:
            shared += count
            place = group[original]
            comment = [f"As in the first listing, {{ref}}`from line {place} <listing-1-{place}>`."]
        head = f"{span(start, count)} · {badge(group['verdict'])}"
        code = f"```python\n{group['code']}\n```"
        cards.append(card(f"listing-{number}-{start}", head, code, *comment))
    counts = ", ".join(f"{badge(name)} {tally[name]}" for name in article["verdicts"] if tally[name])
    text = f"{tally.total()} lines that are not blank: {counts}."
    if key != original:
        text += f" The first listing has {shared} of them as well; {tally.total() - shared} are new."
    return "\n\n".join([text, *cards])


# ---- the results -------------------------------------------------------------------------------


def digits(value: float, metric: str) -> int:
    """Return how many decimals a mean of this measure is written with."""
    fixed, _ = METRICS.get(metric, (None, ""))
    if fixed is not None or value == 0:
        return 3 if fixed is None else fixed
    return max(0, 2 - math.floor(math.log10(abs(value))))


def signed(value: float, decimals: int) -> str:
    """Return a number with a true minus, and without one before zero."""
    text = f"{value:,.{decimals}f}".replace("-", "−")
    return text.removeprefix("−") if not text.strip("−0.") else text


def count(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def plain(text: str) -> str:
    """Let no sign of a name mean anything to MyST."""
    return re.sub(r"([\\`*_{}\[\]<>$|#~^])", r"\\\1", text)


def row_text(row: Entry) -> str:
    """Return a row of results as a line of a table."""
    decimals = digits(row["mean"], row["metric"])
    times = row["train_cpu_seconds"]
    cells = [
        plain(row["model"]),
        signed(row["mean"], decimals),
        f"{signed(row['low'], decimals)} to {signed(row['high'], decimals)}",
        str(len(row["values"])),
        f"{row['num_parameters']:,}" if row["num_parameters"] else "–",
        f"{sum(times) / len(times):,.{0 if sum(times) >= 10 * len(times) else 1}f}" if times else "–",
    ]
    return f"| {' | '.join(cells)} |"


def tables_text(rows: list[Entry]) -> str:
    """Return a table for each task and measure, in the order in which they were recorded."""
    groups: dict[tuple[str, str], list[Entry]] = {}
    for row in rows:
        groups.setdefault((row["task"], row["metric"]), []).append(row)
    text = []
    for (task, metric), members in groups.items():
        head = ["model", plain(metric.replace("_", " ")), "95 % interval", "runs", "parameters", "CPU s"]
        text += [f"**{plain(task)}**", ""]
        text += [f"| {' | '.join(head)} |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
        text += [*map(row_text, members), ""]
    return "\n".join(text)


def merged(notes: list[str]) -> list[str]:
    """Join notes that differ in their numbers alone, and name all the numbers."""
    shapes: dict[str, list[list[str]]] = {}
    for note in notes:
        numbers = shapes.setdefault(NUMBER.sub("{}", note), [])
        numbers.append(NUMBER.findall(note))
    return [
        shape.format(
            *(" or ".join(sorted(set(column), key=as_number)) for column in zip(*numbers, strict=True))
        )
        for shape, numbers in shapes.items()
    ]


def as_number(text: str) -> float:
    """Return what a number of a note is worth."""
    return float(text.replace(",", ""))


def experiment_line(root: Path, name: str) -> str:
    """Return the first line of an experiment's docstring (``LookupError`` if it has none)."""
    path = root / "experiments" / f"{name}.py"
    source = path.read_text(encoding="utf-8") if path.is_file() else ""
    line = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
    if not line:
        raise LookupError(f"results/{name}.json: expected experiments/{name}.py with a docstring")
    return line


def record_part(name: str, record: Entry, book: Book) -> Part:
    """Return the section of one file of results."""
    machine, rows = record["hardware"], record["rows"]
    versions = ", ".join(f"{package} {version}" for package, version in record["versions"].items())
    notes = [MEDIAN.sub("", row["note"]) for row in rows if row["note"]]
    used = [book.chapter(chapter) for chapter in book.uses.get(name, [])]
    more = sorted(set(record) - {"name", "command", "date", "versions", "hardware", "rows"})
    computer = ", ".join(
        [
            machine["cpu"],
            count(machine["cores"], "core"),
            count(machine["torch_threads"], "thread"),
            machine["instructions"],
            machine["system"],
        ]
    )
    facts = {
        "Made": f"{record['date']}, with {versions}, on: {computer}.",
        "Intervals": " · ".join(map(plain, merged(notes))),
        "Used in": " · ".join(used) or "no chapter",
        "File": f"{{download}}`{name}.json </results/{name}.json>`"
        + (f", which also holds {', '.join(f'`{key}`' for key in more)}" if more else ""),
    }
    title = f"{count(len(rows), 'row')}, {count(len({row['task'] for row in rows}), 'task')}"
    text = [
        f"{experiment_line(book.root, name)}\n",
        f"```sh\n{record['command']}\n```\n",
        "\n\n".join(f"**{key}.** {value}" for key, value in facts.items()) + "\n",
        f"::::{{dropdown}} {title}\n{tables_text(rows)}::::\n",
    ]
    return Part("\n".join(text), name, f"results-{name}")


def results_parts(book: Book) -> list[Part]:
    """Return the measures that occur in ``results/``, then a section for each of its files."""
    paths = sorted((book.root / "results").glob("*.json"))
    records = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    metrics = sorted({row["metric"] for record in records.values() for row in record["rows"]})
    if unknown := [metric for metric in metrics if metric not in METRICS]:
        raise LookupError(f"results/: METRICS in _ext/reference.py does not say what {unknown} are")
    number = sum(len(record["rows"]) for record in records.values())
    measures = [f"{plain(metric.replace('_', ' '))}\n: {METRICS[metric][1]}\n" for metric in metrics]
    text = [
        f"{count(len(records), 'file')}, {count(number, 'row')}.\n",
        "::::{dropdown} What the measures mean",
        *measures,
        "::::",
    ]
    return [Part("\n".join(text)), *(record_part(name, record, book) for name, record in records.items())]


# ---- Sphinx ------------------------------------------------------------------------------------


class Generated(SphinxDirective):
    """A directive whose text is made from the sources of the book."""

    def parts(self, book: Book) -> list[Part]:
        """Return the MyST text that takes the directive's place."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Parse the parts; what they need and the book lacks is an error here."""
        try:
            parts = self.parts(Book.read(Path(self.env.srcdir)))
        except (LookupError, ValueError, yaml.YAMLError) as error:
            raise self.error(str(error)) from error
        return [node for part in parts for node in self.parse(part)]

    def parse(self, part: Part) -> list[nodes.Node]:
        """Turn a part into nodes, inside a section if it has a title."""
        body = self.parse_text_to_nodes(part.text)
        if not part.title:
            return body
        section = nodes.section(part.text, nodes.title(part.title, part.title), *body, names=[part.label])
        self.state.document.note_explicit_target(section)
        return [section]


class ArticleDirective(Generated):
    """A directive that shows a part of ``article.yml``."""

    def article(self) -> Entry:
        """Read the data, and tell Sphinx that the page depends on them."""
        path = Path(self.env.doc2path(self.env.docname)).with_name("article.yml")
        self.env.note_dependency(str(path))
        article: Entry = yaml.safe_load(path.read_text(encoding="utf-8"))
        return article


class Verdicts(ArticleDirective):
    """``{article-verdicts}``: the verdicts and their claims, counted."""

    def parts(self, _book: Book) -> list[Part]:
        """Return the counts."""
        return [Part(verdicts_text(self.article()))]


class Claims(ArticleDirective):
    """``{article-claims}``: all claims, section by section."""

    def parts(self, book: Book) -> list[Part]:
        """Return the claims."""
        return claims_parts(self.article(), book)


class Listing(ArticleDirective):
    """``{article-listing} 1``: the lines of a listing."""

    required_arguments = 1

    def parts(self, book: Book) -> list[Part]:
        """Return the listing."""
        return [Part(listing_text(self.article(), book, self.arguments[0]))]


class Results(Generated):
    """``{recorded-results}``: every file of ``results/``."""

    def parts(self, book: Book) -> list[Part]:
        """Return all records."""
        return results_parts(book)


def setup(app: Sphinx) -> dict[str, Any]:
    """Offer the four directives."""
    app.add_directive("article-verdicts", Verdicts)
    app.add_directive("article-claims", Claims)
    app.add_directive("article-listing", Listing)
    app.add_directive("recorded-results", Results)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
