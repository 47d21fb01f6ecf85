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


def turned(*, shift=1, padding=None):
    """Reverse each row within its length, with one thing done otherwise."""

    def turn(x, lengths):
        y = x.clone() if padding is None else torch.full_like(x, padding)
        for row, n in enumerate(lengths.tolist()):
            for t in range(n):
                y[row, t] = x[row, min(n - shift - t, x.shape[1] - 1)]
        return y

    return turn


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
    "moved to the front": (check.reverse, lambda x, _: x.flip(1)),
    "the axis of the batch": (check.reverse, lambda x, _: x.flip(0)),
    "the features are reversed": (check.reverse, lambda x, _: x.flip(2)),
    "is n - 1, not n": (check.reverse, turned(shift=0)),
    "is to stay as it is": (check.reverse, turned(padding=0.0)),
    "nothing is reversed": (check.reverse, lambda x, _: x),
    r"reverse\[": (check.reverse, lambda x, n: 2 * turned()(x, n)),
    "the state is not carried": (check.in_pieces, pieces(carry="none")),
    "only h is carried": (check.in_pieces, pieces(carry="h")),
    "the wrong order": (check.in_pieces, pieces(back=lambda h, c: (c, h))),
    "the last piece": (check.in_pieces, pieces(drop=True)),
    r"c_n\[": (check.in_pieces, pieces(back=lambda h, c: (h, 0 * c))),
}


def test_right_answers_pass(capsys):
    check.lstm_parameters(parameters)
    check.batch_sizes(sizes)
    check.reverse(turned())
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
    check.reverse(turned())
    check.in_pieces(pieces())
    assert torch.equal(torch.random.get_rng_state(), before)
