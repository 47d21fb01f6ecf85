"""The figures of the chapters on text show what they were given, and Chinese needs no font of the machine."""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from fontTools.ttLib import TTFont
from matplotlib.colors import to_hex
from matplotlib.font_manager import fontManager

from rnnbook import charts_text, draw, plot
from rnnbook.results import Row
from tools import font

pytestmark = pytest.mark.usefixtures("style")

EIGHT = 8  # sides of a stop sign


def row(task: str, model: str, mean: float, low: float, high: float, seconds: tuple[float, ...] = ()) -> Row:
    return Row(task, model, "accuracy", [0, 1], [mean, mean], mean, low, high, list(seconds), 1)


def picture(*texts: str, **look: object) -> np.ndarray:
    """Draw texts, one a line, and return the grey pixels."""
    figure = plt.figure(figsize=(4, 1), layout="none")
    for k, text in enumerate(texts):
        figure.text(0.02, 0.6 - 0.5 * k, text, **look)
    buffer = io.BytesIO()
    with mpl.rc_context({"savefig.bbox": "standard"}):
        figure.savefig(buffer, format="raw")
    return np.frombuffer(buffer.getvalue(), np.uint8)


def bars(ax) -> list[np.ndarray]:
    """Return the ends of each error bar, two points (x, y)."""
    return [bar.lines[2][0].get_segments()[0] for bar in ax.containers]


def ticks(axis) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


# --- Chinese ------------------------------------------------------------------------------------


def test_chinese_is_drawn_without_a_font_of_the_machine(monkeypatch):
    own = [entry for entry in fontManager.ttflist if Path(mpl.get_data_path()) in Path(entry.fname).parents]
    monkeypatch.setattr(fontManager, "ttflist", own)
    fontManager._findfont_cached.cache_clear()
    plot.use_style()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        good, bad = picture("服务很好，不贵！"), picture("服务很坏，太贵？")
        picture("《红楼梦》（ＡＢＣ）", weight="bold")
    assert (good < 128).sum() > 500
    assert (good != bad).any()
    fontManager._findfont_cached.cache_clear()


def test_a_character_that_no_font_has_is_named_in_a_warning():
    with pytest.warns(UserWarning, match="Glyph 39253 .* missing from font.*Rnnbook Hei"):
        picture("饕")


def test_latin_text_looks_as_if_the_second_font_were_not_there(caplog):
    texts = ("Naïve “words”, 95 % … — $h_t = \\tanh(a)$", "3 × 10⁻² → ±1")
    with caplog.at_level(logging.WARNING, logger="matplotlib.font_manager"):
        for weight in ("normal", "bold"):
            with_it = picture(*texts, weight=weight)
            with mpl.rc_context({"font.family": "DejaVu Sans"}):
                assert (with_it == picture(*texts, weight=weight)).all()
    assert caplog.messages == []


def test_the_font_is_registered_once():
    plot.use_style()
    plot.use_style()
    assert [entry.weight for entry in fontManager.ttflist if entry.fname == str(plot.CHINESE)] == [400, 700]


def test_the_font_holds_what_its_recipe_says_and_no_reserved_name():
    with TTFont(plot.CHINESE) as found:
        assert {chr(code) for code in found.getBestCmap()} >= font.characters()
        names = {record.nameID: record.toUnicode() for record in found["name"].names}
    assert {names[1], names[4]} == {font.FAMILY} <= set(mpl.rcParams["font.family"])
    assert not any(word in names[number] for number in (1, 3, 4, 6) for word in ("Noto", "Source"))
    assert "Adobe" in names[0]
    assert "Open Font License, Version 1.1" in names[13]
    licence = (plot.CHINESE.parent / "OFL.txt").read_text(encoding="utf-8")
    assert "SIL OPEN FONT LICENSE Version 1.1" in licence
    assert names[0].removeprefix("© ") in licence
    assert plot.CHINESE.stat().st_size < 900_000


def test_the_font_holds_the_common_characters_and_what_the_reviews_need():
    assert len([one for one in font.characters() if "\u4e00" <= one <= "\u9fff"]) == 3755 + len(font.EXTRA)
    assert set("的一是不了啊座，。！？；：（）《》、０Ａ～￥馨這") <= font.characters()
    assert "饕" not in font.characters()


# --- the figures --------------------------------------------------------------------------------

BUDGET = [
    row("t", "GRU, pre-trained", 0.92, 0.915, 0.925, (600, 640)),
    row("t", "TF-IDF", 0.89, 0.885, 0.895, (4,)),
    row("t", "LSTM", 0.88, 0.87, 0.89, (30, 34)),
    row("t", "NBSVM", 0.91, 0.905, 0.915, (4.5,)),
]


def test_budget_has_a_mark_a_model_and_the_best_so_far(ax):
    assert charts_text.plot_budget(BUDGET, {"GRU, pre-trained": "large"}, ax=ax) is ax
    places = [tuple(bar.lines[0].get_xydata()[0]) for bar in ax.containers]
    assert places == [(4, 89), (4.5, 91), (32, 88), (620, 92)]
    assert bars(ax)[0].tolist() == pytest.approx(np.array([[4, 88.5], [4, 89.5]]))
    markers = [bar.lines[0].get_marker() for bar in ax.containers]
    assert markers[0] == markers[1] != markers[2] == markers[3]
    steps = ax.lines[0]
    assert steps.get_drawstyle() == "steps-post"
    assert list(steps.get_ydata()) == [89, 91, 91, 92, 92]
    words = [text.get_text() for text in ax.texts]
    assert words == ["TF-IDF", "NBSVM", "LSTM", "large", "1 min"]
    assert [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == ":"] == [60]
    assert ax.get_xscale() == "log"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("CPU time of training (seconds, log scale)", "accuracy (%)")


def test_labels_of_the_budget_meet_neither_each_other_nor_a_mark(ax):
    close = [row("t", f"model {k}", 0.9, 0.895, 0.905, (10 + k / 10,)) for k in range(5)]
    charts_text.plot_budget(close, ax=ax)
    ax.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts if "model" in text.get_text()]
    marks = [bar.lines[0].get_window_extent() for bar in ax.containers]
    assert len(boxes) == len(marks) == 5
    for k, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:k] + marks)
        assert ax.get_window_extent().fully_contains(*box.min)
        assert ax.get_window_extent().fully_contains(*box.max)


def test_budget_refuses_what_was_not_trained(ax):
    with pytest.raises(ValueError, match="got none for majority, other"):
        charts_text.plot_budget(
            [*BUDGET, row("t", "majority", 0.5, 0.4, 0.6, (0,)), row("t", "other", 1, 1, 1)]
        )
    assert not ax.lines


def test_challenge_has_a_line_a_phenomenon_and_a_look_a_model(ax):
    rows = [
        row("negation", "linear", 0.5, 0.4, 0.65),
        row("irony", "linear", 0.3, 0.2, 0.4),
        row("negation", "GRU", 0.8, 0.7, 0.9),
        row("irony", "GRU", 0.6, 0.5, 0.7),
    ]
    assert charts_text.plot_challenge(rows, ax=ax) is ax
    assert ticks(ax.yaxis) == ["negation", "irony"]
    assert ax.yaxis_inverted()
    for given, bar, ends in zip(rows, ax.containers, bars(ax), strict=True):
        ((x, y),) = bar.lines[0].get_xydata()
        assert x == given.mean
        assert round(y) == ["negation", "irony"].index(given.task)
        assert ends[:, 0].tolist() == pytest.approx([given.low, given.high])
    looks = [(bar.lines[0].get_color(), bar.lines[0].get_marker()) for bar in ax.containers]
    assert looks[0] == looks[1] != looks[2] == looks[3]
    assert list(ax.lines[0].get_xdata()) == [0.5, 0.5]
    assert [text.get_text() for text in ax.figure.legends[0].texts] == ["linear", "GRU"]
    assert ax.get_xlabel() == "accuracy (share)"
    with pytest.raises(ValueError, match="up to 3 models, got linear, GRU, x, y"):
        charts_text.plot_challenge([*rows, row("irony", "x", 1, 1, 1), row("irony", "y", 1, 1, 1)], ax=ax)


def test_attribution_has_a_column_a_method_with_zero_in_the_middle():
    scores = {"occlusion": [0.5, -2.0, 0.0], "gradient": [-30.0, 10.0, 1.0]}
    first = charts_text.plot_attribution(["不", "好", "。"], scores)
    axes = first.figure.axes
    assert [ax.get_xlabel() for ax in axes] == list(scores)
    for ax, values in zip(axes, scores.values(), strict=True):
        assert [bar.get_width() for bar in ax.patches] == values
        colours = [to_hex(bar.get_facecolor()).upper() for bar in ax.patches]
        assert colours == [plot.BLUE if value >= 0 else plot.ORANGE for value in values]
        left, right = ax.get_xlim()
        assert -left == right > max(map(abs, values))
        assert ticks(ax.xaxis) == ["−", "0", "+"]
    assert first is axes[0]
    assert ticks(first.yaxis) == ["不", "好", "。"]
    assert first.yaxis_inverted()


def test_attribution_of_nothing_is_empty_and_uses_the_given_axes():
    _, axes = plt.subplots(1, 1, squeeze=False)
    assert charts_text.plot_attribution(["a"], {"flat": [0.0]}, axes=axes[0]) is axes[0, 0]
    assert axes[0, 0].get_xlim() == (-1, 1)


def test_effects_are_points_under_headings_and_hollow_where_chance_explains_them(ax):
    rows = [
        row("pooling", "last", -0.02, -0.03, -0.01),
        row("pooling", "mean", 0.001, -0.002, 0.004),
        row("depth", "two layers", 0.01, 0.005, 0.015),
    ]
    assert charts_text.plot_effects(rows, ax=ax) is ax
    assert ticks(ax.yaxis) == ["pooling", "last", "mean", "depth", "two layers"]
    weights = [label.get_weight() for label in ax.get_yticklabels()]
    assert weights == ["bold", "normal", "normal", "bold", "normal"]
    marks = [bar.lines[0] for bar in ax.containers]
    assert [mark.get_ydata()[0] for mark in marks] == [1, 2, 4]
    assert [mark.get_xdata()[0] for mark in marks] == pytest.approx([-2, 0.1, 1])
    assert [ends[:, 0].tolist() for ends in bars(ax)] == [
        pytest.approx([100 * one.low, 100 * one.high]) for one in rows
    ]
    assert [mark.get_markerfacecolor() for mark in marks] == [plot.ORANGE, "white", plot.BLUE]
    assert list(ax.lines[0].get_xdata()) == [0, 0]
    assert ax.get_xlabel() == "accuracy against the base model (points)"


def test_unit_is_a_line_over_tokens_with_the_signal_shaded(ax):
    values = [0.1, -0.7, -0.6, 0.2]
    drawn = charts_text.plot_unit(
        ["it", "is", "not", "bad"], values, signal=[False, False, True, True], name="in a negation", ax=ax
    )
    assert drawn is ax
    assert list(ax.lines[-1].get_ydata()) == values
    assert ticks(ax.xaxis) == ["it", "is", "not", "bad"]
    assert [(span.get_x(), span.get_width()) for span in ax.patches] == [(1.5, 1), (2.5, 1)]
    assert [text.get_text() for text in ax.get_legend().texts] == ["in a negation"]
    assert ax.get_ylabel() == "value of the unit in $h_t$"
    assert [label.get_rotation() for label in ax.get_xticklabels()] == [50] * 4
    with pytest.raises(ValueError, match="for 2 tokens, got 1 values and 0"):
        charts_text.plot_unit(["a", "b"], [0.1], ax=ax)
    with pytest.raises(ValueError, match="for 1 tokens, got 1 values and 2"):
        charts_text.plot_unit(["a"], [0.1], signal=[True, False], ax=ax)


def test_short_tokens_stand_upright_and_nothing_is_shaded_without_a_signal(ax):
    charts_text.plot_unit(list("不好"), [0.1, 0.2], ax=ax)
    assert [label.get_rotation() for label in ax.get_xticklabels()] == [0, 0]
    assert not ax.patches
    assert ax.get_legend() is None


def test_ladder_has_a_rung_a_step_its_interval_the_baselines_and_the_control(ax):
    steps = [
        row("t", "as written", 0.5, 0.48, 0.52),
        row("t", "mask", 0.8, 0.77, 0.82),
        row("t", "split", 0.7, 0.69, 0.73),
    ]
    linear, control = row("t", "TF-IDF", 0.85, 0.85, 0.85), row("t", "random labels", 0.49, 0.45, 0.53)
    assert charts_text.plot_ladder(steps, [linear], control, ax=ax) is ax
    assert list(ax.lines[0].get_ydata()) == [0.85, 0.85]
    assert ax.lines[0].get_linestyle() == "--"
    rungs = [line for line in ax.lines if line.get_linewidth() == 3.5]
    assert [list(line.get_ydata()) for line in rungs] == [[one.mean] * 2 for one in steps]
    assert [list(line.get_xdata()) for line in rungs] == [[k - 0.5, k + 0.5] for k in range(3)]
    rises = [line for line in ax.lines if line.get_linewidth() == 1.4]
    assert [list(line.get_ydata()) for line in rises] == [[0.5, 0.8], [0.8, 0.7]]
    assert [line.get_color() for line in rises] == [plot.BLUE, plot.ORANGE]
    boxes = [box.get_paths()[0].get_extents() for box in ax.collections[:3]]
    assert [(box.y0, box.y1) for box in boxes] == [(one.low, one.high) for one in steps]
    assert ticks(ax.xaxis) == ["as written", "mask", "split", "random labels"]
    ((x, y),) = ax.containers[0].lines[0].get_xydata()
    assert (x > 3, y) == (True, 0.49)
    assert bars(ax)[0][:, 1].tolist() == pytest.approx([0.45, 0.53])
    assert [text.get_text() for text in ax.texts] == ["TF-IDF", "0.500", "0.800", "0.700", "0.490"]
    assert ax.get_ylabel() == "accuracy (share)"


def test_ladder_without_a_control(ax):
    charts_text.plot_ladder([row("t", "a", 0.5, 0.4, 0.6)], ax=ax)
    assert ticks(ax.xaxis) == ["a"]
    assert not ax.containers


def test_failures_are_marked_at_their_lines_and_loud_ones_cut_the_wire():
    statements = ["load(路径)", "embed", "fit", "evaluate"]
    failures = [
        (1, "stops", True),
        (2, "wrong loss", False),
        (3, "same texts", False),
        (3, "no baseline", False),
    ]
    ax = draw.draw_failures(statements, failures)
    place = {text.get_text(): text.get_position() for text in ax.texts}
    assert [place[name][1] for name in statements] == [0, 1, 2, 3.5]
    assert [place[what][1] for _, what, _ in failures] == [1, 2, 3, 4]
    marks = {line.get_ydata()[0]: line for line in ax.lines if len(line.get_xdata()) == 1}
    assert [y for y, mark in marks.items() if mark.get_marker() == (EIGHT, 0, 22.5) and y >= 0] == [1]
    assert [y for y, mark in marks.items() if mark.get_marker() == "o" and y >= 0] == [2, 3, 4]
    wire = [line for line in ax.lines if len(line.get_xdata()) == 2]
    ends = [tuple(line.get_ydata()) for line in wire]
    assert (1, 1.5) not in ends
    assert {(0.5, 1), (1.5, 2), (4, 4.5)} <= set(ends)
    dashed = {tuple(line.get_ydata()) for line in wire if line.is_dashed()}
    assert dashed == {end for end in ends if end[0] >= 2}
    assert len({(line.get_color(), line.is_dashed()) for line in wire}) == 2


def test_failures_use_the_given_axes_and_refuse_a_line_that_is_not_there(ax):
    assert draw.draw_failures(["a"], [], ax=ax) is ax
    with pytest.raises(ValueError, match=r"lines from 0 to 1, got \[2, -1\]"):
        draw.draw_failures(["a", "b"], [(2, "x", True), (0, "y", True), (-1, "z", False)])


def test_the_current_axes_is_used_where_none_is_given(ax):
    assert charts_text.plot_unit(["a"], [0.5]) is ax
    assert charts_text.plot_effects([row("a", "b", 0.1, 0.0, 0.2)]) is ax
