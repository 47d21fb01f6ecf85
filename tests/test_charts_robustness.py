"""The diagram of threats, and accuracy under attacks of growing size."""

from __future__ import annotations

import pytest

from rnnbook import charts_optimization
from rnnbook.results import score_row


def test_threats_name_each_place_its_attack_and_its_guard(ax):
    places = [("text", "letters", "fold"), ("words", "a swap", ""), ("answer", "", "")]
    assert charts_optimization.draw_threats(places, ax=ax) is ax
    said = [text.get_text() for text in ax.texts]
    assert [word for word in said if word] == ["text", "letters", "fold", "words", "a swap", "answer"]
    at = {text.get_text(): text.get_position() for text in ax.texts}
    assert at["letters"][0] < at["text"][0] < at["fold"][0]
    assert at["letters"][1] == at["text"][1] == at["fold"][1]
    assert len(ax.lines) == 1  # a wall for the one guard
    arrows = [text.arrow_patch for text in ax.texts if getattr(text, "arrow_patch", None)]
    assert len(arrows) == 4  # two attacks, two steps from place to place


def test_attacks_are_full_and_their_controls_hollow_with_every_interval(ax):
    def rows(*values):
        return [score_row("t", "LSTM", [0], [v], num_items=50, num_parameters=1) for v in values]

    curves = {"chosen": rows(0.8, 0.0), "letters": rows(0.8, 0.5), "random words": rows(0.8, 0.78)}
    drawn = charts_optimization.plot_under_attack(curves, (0, 3), xlabel="words swapped", ax=ax)
    assert drawn is ax
    lines = {bar.get_label(): bar.lines for bar in ax.containers}
    assert set(lines) == set(curves)
    for name, (line, _, (bars,)) in lines.items():
        assert line.get_xdata().tolist() == [0, 3]
        assert line.get_ydata().tolist() == [row.mean for row in curves[name]]
        for row, segment in zip(curves[name], bars.get_segments(), strict=True):
            assert segment[:, 1].tolist() == pytest.approx([row.low, row.high])
    assert lines["random words"][0].get_markerfacecolor() == "white"
    assert lines["random words"][0].get_linestyle() == "--"
    assert lines["random words"][0].get_color() == lines["chosen"][0].get_color()
    assert lines["chosen"][0].get_color() != lines["letters"][0].get_color()
    assert lines["chosen"][0].get_markerfacecolor() != "white"
    assert ax.get_xlabel() == "words swapped"
    assert "accuracy" in ax.get_ylabel()
    assert "chance" in [text.get_text().strip() for text in ax.texts]
