"""The checks of the chapter on gates: right answers pass, each usual mistake is called by its name."""

from __future__ import annotations

import math

import pytest
import torch

from rnnbook import check
from rnnbook.cells import GRUCell, LSTMCell


def by_our_lstm(x, h, c, cell):
    ours = LSTMCell(cell.input_size, cell.hidden_size).double()
    ours.load_state_dict(cell.state_dict())
    return ours(x, (h, c))


def by_our_gru(x, h, cell):
    ours = GRUCell(cell.input_size, cell.hidden_size).double()
    ours.load_state_dict(cell.state_dict())
    return ours(x, h)


def logit(f):
    return math.log(f / (1 - f))


def lstm(order="ifgo", candidate=torch.tanh, shown=torch.tanh, back=lambda h, c: (h, c)):
    """Make a step with its stack read in another order, or with another function in one place."""

    def step(x, h, c, cell):
        rows = x @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh
        part = dict(zip(order, rows.chunk(4, dim=1), strict=True))
        c = part["f"].sigmoid() * c + part["i"].sigmoid() * candidate(part["g"])
        return back(part["o"].sigmoid() * shown(c), c)

    return step


def gru(reset="after", keep="z", bias_inside=True):
    """Make a step with the reset gate, the update gate or one bias in another place."""

    def step(x, h, cell):
        r_x, z_x, n_x = (x @ cell.weight_ih.T + cell.bias_ih).chunk(3, dim=1)
        r_h, z_h, _ = (h @ cell.weight_hh.T + cell.bias_hh).chunk(3, dim=1)
        W, b = cell.weight_hh.chunk(3)[2], cell.bias_hh.chunk(3)[2]
        r, z = (r_x + r_h).sigmoid(), (z_x + z_h).sigmoid()
        product = r * (h @ W.T) if reset == "after" else (r * h) @ W.T
        n = (n_x + product + (r * b if bias_inside else b)).tanh()
        return (1 - z) * n + z * h if keep == "z" else z * n + (1 - z) * h

    return step


WRONG = {
    "g and o are exchanged": (check.lstm_step, lstm("ifog")),
    "the forget gate and the input gate are exchanged": (check.lstm_step, lstm("figo")),
    "tanh is missing on c": (check.lstm_step, lstm(shown=lambda c: c)),
    "not through a sigmoid": (check.lstm_step, lstm(candidate=torch.sigmoid)),
    r"the pair \(h, c\)": (check.lstm_step, lstm(back=lambda h, c: (c, h))),
    r"lstm_step: \(h, c\)\[": (check.lstm_step, lstm(candidate=torch.sin)),
    "z and 1 - z are exchanged": (check.gru_step, gru(keep="1 - z")),
    "r acts before the matrix product": (check.gru_step, gru("before", bias_inside=False)),
    "b_hn stands outside the reset": (check.gru_step, gru(bias_inside=False)),
    r"gru_step: h\[": (check.gru_step, gru("before", "1 - z")),
    "its bias is the logit": (check.half_life_bias, lambda n: 0.5 ** (1 / n)),
    "1/e, not one half": (check.half_life_bias, lambda n: logit(math.exp(-1 / n))),
    "the sign is wrong": (check.half_life_bias, lambda n: -logit(0.5 ** (1 / n))),
    r"half_life_bias\[": (check.half_life_bias, lambda n: math.log(n)),
}


def test_right_answers_pass(capsys):
    check.lstm_step(by_our_lstm)
    check.lstm_step(lstm())
    check.gru_step(by_our_gru)
    check.gru_step(gru())
    check.half_life_bias(lambda n: logit(0.5 ** (1 / n)))
    assert capsys.readouterr().out.count("right") == 5


@pytest.mark.parametrize("words", WRONG)
def test_a_mistake_is_called_by_its_name(words, capsys):
    test, answer = WRONG[words]
    with pytest.raises(AssertionError, match=words):
        test(answer)
    assert not capsys.readouterr().out


def test_the_checks_leave_the_global_generator_alone():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    check.lstm_step(lstm())
    check.gru_step(gru())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_bias_of_a_half_life_halves_a_cell():
    cell = LSTMCell(1, 1).double()
    for weight in cell.parameters():
        torch.nn.init.zeros_(weight)
    cell.bias_ih.data[1] = logit(0.5 ** (1 / 20))
    h, c = torch.zeros(1, 1, dtype=torch.double), torch.ones(1, 1, dtype=torch.double)
    for _ in range(20):
        h, c = cell(torch.zeros(1, 1, dtype=torch.double), (h, c))
    assert c.item() == pytest.approx(0.5, abs=1e-12)
