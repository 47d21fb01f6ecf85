"""The checks of the chapter on fast cells: right answers pass, each usual mistake is called by its name."""

from __future__ import annotations

import pytest
import torch

from rnnbook import check_layers as check


def flops(factor=1.0, of=lambda gates, T, B, I, H: I + H, without=""):
    def count(gates, T, B, I, H):
        sizes = {"gates": gates, "T": T, "B": B}
        product = H * of(gates, T, B, I, H)
        for name, size in sizes.items():
            product *= 1 if name == without else size
        return round(6 * factor * product)

    return count


def calls(at_50, at_100, T):
    step = (at_100 - at_50) / 50
    return at_100 + (T - 100) * step


def real(delta, lengths):
    return torch.arange(len(delta))[:, None] < lengths


def gradient(delta, h_0, outputs, lengths):
    before = torch.cat([h_0[None], outputs[:-1]])
    return delta[real(delta, lengths)].T @ before[real(delta, lengths)]


def unmasked(delta, h_0, outputs, lengths):
    return gradient(delta, h_0, outputs, 0 * lengths + len(delta))


def multiplied(delta, h_0, outputs, lengths):
    return unmasked(delta * real(delta, lengths)[:, :, None], h_0, outputs, lengths)


def backwards(delta, h_0, outputs, lengths):
    return unmasked(delta.nan_to_num(0).flip(0), h_0, outputs, lengths)


def gru(keep="z", slope_n=True, slope_s=True, reset="a_hn", through_r=True, sign=1):
    """Go back through one step of a GRU, with a fault in one place."""

    def step(dh, h, r, z, n, a_hn):
        kept, written = (z, 1 - z) if keep == "z" else (1 - z, z)
        da_n = dh * written * (1 - n**2 if slope_n else 1)
        da_r = da_n * (a_hn if reset == "a_hn" else n) * (r * (1 - r) if slope_s else 1)
        da_z = sign * dh * (h - n if keep == "z" else n - h) * (z * (1 - z) if slope_s else 1)
        return da_r, da_z, da_n, da_n * r if through_r else da_n, dh * kept

    return step


RIGHT = {
    "training_flops": flops(),
    "predicted_calls": calls,
    "weight_gradient": gradient,
    "gru_backward": gru(),
}
WRONG = {
    "two operations, not one": ("training_flops", flops(1 / 2)),
    "the product with h is missing": ("training_flops", flops(of=lambda gates, T, B, I, H: I)),
    "the product with x is missing": ("training_flops", flops(of=lambda gates, T, B, I, H: H)),
    "the way back has two products": ("training_flops", flops(2 / 3)),
    "the way forward alone": ("training_flops", flops(1 / 3)),
    "every gate has its own rows": ("training_flops", flops(without="gates")),
    "every sequence of the batch": ("training_flops", flops(without="B")),
    "every time step has its own": ("training_flops", flops(without="T")),
    "training_flops for 4 gates.*expected": ("training_flops", flops(1.5)),
    "is called once, however long": ("predicted_calls", lambda a, b, T: b * T / 100),
    "is called, too": ("predicted_calls", lambda a, b, T: (b - a) / 50 * T),
    "calls of one time step": ("predicted_calls", lambda a, b, T: (b - a) / 50),
    "50 steps lie between": ("predicted_calls", lambda a, b, T: 2 * a - b + (b - a) / 100 * T),
    "h_t stands where": (
        "weight_gradient",
        lambda d, h_0, h, n: gradient(d, h[0], torch.cat([h[1:], h[:1]]), n),
    ),
    "rows belong to delta": ("weight_gradient", lambda *given: gradient(*given).T),
    "h_0 is forgotten": ("weight_gradient", lambda d, h_0, h, n: gradient(d, 0 * h_0, h, n)),
    "time runs the wrong way": ("weight_gradient", backwards),
    "after an end is still there": ("weight_gradient", unmasked),
    "0 times NaN is NaN": ("weight_gradient", multiplied),
    "last step of each sequence": ("weight_gradient", lambda d, h_0, h, n: gradient(d, h_0, h, n - 1)),
    "not a mean": ("weight_gradient", lambda *given: gradient(*given) / 3),
    "z and 1 - z are exchanged": ("gru_backward", gru(keep="1 - z")),
    "slope 1 - n\\^2 is missing": ("gru_backward", gru(slope_n=False)),
    "slope of the sigmoid is missing": ("gru_backward", gru(slope_s=False)),
    "what r multiplies is a_hn": ("gru_backward", gru(reset="n")),
    "a_hn reaches n through r": ("gru_backward", gru(through_r=False)),
    "da_z: more z means more of h_prev": ("gru_backward", gru(sign=-1)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_answer_passes(name, capsys):
    getattr(check, name)(RIGHT[name])
    assert f"{name}: right" in capsys.readouterr().out


@pytest.mark.parametrize("words", WRONG)
def test_wrong_answer_is_called_by_its_name(words):
    name, function = WRONG[words]
    with pytest.raises(AssertionError, match=words):
        getattr(check, name)(function)


@pytest.mark.parametrize("part", range(5))
def test_each_part_of_the_step_back_is_looked_at(part):
    def wrong(*given):
        parts = list(gru()(*given))
        parts[part] = parts[part] * 1.001
        return parts

    with pytest.raises(AssertionError, match="gru_backward"):
        check.gru_backward(wrong)
