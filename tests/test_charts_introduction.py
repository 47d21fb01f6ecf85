"""Figures of the introduction: what is drawn, and whether the history agrees with its papers."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex

from rnnbook.charts_introduction import (
    HISTORY,
    KINDS,
    Event,
    draw_gallery,
    draw_timeline,
    plot_bracket,
    spread,
)
from rnnbook.plot import BLUE, ORANGE

pytestmark = pytest.mark.usefixtures("style")
ROOT = Path(__file__).parents[1]


def bibliography() -> dict[str, str]:
    text = (ROOT / "references.bib").read_text(encoding="utf-8")
    return {entry.split(",")[0].split("{")[1]: entry for entry in re.split(r"\n(?=@)", text) if "{" in entry}


@pytest.mark.parametrize("event", HISTORY, ids=lambda event: event.key)
def test_an_event_has_the_year_of_its_paper(event):
    (year,) = re.findall(r"\n\s*year\s*=\s*[{\"]?(\d{4})", bibliography()[event.key])
    assert int(year) == event.year


def test_history_is_in_order_and_every_paper_stands_once_and_is_cited_in_the_chapter():
    assert [event.year for event in HISTORY] == sorted(event.year for event in HISTORY)
    assert len({event.key for event in HISTORY}) == len(HISTORY)
    assert {event.kind for event in HISTORY} == set(KINDS)
    chapter = (ROOT / "chapters" / "introduction" / "why_recurrence.ipynb").read_text(encoding="utf-8")
    cited = {key for keys in re.findall(r"\{cite(?::\w)?\}`([\w,]+)`", chapter) for key in keys.split(",")}
    assert {event.key for event in HISTORY} <= cited


def test_spread_keeps_what_has_room():
    assert spread([1990.0, 2000.0], 2.0, 2010.0) == [1990.0, 2000.0]


@pytest.mark.parametrize("years", [[2000, 2000, 2000], [1990, 2009, 2010, 2010], [2010, 2010]])
def test_spread_keeps_order_and_distance_and_stays_before_the_last(years):
    places = spread(years, 3.0, 2012.0)
    assert np.diff(places).min() >= 3.0
    assert places[-1] <= 2012.0


def test_spread_refuses_years_out_of_order():
    with pytest.raises(ValueError, match="in order"):
        spread([2000, 1990], 1.0, 2010.0)


def test_timeline_joins_each_text_to_its_year_in_the_look_of_its_kind():
    events = [Event(1986, "cell", "first", "a"), Event(1986, "use", "second", "b")]
    ax = draw_timeline([*events, Event(2017, "attention", "third", "c")])
    joins, marks = ax.lines[1::2], ax.lines[2::2]
    assert [line.get_ydata()[0] for line in joins] == [1986, 1986, 2017]
    for text, join, mark in zip(ax.texts, joins, marks, strict=True):
        assert text.get_position()[1] == join.get_ydata()[-1] == mark.get_ydata()[0]
    assert [text.get_text() for text in ax.texts] == ["1986  first", "1986  second", "2017  third"]
    looks = [KINDS["cell"], KINDS["use"], KINDS["attention"]]
    assert [(line.get_color(), line.get_marker()) for line in marks] == looks
    assert ax.yaxis_inverted()


def test_the_whole_timeline_fits_a_telephone_and_no_text_lies_on_another():
    ax = draw_timeline()
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert ax.figure.get_size_inches()[0] <= 4.5
    assert max(box.x1 for box in boxes) <= ax.figure.bbox.x1
    assert all(above.y0 >= below.y1 for above, below in pairwise(boxes))


def test_bracket_draws_every_seed_and_an_arrow_from_written_to_shuffled():
    scores = {"network": [0.9, 1.0], "shuffled": [0.5, 0.6], "bag": [0.7]}
    first = plot_bracket({"one task": scores, "another": scores})
    top, bottom = first.figure.axes
    assert [list(line.get_xdata()) for line in top.lines[1:]] == [[0.9, 1.0], [0.5, 0.6], [0.7]]
    (arrow,) = [text for text in top.texts if text.get_text() == ""]
    assert (arrow.xyann, arrow.xy) == ((pytest.approx(0.95), 0), (pytest.approx(0.55), 1))
    assert [text.get_text() for text in top.get_yticklabels()] == list(scores)
    assert "share" in bottom.get_xlabel()
    assert [ax.texts[-1].get_text() for ax in (top, bottom)] == ["one task", "another"]


def boxes_of(ax, colour):
    lines = [line for line in ax.lines if to_hex(line.get_color()) == colour.lower()]
    return [(min(line.get_xdata()), max(line.get_xdata())) for line in lines]


def test_gallery_puts_one_answer_below_the_last_token_and_a_row_of_answers_below_the_first():
    draw_gallery({"one": (["so", "dull", "."], ["negative"]), "each": (list("ab c"), list("b cd"))})
    one, each = plt.gcf().axes
    assert boxes_of(one, ORANGE)[0][1] == pytest.approx(boxes_of(one, BLUE)[-1][1])
    assert boxes_of(each, ORANGE) == boxes_of(each, BLUE)
    assert [text.get_text() for text in each.texts] == ["a", "b", "␣", "c", "b", "␣", "c", "d"]


def test_gallery_lets_another_sequence_begin_where_the_first_has_ended():
    draw_gallery({"translate": (list("abcd"), list("xyz"))})
    (ax,) = plt.gcf().axes
    assert boxes_of(ax, ORANGE)[0][0] > boxes_of(ax, BLUE)[-1][1]
    assert ax.get_xlim()[1] >= boxes_of(ax, ORANGE)[-1][1]


def test_gallery_shows_few_steps_as_a_picture_and_many_as_lines():
    picture, series = np.arange(32.0).reshape(8, 4), np.random.default_rng(0).normal(size=(40, 3))
    draw_gallery({"picture": (picture, ["4"]), "series": (series, ["?"])})
    shown, answer, lines, _ = plt.gcf().axes
    assert np.array_equal(shown.images[0].get_array(), picture)
    assert answer.texts[0].get_text() == "4"
    assert len(lines.lines) == 3
    assert all(
        np.allclose(np.diff(line.get_ydata()), np.diff(series[:, i])) for i, line in enumerate(lines.lines)
    )
    assert "time step" in shown.get_ylabel()
    assert "time step" in lines.get_xlabel()


def test_gallery_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one pair"):
        draw_gallery({})
