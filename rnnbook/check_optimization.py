"""Checks of the exercises on optimization: speed, long sequences, robustness."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from rnnbook.check import answer


def _number(name: str, got: float, right: float, mistakes: Mapping[str, float]) -> None:
    """Compare a number with the right one; name the mistake that it comes from, if it is a known one."""
    wrong = {text: torch.tensor(number).double() for text, number in mistakes.items() if number != right}
    actual, expected = torch.as_tensor(got).double(), torch.tensor(right).double()
    answer(name, actual, expected, wrong, atol=1e-6 * abs(right))


def checkpointed(count: Callable[[int, int], int]) -> None:
    """Check ``count(T, k) -> states``: the most that checkpointing keeps at once, in segments of k steps."""
    for T, k in ((12, 3), (10, 4), (64, 8), (5, 5)):
        seams = math.ceil(T / k)
        mistakes = {
            "the segment that is made anew is kept as well, while the way back goes through it": seams,
            "the states at the seams are kept all the time": k,
            "that is backpropagation without checkpoints": T,
            "the last segment may be shorter, but a state is kept at its seam": T // k + k,
            "the way back keeps one segment at a time, not all of them": seams + T,
        }
        _number(f"T={T}, k={k}: states", count(T, k), seams + k, mistakes)
    print("checkpointed: right, for 4 lengths")  # noqa: T201 (a check answers its reader)


def joined(join: Callable[..., tuple[Tensor, Tensor]]) -> None:
    """Check ``join(a_1, b_1, a_2, b_2) -> (a, b)`` for steps h → max(a + h, b), of which 1 comes first."""
    a_1, b_1, a_2, b_2 = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)).double()
    kept = a_1 + a_2
    mistakes = {
        "step 1 comes first": (kept, torch.maximum(a_1 + b_2, b_1)),
        "that is the operator of h → a h + b": (a_1 * a_2, a_2 * b_1 + b_2),
        "b_1 goes through step 2 before it is compared with b_2": (kept, torch.maximum(b_1, b_2)),
        "h meets a_1 and then a_2: both are added": (torch.maximum(a_1, a_2), torch.maximum(a_2 + b_1, b_2)),
    }
    wrong = {text: torch.stack(pair) for text, pair in mistakes.items()}
    right = torch.stack([kept, torch.maximum(a_2 + b_1, b_2)])
    answer("join", torch.stack(tuple(join(a_1, b_1, a_2, b_2))), right, wrong, atol=1e-12)
    print("joined: right, to twelve decimals")  # noqa: T201 (a check answers its reader)


def rank_weights(weights: Callable[[Tensor], Tensor]) -> None:
    """Check ``weights(num_targets (R,)) -> (R,)``: each rank's factor before gradients are averaged."""
    for counts in (torch.tensor([3, 1]), torch.tensor([40, 25, 31, 0])):
        n, share = len(counts), counts.double() / counts.sum()
        mistakes = {
            "each rank has the same weight there, however few its targets": torch.ones_like(share),
            "the average over the ranks divides by R once more": share,
            "a sum over targets has no 1 / total in it": counts.double(),
        }
        answer(f"targets {counts.tolist()}: weights", weights(counts), n * share, mistakes, atol=1e-5)
    print("rank_weights: right, for 2 and 4 ranks")  # noqa: T201 (a check answers its reader)


def most_processes(best: Callable[[float, float, float, float], float]) -> None:
    """Check ``best(compute, size, bandwidth, latency) -> R``, beyond which a step takes longer again."""
    for compute, size, bandwidth, latency in ((2.0, 1e8, 1e9, 1e-3), (0.5, 4e6, 1e8, 1e-4)):
        sent = 2 * size / bandwidth
        squares = {
            "of the bytes, 2 (R - 1) / R times the size, a part falls with R, too": compute / (2 * latency),
            "a ring has 2 (R - 1) messages, not R - 1": (compute - sent) / latency,
            "the term with the bytes grows with R: its sign": (compute + sent) / (2 * latency),
        }
        right = (compute - sent) / (2 * latency)
        mistakes = {text: value**0.5 for text, value in squares.items()} | {"that is R squared": right}
        _number(f"compute {compute:g} s", best(compute, size, bandwidth, latency), right**0.5, mistakes)
    print("most_processes: right, for 2 machines")  # noqa: T201 (a check answers its reader)


def chunked(scan: Callable[[Tensor, Tensor, int], Tensor]) -> None:
    """Check ``scan(a (B, T, H), b (B, T, H), k) -> h (B, T, H)``, which reads T / k chunks side by side."""
    k, generator = 4, torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 2, 12, 3, generator=generator).double().unbind()
    h, own = b.clone(), b.clone()  # the states, and those of chunks that begin at zero
    for t in range(1, 12):
        h[:, t] += a[:, t] * h[:, t - 1]
        own[:, t] += a[:, t] * own[:, t - 1] if t % k else 0
    kept = torch.cat([part.cumprod(1) for part in a.split(k, 1)], 1)

    def handed(states: Tensor, late: int = 1) -> Tensor:  # what each chunk gets from the one before
        ends = torch.cat([b.new_zeros(2, late, 3), states[:, k - 1 :: k]], 1)[:, : 12 // k]
        return ends.repeat_interleave(k, 1)

    mistakes = {
        "each chunk begins at zero: hand on the state at its end": own,
        "what is handed on meets every a of the chunk: their product": own + handed(h),
        "what a chunk hands on holds what it was handed": own + kept * handed(own),
        "a chunk is handed the state at the end of the one before, not of its own": own + kept * handed(h, 0),
    }
    answer("chunked", scan(a.clone(), b.clone(), k), h, mistakes, atol=1e-10)
    print("chunked: right, to ten decimals")  # noqa: T201 (a check answers its reader)


def self_times(own: Tensor) -> None:
    """Check the self times (7,) of the profile of one training step, in per cent of its total."""
    total = torch.tensor([100.0, 40, 25, 10, 45, 30, 15])  # step, its three parts, and theirs
    nested = total - torch.tensor([165.0, 35, 0, 0, 30, 0, 0])
    mistakes = {
        "these are the total times": total,
        "of the step, take away its own three parts alone: these hold the others": nested,
    }
    right = total - torch.tensor([100.0, 35, 0, 0, 30, 0, 0])
    answer("self_times", own, right, mistakes, atol=1e-3)
    print("self_times: right, and their sum is the whole step")  # noqa: T201 (a check answers its reader)


def smallest_batch(smallest: Callable[[float, float, int], int]) -> None:
    """Check ``smallest(flop_per_second, bytes_per_second, bytes_per_weight) -> whole B``, rounded up."""
    for flop, read, size in ((63e9, 20e9, 4), (63e9, 20e9, 2), (901e12, 3e12, 2)):
        exact = flop * size / read / 2
        mistakes = {
            "rounded down: its weights still come too late": math.floor(exact),
            "a weight makes two FLOP a row, a product and a sum": math.ceil(2 * exact),
            "the bytes of a weight are missing": math.ceil(flop / read / 2),
            "the two speeds are exchanged": math.ceil(read * size / flop / 2),
        }
        name = f"smallest_batch({flop:g}, {read:g}, {size})"
        _number(name, smallest(flop, read, size), math.ceil(exact), mistakes)
    print("smallest_batch: right, for 3 machines")  # noqa: T201 (a check answers its reader)


def percentile(nearest: Callable[[list[float], int], float]) -> None:
    """Check ``nearest(times, p)``: the smallest time that at least p of 100 do not exceed."""
    generator = torch.Generator().manual_seed(0)
    for n, p in ((21, 50), (20, 95), (200, 99), (7, 99)):
        times = (1 + torch.rand(n, generator=generator) ** 4).tolist()
        rank, ordered = -(-p * n // 100), sorted(times)
        mistakes = {
            "the times are not sorted": times[rank - 1],
            "one rank too far: Python counts from 0": ordered[min(rank, n - 1)],
            "the slowest come first: that is what so many do not go below": ordered[n - rank],
            "that is the mean": sum(times) / n,
            "rounded down: too few times lie below": ordered[max(p * n // 100 - 1, 0)],
        }
        _number(f"percentile {p} of {n}", nearest(list(times), p), ordered[rank - 1], mistakes)
    print("percentile: right, for 4 lists")  # noqa: T201 (a check answers its reader)


def main_effect(effect: Callable[[Tensor, int], float]) -> None:
    """Check ``effect(table, axis)``: the share of the table's variance that one knob explains alone."""
    table = torch.rand(3, 4, 2, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    for axis in range(3):
        others = tuple({0, 1, 2} - {axis})
        line, whole = table.mean(dim=others), table.var(correction=0)
        mistakes = {
            "average over the other knobs, not over this one": table.mean(dim=axis).var(correction=0) / whole,
            "that is no share yet: divide by the variance of the table": line.var(correction=0),
            "deviations, where variances were asked for": line.std(correction=0) / whole.sqrt(),
            "both variances divide by the number of values, not by one less": line.var() / table.var(),
        }
        found = torch.as_tensor(effect(table.clone(), axis), dtype=torch.double)
        answer(f"main_effect of axis {axis}", found, line.var(correction=0) / whole, mistakes)
    print("main_effect: right, for 3 knobs")  # noqa: T201 (a check answers its reader)


def export_test(same: Callable[..., bool]) -> None:
    """Check ``same(model, exported) -> bool`` on a good export and on four faulty ones, traced at T = 3."""
    weight = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))

    def mean(tokens: Tensor, lengths: Tensor, number: Tensor | int) -> Tensor:
        real = torch.arange(tokens.shape[1]) < lengths[:, None]
        return (weight[tokens] * real[:, :, None]).sum(dim=1) / number

    def model(tokens: Tensor, lengths: Tensor) -> Tensor:
        return mean(tokens, lengths, lengths[:, None])

    if not same(model, lambda tokens, lengths: model(tokens, lengths) * (1 + 1e-6)):
        raise AssertionError("export_test: it refuses a good export that is off by rounding: allow 1e-5")
    faulty: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "divides by the length of its example, 3": lambda tokens, lengths: mean(tokens, lengths, 3),
        "reads the padding": lambda tokens, _: weight[tokens].mean(dim=1),
        "takes the length of row 0 for all": lambda tokens, lengths: model(tokens, 0 * lengths + lengths[0]),
        "exchanges the two classes": lambda tokens, lengths: model(tokens, lengths).flip(1),
    }
    for fault, export in faulty.items():
        if same(model, export):
            raise AssertionError(f"export_test: it lets through an export that {fault}")
    print("export_test: right, it lets the good one through and stops four")  # noqa: T201 (a check answers)


def move_of_norm(move: Callable[[Tensor, float], Tensor]) -> None:
    """Check ``move(gradient (B, T, E), epsilon) -> (B, T, E)``: each text moved by epsilon along its gradient."""
    gradient = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0)).double()
    gradient[0, 2:] = 0.0  # padding
    norms = {axes: torch.linalg.vector_norm(gradient, dim=axes, keepdim=True) for axes in (2, (1, 2), None)}
    right = 0.7 * gradient / norms[1, 2]
    mistakes = {
        "every token has the norm epsilon: it is the text's": 0.7 * gradient / norms[2].clamp(min=1e-9),
        "one norm for the whole batch: each text has its own": 0.7 * gradient / norms[None],
        "divide by the norm: a weak gradient shall move the text as far as a strong one": 0.7 * gradient,
        "the loss shall grow: along the gradient, not against it": -right,
        "those are the signs, the step for the largest entry, not for the L2 norm": 0.7 * gradient.sign(),
    }
    answer("move_of_norm", move(gradient.clone(), 0.7), right, mistakes, atol=1e-9)
    print("move_of_norm: right, each text is moved by epsilon")  # noqa: T201 (a check answers its reader)


def flip_by_hand(first: float, second: float) -> None:
    """Check the two first-order scores of the exercise: gradient (-1, -0.5), "slow" (-1, -1)."""
    for name, got, old in (("good", first, (1.0, 0.0)), ("film", second, (0.0, -2.0))):
        right = -(-1 - old[0]) - 0.5 * (-1 - old[1])
        mistakes = {
            "the vector of the old word is to be taken away": 1.5,
            "new less old, not old less new": -right,
            "that is a squared distance: multiply by the gradient": (1 + old[0]) ** 2 + (1 + old[1]) ** 2,
        }
        _number(f'"slow" for "{name}"', got, right, mistakes)
    print("flip_by_hand: right, both scores")  # noqa: T201 (a check answers its reader)


def guards(choice: Mapping[str, str]) -> None:
    """Check which guard of the chapter stops which of five attacks."""
    why = {
        "zero-width letter": ("normalise", "it is no visible character, and normalisation takes it out"),
        "Cyrillic letter": ("fold", "it is normal Unicode: only folding knows what it looks like"),
        "swapped word": ("none", "each word is in the vocabulary: no check of the input sees it"),
        "code in the model file": ("format", "a format without code cannot run any; a digest comes later"),
        "weights exchanged, hash made anew": ("digest", "the file is whole: ask a digest kept elsewhere"),
    }
    for attack, (right, reason) in why.items():
        if choice.get(attack) != right:
            raise AssertionError(f"guards: {choice.get(attack)!r} does not stop {attack!r}: {reason}")
    print("guards: right, all five")  # noqa: T201 (a check answers its reader)


def one_script(accepts: Callable[[str], bool]) -> None:
    """Check ``accepts(text) -> bool``: refuse a word with letters of two scripts, and nothing else."""
    verdicts = {
        "a plain film": (True, "refuses plain English"),
        "Amélie, naïve": (True, "refuses Latin letters with accents, and Amélie with them"),
        "Война и мир was long": (True, "refuses a Russian title, though each word has one script"),
        "2½ stars (of 5)!": (True, "refuses digits or marks, which are letters of no script"),
        "a t\u0435rrible film": (False, "lets a Cyrillic е through inside a Latin word"),
        "dull: \u03bfdd": (False, "lets a Greek ο through: Cyrillic is not the only script"),
        "a good film": (True, "refuses a swapped word, which no rule about letters can know"),
    }
    for text, (right, complaint) in verdicts.items():
        if bool(accepts(text)) != right:
            raise AssertionError(f"one_script: your rule {complaint}: {text!r}")
    print("one_script: right, for 7 texts")  # noqa: T201 (a check answers its reader)


def imports(names: Callable[[bytes], set[str]]) -> None:
    """Check ``names(pickled) -> {"module name"}``: what a pickle would import, read without loading it."""
    for protocol in (0, 2, 3):
        data = pickle.dumps([_Caller(), 1.5, "os system"], protocol)
        _CALLED.clear()
        got = names(data)
        if _CALLED:
            raise AssertionError("imports: the pickle was loaded, and its call made: read opcodes instead")
        if "os system" in got:
            raise AssertionError("imports: 'os system' is a text in the list: only a GLOBAL imports a name")
        if got != (right := {f"{__name__} _called"}):
            raise AssertionError(f"imports: expected {right} for protocol {protocol}, got {got or 'nothing'}")
    print("imports: right, for 3 protocols, and nothing was run")  # noqa: T201 (a check answers its reader)


_CALLED: list[str] = []


def _called(text: str) -> str:
    _CALLED.append(text)
    return text


class _Caller:
    def __reduce__(self) -> tuple[Callable[[str], str], tuple[str]]:
        return _called, ("run",)
