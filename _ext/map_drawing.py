"""The map of the chapters as SVG: a column for each part, a box for each chapter, a line for each need.

A line leaves a chapter on its right and enters the one that needs it on its left. Between two columns
each chapter has a lane of its own, so lines of different chapters cross but never run into one. What
stands in one column is joined from below to above, or around the boxes between them.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 100, 38  # of a box
GAP, DROP = 38, 18  # between columns, between boxes of a column
HEAD = 30  # above the first box, for the names of the parts
LINE = 13  # from one line of a label to the next
LETTERS = 14  # in a line of a label
FIRST, LANE = 9, 5  # from a box to the first lane, from one lane to the next
NEXT = 4  # between lines that pass between the same two rows
BEND = 4  # radius of a corner
LEAVE, RETURN = 6, 9  # above the middle a line leaves a box, below it one comes back to its right side
STYLE = """
.book-map { display: block; width: 100%; height: auto; margin-block: 1.5rem .5rem; font-size: 11.5px; }
.book-map a { text-decoration: none; }
.book-map text { text-anchor: middle; fill: var(--pst-color-text-base); }
.book-map .part { fill: var(--pst-color-text-muted); }
.book-map rect { fill: var(--pst-color-surface); stroke: var(--pst-color-border); }
.book-map a:is(:hover, :focus-visible) rect { stroke: var(--pst-color-primary); stroke-width: 2; }
.book-map a:focus-visible { outline: none; }
.book-map-note { font-size: .9rem; color: var(--pst-color-text-muted); }
.book-map .edge { fill: none; stroke: var(--pst-color-text-muted); stroke-width: 1.2; }
.book-map .next { stroke-dasharray: 3 2; }
.book-map .edge .head { fill: var(--pst-color-text-muted); stroke: none; }
@media (max-width: 767.98px) { .book-map, .book-map-note { display: none; } }
"""
# Pointed at or reached by the keyboard, a chapter shows its own lines.
LIT = """.book-map:has(#{0}:is(:hover, :focus-visible)) .of-{0} {{ stroke: var(--pst-color-primary); stroke-width: 2.4; }}
.book-map:has(#{0}:is(:hover, :focus-visible)) .of-{0} .head {{ fill: var(--pst-color-primary); }}
"""


@dataclass(frozen=True)
class Box:
    """A chapter on the map: its name, what is written on it, where it leads, and whose lines enter it."""

    name: str
    label: str
    title: str
    address: str
    needs: tuple[str, ...]
    after: tuple[str, ...] = ()  # not needed, but to be read before this one

    @property
    def entering(self) -> tuple[str, ...]:
        """Return all whose lines enter the box."""
        return self.needs + self.after


def rows_of(columns: list[list[Box]]) -> dict[str, int]:
    """Return the row of each box: near those that it needs, below its neighbour, in no more rows than needed."""
    most = max(map(len, columns))
    rows: dict[str, int] = {}
    for column in columns:
        free = 0
        for place, box in enumerate(column):
            before = [
                rows[need] for need in box.entering if need in rows and need not in {b.name for b in column}
            ]
            wish = round(sum(before) / len(before)) if before else free
            rows[box.name] = min(max(free, wish), most - (len(column) - place))
            free = rows[box.name] + 1
    return rows


@dataclass(frozen=True)
class Places:
    """Where everything stands: the column and the row of each box, and the lane of each chapter."""

    column: dict[str, int]
    row: dict[str, int]
    lane: dict[tuple[str, int], int]
    channel: dict[tuple[str, str], tuple[int, int]]

    def left(self, name: str) -> int:
        """Return the left edge of a box."""
        return self.column[name] * (WIDTH + GAP)

    def middle(self, name: str) -> int:
        """Return the height of the middle of a box."""
        return HEAD + self.row[name] * (HEIGHT + DROP) + HEIGHT // 2

    def lane_at(self, name: str, gap: int) -> int:
        """Return where the upright line of a chapter stands in the gap to the right of a column."""
        return gap * (WIDTH + GAP) + WIDTH + FIRST + LANE * self.lane[name, gap]


def place(columns: list[list[Box]]) -> Places:
    """Give each box its column and row, and each chapter a lane in the gaps in which its lines turn."""
    column = {box.name: number for number, boxes in enumerate(columns) for box in boxes}
    row = rows_of(columns)
    lines = [(need, box.name) for boxes in columns for box in boxes for need in box.entering]
    turns: dict[int, set[str]] = {}  # who goes up or down in the gap to the right of a column
    for source, target in lines:
        if column[source] == column[target]:
            if row[target] - row[source] > 1:
                turns.setdefault(column[source], set()).add(source)
        else:
            turns.setdefault(column[source], set()).add(source)
            turns.setdefault(column[target] - 1, set()).add(source)
    lane = {
        (name, gap): number
        for gap, names in turns.items()
        for number, name in enumerate(sorted(names, key=lambda name: (-column[name], row[name])))
    }
    channel: dict[tuple[str, str], tuple[int, int]] = {}
    passing: dict[int, list[str]] = {}  # who passes above a row
    for source, target in lines:
        if column[target] - column[source] > 1:
            level = row[target] + (row[target] <= row[source])
            names = passing.setdefault(level, [])
            names += [] if source in names else [source]
            channel[source, target] = level, names.index(source)
    return Places(column, row, lane, channel)


def path(places: Places, source: str, target: str) -> list[tuple[int, int]]:
    """Return the corners of a line, from the box of what is needed to the box of what needs it."""
    start, end = places.column[source], places.column[target]
    y, aim = places.middle(source) - LEAVE, places.middle(target)
    if start == end and places.row[target] - places.row[source] == 1:
        centre = places.left(source) + WIDTH // 2
        return [(centre, places.middle(source) + HEIGHT // 2), (centre, aim - HEIGHT // 2)]
    lane = places.lane_at(source, start)
    if start == end:
        side = places.left(source) + WIDTH
        return [(side, y), (lane, y), (lane, aim + RETURN), (side, aim + RETURN)]
    corners = [(places.left(source) + WIDTH, y), (lane, y)]
    if end - start > 1:  # past other columns, between two of their rows
        level, number = places.channel[source, target]
        between = HEAD + level * (HEIGHT + DROP) - DROP // 2 + NEXT * ((number + 1) // 2) * (-1) ** number
        last = places.lane_at(source, end - 1)
        corners += [(lane, between), (last, between), (last, aim)]
    else:
        corners += [(lane, aim)]
    return [*corners, (places.left(target), aim)]


def smooth(corners: list[tuple[int, int]]) -> str:
    """Return a line through corners as SVG, with each corner bent."""
    (x, y), *inner = corners[:-1]
    line = f"M{x} {y}"
    for (px, py), (x, y), (nx, ny) in zip(corners, inner, corners[2:], strict=False):
        if (px, py) == (x, y) or (x, y) == (nx, ny):
            continue
        before, after = abs(x - px) + abs(y - py), abs(nx - x) + abs(ny - y)
        bend = min(BEND, before / 2, after / 2)
        ax, ay = x - bend * (x - px) / before, y - bend * (y - py) / before
        bx, by = x + bend * (nx - x) / after, y + bend * (ny - y) / after
        line += f"L{ax:g} {ay:g}Q{x} {y} {bx:g} {by:g}"
    return line + f"L{corners[-1][0]} {corners[-1][1]}"


def edge(places: Places, source: Box, target: Box, names: dict[str, str]) -> str:
    """Return a line with its head, marked with the two chapters that it joins."""
    corners = path(places, source.name, target.name)
    (x0, _), (x, y) = corners[-2:]
    if x == x0:
        head, corners[-1] = f"M{x} {y}l-4 -7h8z", (x, y - 5)
    else:
        way = 1 if x > x0 else -1
        head, corners[-1] = f"M{x} {y}l{-7 * way} -4v8z", (x - 5 * way, y)
    line = smooth(corners)
    kind = "edge" if source.name in target.needs else "edge next"
    marks = f"{kind} of-{names[source.name]} of-{names[target.name]}"
    return f'<g class="{marks}"><path d="{line}"/><path class="head" d="{head}"/></g>'


def box_of(places: Places, box: Box, identifier: str, topics: dict[str, str]) -> str:
    """Return a box as a link; who cannot see the lines is told what the chapter needs."""
    x, y = places.left(box.name), places.middle(box.name)
    lines = textwrap.wrap(box.label, LETTERS, break_long_words=False)
    first = y + 4 - LINE * (len(lines) - 1) / 2
    text = "".join(
        f'<text x="{x + WIDTH // 2}" y="{first + LINE * number:g}">{escape(line)}</text>'
        for number, line in enumerate(lines)
    )
    needs = f" Needs: {', '.join(topics[need] for need in box.needs)}." if box.needs else ""
    spoken = escape(f"{box.label}: {box.title}{needs}")
    return (
        f'<a id="{identifier}" href="{escape(box.address)}" aria-label="{spoken}"><title>{escape(box.title)}</title>'
        f'<rect x="{x}" y="{y - HEIGHT // 2}" width="{WIDTH}" height="{HEIGHT}" rx="5"/>{text}</a>'
    )


def draw(parts: dict[str, list[Box]]) -> str:
    """Return the map as SVG; on a narrow screen it is hidden, and the cards below it say the same."""
    columns = list(parts.values())
    places = place(columns)
    boxes = {box.name: box for column in columns for box in column}
    names = {name: f"map-{number}" for number, name in enumerate(boxes)}
    topics = {name: box.label for name, box in boxes.items()}
    width = len(columns) * (WIDTH + GAP) - GAP + 2
    returns = any(gap == len(columns) - 1 for _, gap in places.lane)
    width += GAP * returns
    height = HEAD + max(map(len, columns)) * (HEIGHT + DROP) - DROP + 2
    heads = "".join(
        f'<text class="part" x="{number * (WIDTH + GAP) + WIDTH // 2}" y="14">{number + 1} · {escape(part)}</text>'
        for number, part in enumerate(parts)
    )
    edges = "".join(edge(places, boxes[need], box, names) for box in boxes.values() for need in box.entering)
    style = STYLE + "".join(LIT.format(name) for name in names.values())
    return (
        f'<svg class="book-map" viewBox="-1 -1 {width} {height}" role="group" '
        'aria-label="Map of the chapters: each part is a column, each chapter a link">'
        f"<style>{style}</style>{heads}{edges}"
        + "".join(box_of(places, box, names[box.name], topics) for box in boxes.values())
        + "</svg>\n"
    )
