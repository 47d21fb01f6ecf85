"""Dates in two languages: the Chinese says what the English does, and nothing of a test is in training."""

from __future__ import annotations

import builtins
import re
from datetime import datetime, timedelta

import pytest
import torch

from rnnbook import dates
from rnnbook.dates import DATES, FORMATS, ORDERS, PARTS, TIMES, character_vocab, date_pairs, part_of
from rnnbook.text import BEGIN_INDEX, END_INDEX

ALL = [how for group in FORMATS for how in group]
MOMENT = datetime(1922, 4, 4, 22, 24, 9)
WEEKDAYS = "一二三四五六日"


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def by_hand(moment: datetime, how: dates.DateFormat) -> str:
    """Write the Chinese form without Babel."""
    text = ""
    if how.date:
        text += f"{moment.year}年{moment.month}月{moment.day}日"
        text += f"星期{WEEKDAYS[moment.weekday()]}" if "E" in how.date else ""
    if how.time:
        half = ("上午", "下午")[moment.hour >= 12] if "a" in how.time else ""
        hour = str((moment.hour - 1) % 12 + 1) if half else f"{moment.hour:02}"
        text += f"{half}{hour}:{moment.minute:02}" + (f":{moment.second:02}" if "ss" in how.time else "")
    return text


@pytest.mark.parametrize("how", ALL, ids=str)
def test_the_target_says_the_fields_of_the_source(how):
    for moment in (MOMENT, datetime(2000, 12, 31), datetime(1999, 9, 5, 12, 0, 59)):
        source, target = dates.translate_date(moment, how)
        assert target == by_hand(moment, how)
        assert (f"{moment:%A}"[:3] in source) == ("E" in how.date)
        assert (str(moment.year) in source) == bool(how.date)
        assert source.isascii()
        assert source == source.strip()


@pytest.mark.parametrize(
    ("moment", "pattern", "source", "target"),
    [
        (
            MOMENT,
            "EEEE, MMMM d, y at h:mm a",
            "Tuesday, April 4, 1922 at 10:24 PM",
            "1922年4月4日星期二下午10:24",
        ),
        (MOMENT, "HH:mm:ss on d MMM y", "22:24:09 on 4 Apr 1922", "1922年4月4日22:24:09"),
        (datetime(2001, 9, 30), "EEE, d MMM y", "Sun, 30 Sept 2001", "2001年9月30日星期日"),
        (datetime(2001, 9, 30, 0, 5), "h:mm a, y-MM-dd", "12:05 AM, 2001-09-30", "2001年9月30日上午12:05"),
    ],
)
def test_known_pairs(moment, pattern, source, target):
    how = next(how for how in ALL if str(how) == pattern)
    assert dates.translate_date(moment, how) == (source, target)


def test_formats_differ_and_each_piece_of_an_unseen_one_is_seen():
    assert len({(how.locale, str(how)) for how in ALL}) == len(ALL)
    assert len(ALL) == len(TIMES) + len(DATES) * (1 + len(TIMES) * len(ORDERS))
    seen, unseen = ([how for how in ALL if how.unseen == which] for which in (False, True))
    assert len(unseen) == len(DATES) * len(ORDERS)
    for piece in ("date", "time", "order"):
        both = [how for how in seen if how.date and how.time]
        assert {getattr(how, piece) for how in unseen} <= {getattr(how, piece) for how in both}
    joined = {(how.locale, how.date, how.time) for how in seen}
    assert not joined & {(how.locale, how.date, how.time) for how in unseen}


def test_parts_share_no_day_and_are_as_large_as_they_should():
    days = [datetime(1900, 1, 1) + timedelta(days=k) for k in range(0, 73_000, 7)]
    shares = [sum(part_of(day) == part for day in days) / len(days) for part in PARTS]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.01)
    assert part_of(MOMENT) == part_of(MOMENT.replace(hour=0, minute=0, second=0))


@pytest.mark.parametrize(("part", "unseen"), [("training", False), ("validation", False), ("test", True)])
def test_drawn_pairs_are_of_their_part_and_formats(part, unseen):
    pairs = date_pairs(300, part, unseen=unseen, generator=seeded())
    assert len(pairs) == len(pairs.sources) == len(pairs.targets) == len(pairs.formats) == 300
    assert {how.unseen for how in pairs.formats} == {unseen}
    assert len(set(pairs.formats)) > 30
    for target in pairs.targets:
        if found := re.match(r"(\d{4})年(\d+)月(\d+)日", target):
            day = datetime(*map(int, found.groups()))
            assert part_of(day) == part
            assert 1900 <= day.year <= 2099


def test_no_date_of_the_test_is_a_date_of_training():
    parts = [date_pairs(3000, part, generator=seeded(k)) for k, part in enumerate(PARTS)]
    found = [{target.partition("日")[0] for target in part.targets if "日" in target} for part in parts]
    assert all(len(some) > 1000 for some in found)
    assert not found[0] & (found[1] | found[2])
    assert not found[1] & found[2]


def test_the_generator_decides():
    first, same, other = (date_pairs(5, "test", generator=seeded(k)) for k in (1, 1, 2))
    assert first == same
    assert first != other


def test_equal_sources_have_equal_targets():
    pairs = date_pairs(5000, "training", generator=seeded())
    assert len(set(zip(pairs.sources, pairs.targets, strict=True))) == len(set(pairs.sources))


def test_vocabulary_begins_with_the_special_tokens_and_knows_each_character():
    vocab = character_vocab(["4月", "日4"])
    assert vocab.tokens == ("<pad>", "<unk>", "<bos>", "<eos>", "4", "日", "月")
    assert (vocab.tokens[BEGIN_INDEX], vocab.tokens[END_INDEX]) == ("<bos>", "<eos>")
    train, test = (date_pairs(2000, part, generator=seeded()) for part in ("training", "test"))
    assert set("".join(test.sources)) <= set(character_vocab(train.sources).tokens)
    assert set("".join(test.targets)) <= set(character_vocab(train.targets).tokens)


def test_errors_say_what_is_wrong(monkeypatch):
    with pytest.raises(ValueError, match="unknown part 'val'; known: training, validation, test"):
        date_pairs(1, "val", generator=seeded())
    with pytest.raises(ValueError, match="at least one pair, got 0"):
        date_pairs(0, "test", generator=seeded())
    with pytest.raises(ValueError, match="expected part validation or test"):
        date_pairs(1, "training", unseen=True, generator=seeded())
    with pytest.raises(ValueError, match="four digits, got 987"):
        dates.translate_date(datetime(987, 1, 1), ALL[0])
    with pytest.raises(TypeError, match="expected several texts"):
        character_vocab("4月")
    with pytest.raises(ValueError, match="no characters"):
        character_vocab([])
    real = builtins.__import__

    def without_babel(name, *args, **kwargs):
        if name.startswith("babel"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_babel)
    with pytest.raises(ImportError, match="pip install babel"):
        date_pairs(1, "test", generator=seeded())
