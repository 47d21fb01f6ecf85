"""Labelled texts: read from a reader's own file, freed of repeats, cut into parts without a leak."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2_contingency

from rnnbook.text import normalize

Labels = npt.NDArray[np.int64]
Positions = npt.NDArray[np.int64]
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_CLASS_NUMBER = re.compile(r"[0-9]{1,6}")
_MAX_CLASSES = 100


@dataclass(frozen=True)
class Split:
    """Texts and their labels, in one fixed order. ``labels`` has shape (N,), int64."""

    texts: tuple[str, ...]
    labels: Labels

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, index: Sequence[int] | Positions) -> Split:
        """Return the examples at these positions, in the given order (``TypeError`` for a mask)."""
        places = np.asarray(index)
        if places.size and places.dtype.kind not in "iu":
            raise TypeError(f"expected positions as integers, got {places.dtype}; for a mask: np.flatnonzero")
        return Split(tuple(self.texts[int(i)] for i in places), self.labels[places.astype(np.int64)])


def read_texts(
    path: str | Path, *, text_column: str = "text", label_column: str = "label"
) -> tuple[tuple[str, ...], Labels]:
    """Read a file of your own: ``(texts, labels (N,) int64)`` in the order of its rows.

    A file ``.csv`` (commas) or ``.tsv`` (tabs) in UTF-8, whose first row names the columns; the two
    that are read must be among them. A field with a delimiter or a line end inside stands in double
    quotes. Labels are class numbers from 0. Blank lines are passed over; every other row gives one
    text, and "NA" is a text like another.

    Raises ``ValueError`` with the number of the line where the row begins: for bytes that are not
    UTF-8, an open quote, a wrong number of columns, a text without a visible character, a label
    that is no class number; without a line for another ending of the name, a file without texts,
    and a label column that can be none: one label in all of several rows, more than 100 different
    labels, or more than two with most of the rows having one for themselves, as numbers of rows do.
    """
    path = Path(path)
    delimiter = _DELIMITERS.get(path.suffix.lower())
    if delimiter is None:
        raise ValueError(f"{path.name}: expected a file whose name ends in .csv or .tsv")
    # newline="": csv finds the ends of rows itself, outside quotes and never at U+2028.
    reader = csv.reader(io.StringIO(read_utf8(path), newline=""), delimiter=delimiter, strict=True)
    columns: list[str] = []
    rows: list[tuple[str, int]] = []
    line = 1
    try:
        for cells in reader:
            if not columns:
                columns = _checked_columns(cells, text_column, label_column)
            elif cells:
                rows.append(_checked_row(columns, cells, text_column, label_column))
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path.name}, line {line}: {error}; is a quote open or not doubled?") from error
    except ValueError as error:
        raise ValueError(f"{path.name}, line {line}: {error}") from error
    if not rows:
        raise ValueError(f"{path.name}: expected a row of column names and rows of texts, found no text")
    labels = [label for _, label in rows]
    if fault := _fault_of_a_label_column(labels):
        raise ValueError(
            f"{path.name}: {label_column!r} is no label column: {fault}; the columns are {columns}"
        )
    return tuple(text for text, _ in rows), np.array(labels, np.int64)


def _fault_of_a_label_column(labels: list[int]) -> str | None:
    counts = Counter(labels)
    once = sum(count == 1 for count in counts.values())
    faults = {
        f"{labels[0]} in all {len(labels)} rows": len(counts) == 1 < len(labels),
        f"{once} of {len(labels)} rows have one for themselves": len(counts) > 2 and 2 * once > len(labels),
        f"{len(counts)} different ones, expected at most {_MAX_CLASSES}": len(counts) > _MAX_CLASSES,
    }
    return next((fault for fault, found in faults.items() if found), None)


def read_utf8(path: Path) -> str:
    """Read a whole file in UTF-8; ``ValueError`` with the line of the first byte that is none."""
    raw = path.read_bytes().removeprefix(codecs.BOM_UTF8)  # or it would stand in the first column's name
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path.name}, line {line}: byte {raw[error.start]:#04x} is not UTF-8; save the file as UTF-8"
        ) from error


def _checked_columns(cells: list[str], text: str, label: str) -> list[str]:
    if text == label or any(cells.count(name) != 1 for name in (text, label)):
        raise ValueError(f"expected a first row with the column names {text} and {label}, got {cells}")
    return cells


def _checked_row(columns: list[str], cells: list[str], text: str, label: str) -> tuple[str, int]:
    if len(cells) != len(columns):
        raise ValueError(f"expected {len(columns)} columns, got {len(cells)}; quote a text with a delimiter")
    row = dict(zip(columns, cells, strict=True))
    if not normalize(row[text]).strip():
        raise ValueError("the text is empty")
    if not _CLASS_NUMBER.fullmatch(row[label].strip()):
        raise ValueError(f"expected a class number from 0 as label, got {row[label]!r} (columns: {columns})")
    return row[text], int(row[label])


def duplicates(texts: Sequence[str]) -> int:
    """Count the texts that repeat an earlier one, to the letter."""
    return len(texts) - len(set(texts))


def overlap(train_texts: Iterable[str], test_texts: Iterable[str]) -> int:
    """Count the test texts that also stand in the training texts, to the letter."""
    seen = set(train_texts)
    return sum(text in seen for text in test_texts)


def same_text_key(text: str) -> str:
    """Return what two texts share that a model can hardly tell apart: case, width, blanks do not count."""
    return "".join(normalize(text).split())


def deduplicate(texts: Sequence[str], labels: Sequence[int] | Labels) -> Positions:
    """Return the positions (M,) to keep so that no text stands twice: the first of its kind.

    Texts are the same when their :func:`same_text_key` is. Where the same text has two labels, none
    is kept, since nothing tells which label is right. Raises ``ValueError`` unless each text has a label.
    """
    checked = _checked_labels(texts, labels)
    first: dict[str, int] = {}
    contradicted = set()
    for i, text in enumerate(texts):
        key = same_text_key(text)
        if checked[first.setdefault(key, i)] != checked[i]:
            contradicted.add(key)
    return np.array([i for key, i in first.items() if key not in contradicted], np.int64)


def text_hash(text: str) -> str:
    """SHA-256 of a text in UTF-8: its place in the book's order and in its splits."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _hash_position(text: str) -> float:
    """Return a number from 0 to 1, 1 excluded, that depends on the text alone."""
    return int(text_hash(text)[:12], 16) / 16**12


def split_by_hash(split: Split, share: float, *, salt: str = "") -> tuple[Split, Split]:
    """Cut off about ``share`` of the examples, chosen by the hash of ``salt`` and each text.

    The choice depends on the text alone: it is the same on every machine and in every order, equal
    texts fall on the same side, and an added example moves no other. Returns ``(rest, cut_off)``.
    To cut the rest once more, give another salt: the first cut used up the small hashes.

    Raises ``ValueError`` for a share outside (0, 1) or when one side would lack a class.
    """
    if not 0.0 < share < 1.0:
        raise ValueError(f"expected a share between 0 and 1, e.g. 0.2, got {share}")
    cut = np.array([_hash_position(salt + text) < share for text in split.texts], np.bool_)
    rest, chosen = split.take(np.flatnonzero(~cut)), split.take(np.flatnonzero(cut))
    classes = set(split.labels.tolist())
    if not classes or any(set(side.labels.tolist()) != classes for side in (rest, chosen)):
        raise ValueError(f"{len(split)} examples are too few for a share of {share}: one side lacks a class")
    return rest, chosen


def split_texts(
    texts: Sequence[str],
    labels: Sequence[int] | Labels,
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1),
    *,
    seed: int = 0,
) -> tuple[Positions, Positions, Positions]:
    """Cut texts of your own into training, validation and test: three arrays of positions.

    Like :func:`split_by_hash`, with ``seed`` as salt, so ``shares`` are met about; but the hash is
    that of :func:`same_text_key`, so that no text has its like in another part.

    Raises ``ValueError`` unless each text has a label and ``shares`` are positive with the sum 1, for
    labels of a single class, and when a part would lack a class: each part must hold all of them.
    """
    checked = _checked_labels(texts, labels)
    if len(shares) != 3 or min(shares) <= 0 or not math.isclose(sum(shares), 1.0):
        raise ValueError(f"expected three positive shares with the sum 1, got {shares}")
    classes = np.unique(checked)
    if len(classes) < 2:
        raise ValueError(f"expected labels of at least two classes, got {classes.tolist()} alone")
    places = [_hash_position(f"{seed} {same_text_key(text)}") for text in texts]
    part = np.searchsorted(np.cumsum(shares)[:2], places, side="right")
    train, val, test = (np.flatnonzero(part == i) for i in range(3))
    for name, positions in (("training", train), ("validation", val), ("test", test)):
        if lacking := sorted({*classes.tolist()} - {*checked[positions].tolist()}):
            raise ValueError(
                f"the {name} part holds {len(positions)} of {len(texts)} texts and lacks class {lacking[0]}: "
                f"give it a bigger share, or more texts of that class, or try another seed"
            )
    return train, val, test


def check_parts(parts: Mapping[str, Split], label_names: Sequence[str]) -> None:
    """Refuse training, validation and test parts, by their names, whose scores would mislead.

    Raises ``ValueError`` for an empty part; for a label outside ``label_names``; for a part without
    one of the classes; for texts that stand in two parts (by :func:`same_text_key`); and for two parts
    in which the share of a class differs by more than a tenth *and* by more than chance explains, as
    in a file that was sorted: Pearson's test of homogeneity (1900) at a level of one in a thousand.
    """
    counts = {name: _checked_counts(name, part, label_names) for name, part in parts.items()}
    keys = {name: {same_text_key(text): text for text in part.texts} for name, part in parts.items()}
    for one, other in combinations(parts, 2):
        if leaked := [text for key, text in keys[other].items() if key in keys[one]]:
            raise ValueError(
                f"{len(leaked)} texts of the part {other} stand in {one} too, for example "
                f"{leaked[0][:40]!r}: keep such texts in one part, as split_texts does"
            )
        table = np.stack([counts[one], counts[other]])
        shares = table / table.sum(axis=1, keepdims=True)
        worst = int(np.abs(shares[0] - shares[1]).argmax())
        first, second = shares[:, worst]
        if abs(first - second) > 0.1 and chi2_contingency(table).pvalue < 0.001:
            raise ValueError(
                f"the share of class {label_names[worst]} is {first:.0%} in the part {one} and {second:.0%} in "
                f"{other}, more than chance explains: cut all texts anew, by split_texts"
            )


def _checked_counts(name: str, part: Split, label_names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Count the texts of each class, at least one of each."""
    if not len(part):
        raise ValueError(f"the part {name} is empty: give it a bigger share, or more texts")
    labels, classes = _checked_labels(part.texts, part.labels), np.arange(len(label_names))
    if len(unknown := np.setdiff1d(labels, classes)):
        raise ValueError(
            f"the part {name} holds label {unknown[0]}, expected 0 to {len(classes) - 1} for "
            f"{', '.join(label_names)}: is that another column, or do the classes count from 1?"
        )
    if len(lacking := np.setdiff1d(classes, labels)):
        raise ValueError(
            f"the part {name} lacks class {label_names[lacking[0]]}: give it a bigger share, or cut by split_texts"
        )
    return np.bincount(labels)


def _checked_labels(texts: Sequence[str], labels: Sequence[int] | Labels) -> Labels:
    array = np.asarray(labels)
    if array.shape != (len(texts),) or not len(texts):
        raise ValueError(
            f"expected at least one text and one label a text, got {len(texts)} and {array.shape}"
        )
    if array.dtype.kind not in "iu":
        raise TypeError(f"expected class numbers as integers, got {array.dtype}")
    return array.astype(np.int64)
