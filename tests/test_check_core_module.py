"""The checks of the chapter on layers: right answers pass, each usual mistake is called by its name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rnnbook import check_layers as check
from rnnbook.repro import count_parameters


def parameters(I, H, L, D):
    return count_parameters(nn.LSTM(I, H, num_layers=L, bidirectional=D == 2))


def sizes(lengths):
    return (lengths[:, None] > torch.arange(int(lengths.max()))).sum(dim=0)


def directions(*, turn=True, turn_back=True, forward_first=True, state="h_n", states="fb"):
    """Make a bidirectional layer with one thing done otherwise."""

    def read(x, there, back):
        f, (h_f, _) = there(x)
        r, (h_r, _) = back(x.flip(1) if turn else x)
        outputs = [f, r.flip(1) if turn_back else r]
        if state == "last column":
            h_r = outputs[1][:, -1][None]
        rows = outputs if forward_first else outputs[::-1]
        return torch.cat(rows, dim=2), torch.cat([h_f, h_r] if states == "fb" else [h_r, h_f])

    return read


def pieces(*, carry="both", back=lambda h, c: (h, c), drop=False):
    def read(layer, x, size):
        outputs, state = [], None
        for piece in x.split(size, dim=1):
            if drop and piece.shape[1] < size:
                continue
            out, (h, c) = layer(piece, state)
            outputs.append(out)
            state = {"both": (h, c), "h": (h, torch.zeros_like(c)), "none": None}[carry]
        return torch.cat(outputs, dim=1), back(h, c)

    return read


WRONG = {
    "what is read are outputs": (check.lstm_parameters, lambda *a: parameters(*a[:2], 1, a[3]) * a[2]),
    r"read D \* H numbers": (
        check.lstm_parameters,
        lambda i, h, n, d: d * (parameters(i, h, 1, 1) + (n - 1) * parameters(h, h, 1, 1)),
    ),
    "one of the two biases": (
        check.lstm_parameters,
        lambda i, h, n, d: parameters(i, h, n, d) - 4 * n * d * h,
    ),
    "weights of its own": (check.lstm_parameters, lambda i, h, n, d: parameters(i, h, n, d) // d),
    "four blocks": (check.lstm_parameters, lambda *a: parameters(*a) // 4),
    r"I=3, H=4, L=1, D=1\[": (check.lstm_parameters, lambda *_: 7),
    "not at t = n": (check.batch_sizes, lambda n: (n[:, None] >= torch.arange(int(n.max()))).sum(0)),
    "counts from t = 1": (check.batch_sizes, lambda n: (n[:, None] > 1 + torch.arange(int(n.max()))).sum(0)),
    "those that go on": (check.batch_sizes, lambda n: (n[:, None] == 1 + torch.arange(int(n.max()))).sum(0)),
    "in falling order": (check.batch_sizes, lambda n: n.sort(descending=True)[0]),
    "stand in reverse": (check.batch_sizes, lambda n: sizes(n).flip(0)),
    "are not turned back": (check.two_directions, directions(turn_back=False)),
    "has read from the front: turn its input": (
        check.two_directions,
        directions(turn=False, turn_back=False),
    ),
    "and its outputs are turned": (check.two_directions, directions(turn=False)),
    "the forward half stands first": (check.two_directions, directions(forward_first=False)),
    "the forward state stands first": (check.two_directions, directions(states="bf")),
    "at column 0 of its outputs": (check.two_directions, directions(state="last column")),
    "the state is not carried": (check.in_pieces, pieces(carry="none")),
    "only h is carried": (check.in_pieces, pieces(carry="h")),
    "the wrong order": (check.in_pieces, pieces(back=lambda h, c: (c, h))),
    "the last piece": (check.in_pieces, pieces(drop=True)),
    r"c_n\[": (check.in_pieces, pieces(back=lambda h, c: (h, 0 * c))),
}


def test_right_answers_pass(capsys):
    check.lstm_parameters(parameters)
    check.batch_sizes(sizes)
    check.two_directions(directions())
    check.in_pieces(pieces())
    assert capsys.readouterr().out.count("right") == 4


@pytest.mark.parametrize("words", WRONG)
def test_a_mistake_is_called_by_its_name(words, capsys):
    test, answer = WRONG[words]
    with pytest.raises(AssertionError, match=words):
        test(answer)
    assert not capsys.readouterr().out


def test_the_checks_leave_the_global_generator_alone():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    check.two_directions(directions())
    check.in_pieces(pieces())
    assert torch.equal(torch.random.get_rng_state(), before)
