"""Dates and times in English and in Chinese: a translation whose truth is known, from Babel's locale data.

Letters: N pairs of a source and its target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import torch

from rnnbook.corpus import text_hash
from rnnbook.text import BEGIN, END, PAD, UNKNOWN, Vocab

# English date patterns (locale, pattern), in the letters of Unicode's date formats: E weekday, d day,
# M month, y year; a year always has four digits, so the source says all that the target has to say.
DATES = (
    ("en", "EEEE, MMMM d, y"),
    ("en", "EEE, MMM d, y"),
    ("en", "MMMM d, y"),
    ("en", "MMM d, y"),
    ("en_GB", "EEEE, d MMMM y"),
    ("en_GB", "EEE, d MMM y"),
    ("en_GB", "d MMMM y"),
    ("en_GB", "d MMM y"),
    ("en_GB", "EEEE d MMMM y"),
    ("en", "y-MM-dd"),
)
# English time pattern and its Chinese one: h hour to 12, H to 24, m minute, s second, a half of the day.
TIMES = (("h:mm a", "ah:mm"), ("HH:mm", "HH:mm"), ("h:mm:ss a", "ah:mm:ss"), ("HH:mm:ss", "HH:mm:ss"))
ORDERS = ("{date} at {time}", "{date}, {time}", "{time} on {date}", "{time}, {date}")
PARTS = ("training", "validation", "test")
_FIRST_DAY, _NUM_DAYS = datetime(1900, 1, 1), 73_049  # to the end of 2099


@dataclass(frozen=True)
class DateFormat:
    """One way to write a moment in English: a date pattern, a time pattern, or both in some order."""

    locale: str
    date: str
    time: str
    order: str
    chinese: str
    unseen: bool  # no training example has this date pattern together with this time pattern

    def __str__(self) -> str:
        """Write both patterns as one line."""
        return self.order.format(date=self.date, time=self.time)


def _formats() -> tuple[tuple[DateFormat, ...], ...]:
    """Join each date pattern, or none, to each time pattern, or none: a group for each two, all orders in it."""
    groups: list[tuple[DateFormat, ...]] = [
        (DateFormat("en", "", time, "{time}", chinese, unseen=False),) for time, chinese in TIMES
    ]
    for i, (locale, date) in enumerate(DATES):
        chinese = "y年M月d日" + ("EEEE" if "E" in date else "")
        groups.append((DateFormat(locale, date, "", "{date}", chinese, unseen=False),))
        for j, (time, more) in enumerate(TIMES):
            # Held out: one time pattern of each date pattern, another one from line to line.
            unseen = (i + j) % len(TIMES) == 0
            groups.append(
                tuple(DateFormat(locale, date, time, order, chinese + more, unseen) for order in ORDERS)
            )
    return tuple(groups)


FORMATS = _formats()


def _formatter() -> Callable[..., str]:
    try:
        from babel.dates import format_datetime  # here, since nothing else needs it
    except ImportError as error:
        raise ImportError(
            "dates come from the locale data of the package babel; what helps: python -m pip install babel"
        ) from error
    formatter: Callable[..., str] = format_datetime
    return formatter


def translate_date(moment: datetime, how: DateFormat) -> tuple[str, str]:
    """Write a moment in English and in Chinese, with exactly the same fields.

    Raises ``ValueError`` for a year without four digits, and ``ImportError`` without the package babel.
    """
    if not 1000 <= moment.year <= 9999:
        raise ValueError(f"expected a year of four digits, got {moment.year}")
    write = _formatter()
    parts = {
        name: write(moment, pattern, locale=how.locale)
        for name, pattern in (("date", how.date), ("time", how.time))
        if pattern
    }
    return how.order.format(**parts), write(moment, how.chinese, locale="zh")


def part_of(day: datetime) -> str:
    """Say to which part a day belongs, by its hash: 8 of 10 to training, 1 each to validation and test."""
    place = int(text_hash(f"{day:%Y-%m-%d}"), 16) % 10
    return PARTS[max(0, place - 7)]


@dataclass(frozen=True)
class DatePairs:
    """Pairs of texts: N ``sources`` in English, their ``targets`` in Chinese, and how each was written."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    formats: tuple[DateFormat, ...]

    def __len__(self) -> int:
        return len(self.sources)


def date_pairs(count: int, part: str, *, unseen: bool = False, generator: torch.Generator) -> DatePairs:
    """Draw pairs of an English date and its Chinese form: any day of 1900 to 2099 that is of this ``part``.

    No day of one part is of another. With ``unseen`` the formats are those that training never has;
    each of their pieces it does have. Raises ``ValueError`` for an unknown part, fewer than one pair, or
    unseen formats for training, and ``ImportError`` without the package babel.
    """
    if part not in PARTS:
        raise ValueError(f"unknown part {part!r}; known: {', '.join(PARTS)}")
    if count < 1:
        raise ValueError(f"expected at least one pair, got {count}")
    if unseen and part == "training":
        raise ValueError("formats that training has seen are not unseen: expected part validation or test")
    groups = [group for group in FORMATS if group[0].unseen == unseen]
    found: list[tuple[str, str, DateFormat]] = []

    def draw(high: int) -> int:
        return int(torch.randint(high, (), generator=generator))

    while len(found) < count:
        day, second, group = draw(_NUM_DAYS), draw(86_400), groups[draw(len(groups))]
        moment = _FIRST_DAY + timedelta(days=day, seconds=second)
        if part_of(moment) == part:
            how = group[draw(len(group))]
            found.append((*translate_date(moment, how), how))
    sources, targets, hows = zip(*found, strict=True)
    return DatePairs(sources, targets, hows)


def character_vocab(texts: Iterable[str]) -> Vocab:
    """Give the characters of texts numbers in their order in Unicode, after the four special tokens.

    Raises ``TypeError`` for one text in place of several, ``ValueError`` where there is no character.
    """
    if isinstance(texts, str):
        raise TypeError("expected several texts, got one str")
    known = sorted(set().union(*texts))
    if not known:
        raise ValueError("no characters: no texts, or a generator that was used up")
    return Vocab((PAD, UNKNOWN, BEGIN, END, *known))
