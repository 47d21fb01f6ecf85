"""The checks of the chapter on robustness let right answers pass and call known mistakes by their names."""

from __future__ import annotations

import pickle
import pickletools
import unicodedata

import pytest
import torch

from rnnbook import check_optimization as check

RIGHT_GUARDS = {
    "zero-width letter": "normalise",
    "Cyrillic letter": "fold",
    "swapped word": "none",
    "code in the model file": "format",
    "weights exchanged, hash made anew": "digest",
}


def scripts(word):
    return {unicodedata.name(letter).split()[0] for letter in word if letter.isalpha()}


def one_script(text):
    return all(len(scripts(word)) < 2 for word in text.split())


def of_globals(pickled):
    return {argument for opcode, argument, _ in pickletools.genops(pickled) if opcode.name == "GLOBAL"}


def test_right_answers_pass(capsys):
    check.move_of_norm(lambda g, epsilon: epsilon * g / g.flatten(1).norm(dim=1)[:, None, None])
    check.flip_by_hand(2.5, 0.5)
    check.guards(RIGHT_GUARDS)
    check.one_script(one_script)
    check.imports(of_globals)
    assert capsys.readouterr().out.count("right") == 5


@pytest.mark.parametrize(
    ("move", "complaint"),
    [
        (lambda g, e: e * torch.nn.functional.normalize(g, dim=2), "every token"),
        (lambda g, e: e * g / g.norm(), "whole batch"),
        (lambda g, e: e * g, "divide by the norm"),
        (lambda g, e: -e * g / g.flatten(1).norm(dim=1)[:, None, None], "not against it"),
        (lambda g, e: e * g.sign(), "signs"),
        (lambda g, e: e * g / g.flatten(1).norm(dim=1)[:, None, None] ** 2, "expected"),
    ],
)
def test_wrong_moves_are_named(move, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check.move_of_norm(move)


@pytest.mark.parametrize(
    ("scores", "complaint"),
    [
        ((1.5, 1.5), "taken away"),
        ((-2.5, -0.5), "new less old"),
        ((5.0, 2.0), "squared distance"),
        ((2.5, -0.5), "film.*new less old"),
        ((2.4, 0.5), "expected 2.5"),
    ],
)
def test_wrong_scores_are_named(scores, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check.flip_by_hand(*scores)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"zero-width letter": "fold"}, "takes it out"),
        ({"Cyrillic letter": "normalise"}, "only folding knows"),
        ({"swapped word": "fold"}, "in the vocabulary"),
        ({"code in the model file": "digest"}, "cannot run any"),
        ({"weights exchanged, hash made anew": "format"}, "kept elsewhere"),
        ({"swapped word": ...}, "does not stop 'swapped word'"),
    ],
)
def test_wrong_guards_are_named(wrong, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check.guards(RIGHT_GUARDS | wrong)


@pytest.mark.parametrize(
    ("accepts", "complaint"),
    [
        (str.isascii, "Amélie"),
        (lambda text: True, "Cyrillic е"),
        (lambda text: len(scripts(text)) < 2, "Russian title"),
        (
            lambda text: len({unicodedata.name(c, "").split()[0] for c in text if c > " "}) < 2,
            "accents|marks",
        ),
        (lambda text: "CYRILLIC" not in scripts(text), "Russian title"),
        (lambda text: all(scripts(word) != {"LATIN", "CYRILLIC"} for word in text.split()), "Greek"),
        (lambda text: one_script(text) and "good" not in text, "swapped word"),
    ],
)
def test_wrong_rules_are_named(accepts, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check.one_script(accepts)


def of_texts(pickled):
    return {str(argument) for _, argument, _ in pickletools.genops(pickled) if " " in str(argument)}


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (lambda pickled: {repr(pickle.loads(pickled))}, "was loaded"),
        (of_texts, "is a text in the list"),
        (lambda pickled: set(), "got nothing"),
        (lambda pickled: {name.split()[0] for name in of_globals(pickled)}, "expected"),
    ],
)
def test_wrong_readers_of_pickles_are_named(names, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check.imports(names)
