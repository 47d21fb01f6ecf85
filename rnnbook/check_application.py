"""Checks of the exercises on application: failures, explanations, Chinese."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rnnbook.check import answer, close


def loud_or_silent(first: str, second: str, third: str) -> None:
    """Check three guesses, ``"loud"`` or ``"silent"``, of the chapter on the article's network."""
    why = (
        ("silent", "(4, 1) less (4,) is (4, 4): each answer meets the labels of all texts, without a word"),
        ("loud", "rows are counted from 0, so the last of 64 is 63: 64 is refused"),
        ("silent", "every row has a last column; in a short one it was computed from padding"),
    )
    for (right, reason), guess in zip(why, (first, second, third), strict=True):
        if guess not in ("loud", "silent"):
            raise AssertionError(f"loud_or_silent: expected 'loud' or 'silent', got {guess!r}")
        if guess != right:
            raise AssertionError(f"loud_or_silent: {reason}")
    print("loud_or_silent: right, all three")  # noqa: T201 (a check answers its reader)


def last_real_state(last: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Check ``last(outputs (B, T, H), lengths (B,)) -> (B, H)``: the state where each text ends."""
    outputs = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    lengths, rows = torch.tensor([3, 1, 5, 4]), torch.arange(4)
    mistakes = {
        "that is the last column, text or not": outputs[:, -1],
        "one step too far: the first token is in column 0": outputs[rows, lengths],
        "that is the state after the first token": outputs[:, 0],
        "(B, B, H), each row at the end of every text: number the rows too": outputs[:, lengths - 1],
    }
    answer("last_real_state", last(outputs.clone(), lengths), outputs[rows, lengths - 1], mistakes)
    outputs[torch.arange(6) >= lengths[:, None]] = torch.nan
    if last(outputs.clone(), lengths).isnan().any():
        raise AssertionError("last_real_state: NaN comes through (0 * NaN is NaN): pick, do not add")
    print("last_real_state: right, whatever stands in the padding")  # noqa: T201 (a check answers its reader)


def leaks(lines: set[int]) -> None:
    """Check in which of six lines the test sentences have a say that they must not have."""
    wrong = {
        2: "the vocabulary is built of all texts, so it knows words that only the test has",
        5: "the test chooses the epoch, which makes its score too high",
    }
    for line in sorted(set(lines) ^ wrong.keys()):
        missing = f"is missing: {wrong.get(line)}"
        raise AssertionError(f"leaks: line {line} {missing if line in wrong else 'is in order'}")
    print("leaks: right, both of them")  # noqa: T201 (a check answers its reader)


def to_report(choose: Callable[..., float]) -> None:
    """Check ``choose(train, val, test) -> one number``, of the accuracies after each epoch."""
    train, val, test = ([0.71, 0.84, 0.93, 0.98], [0.72, 0.78, 0.77, 0.76], [0.70, 0.75, 0.79, 0.74])
    mistakes = {
        "that is a score on the training sentences": train[-1],
        "this number has chosen the epoch, so it is too high: report the test": max(val),
        "the test has chosen the epoch: let validation do it": max(test),
        "that is the last epoch, but validation has chosen another": test[-1],
    }
    wrong = {sentence: torch.tensor(number) for sentence, number in mistakes.items()}
    got = torch.tensor(float(choose(train, val, test)))
    answer("to_report", got, torch.tensor(test[1]), wrong, atol=1e-4)
    print("to_report: right")  # noqa: T201 (a check answers its reader)


def integrated_linear(shares: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """Check ``shares(w (F,), x (N, F), baseline (F,)) -> (N, F)``: integrated gradients of w · x + b."""
    generator = torch.Generator().manual_seed(0)
    w, baseline, *rows = torch.randn(6, 5, generator=generator, dtype=torch.double)
    x = torch.stack(rows)
    mistakes = {
        "the baseline is missing: that is gradient × input": w * x,
        "the vectors are missing: that is the gradient alone": w.expand(4, 5),
        "the gradient is missing": x - baseline,
        "the signs are turned round: it goes from the baseline to x": w * (baseline - x),
        "summed over the features: expected one share for each": (w * (x - baseline)).sum(dim=1),
    }
    answer("shares", shares(w, x, baseline), w * (x - baseline), mistakes)
    print("integrated_linear: right, and its sum is f(x) - f(baseline)")  # noqa: T201 (a check answers its reader)


def temperature(value: float) -> None:
    """Check the temperature of a model that always says 0.99 and is right on three of four."""
    right = math.log(99) / math.log(3)
    mistakes = {
        "that is the quotient of the probabilities: T divides the log-odds": 0.99 / 0.75,
        "upside down: log-odds divided by T must become smaller": 1 / right,
        "that is the quotient of log p: take log p / (1 - p)": math.log(0.99) / math.log(0.75),
        "that is the quotient of the odds: take their logarithms": 33.0,
    }
    known = {sentence: torch.tensor(wrong) for sentence, wrong in mistakes.items()}
    answer("temperature", torch.as_tensor(float(value)), torch.tensor(right), known, atol=0.01)
    print("temperature: right")  # noqa: T201 (a check answers its reader)


def most_of_four(count: int) -> None:
    """Check how many of "good", "bad", "not good", "not bad" a sum of word weights can get right."""
    if count == 4:
        raise AssertionError("most_of_four: add the conditions of the two pairs: they contradict each other")
    if count == 2:
        raise AssertionError("most_of_four: that is without a weight for 'not'; with one, more is possible")
    close("most_of_four", torch.tensor(float(count)), torch.tensor(3.0))
    print("most_of_four: right, three and no more")  # noqa: T201 (a check answers its reader)


def without_unit(remove: Callable[[Tensor, int], Tensor]) -> None:
    """Check ``remove(weight (2, 2H), unit) -> (2, 2H)``: a unit taken out of mean and maximum, not in place."""
    weight = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    given, parts = weight.clone(), {"right": [2, 6], "mean": [2], "max": [6], "pair": [2, 3], "row": []}
    made = {name: weight.index_fill(1, torch.tensor(at).long(), 0.0) for name, at in parts.items()}
    mistakes = {
        "the unit is still in the maximum: the second half of the columns": made["mean"],
        "the unit is still in the mean: the first half of the columns": made["max"],
        "mean and maximum do not lie side by side: the second is H columns further": made["pair"],
        "nothing was removed": made["row"],
    }
    answer("weight", remove(given, 2), made["right"], mistakes)
    if not torch.equal(given, weight):
        raise AssertionError("without_unit: the weight that was given has changed: clone it first")
    print("without_unit: right")  # noqa: T201 (a check answers its reader)


def log_odds(compute: Callable[[Tensor], Tensor]) -> None:
    """Check ``compute(logits (N, 2)) -> (N,)``: the log-odds of class 1, which may be added."""
    logits = torch.tensor([[0.3, -1.2], [-0.7, 2.5], [1.1, 0.4], [-600.0, 600.0]], dtype=torch.double)
    p = logits.softmax(dim=1)[:, 1]
    mistakes = {
        "those are the odds against: logit 1 less logit 0": logits[:, 0] - logits[:, 1],
        "those are probabilities, and they do not add up": p,
        "that is log p; the odds are p / (1 - p)": p.log(),
        "that is one logit; only the difference of the two says anything": logits[:, 1],
        "the logits, not the probabilities, are logarithms: take their difference": p - (1 - p),
    }
    got = compute(logits.clone())
    if got.shape == p.shape and not got.isfinite().all():
        raise AssertionError("log_odds: infinite where the network is sure: use the logits, p rounds to 1")
    answer("log_odds", got, logits[:, 1] - logits[:, 0], mistakes)
    print("log_odds: right")  # noqa: T201 (a check answers its reader)


def any_false_mark(probability: Callable[[int], float]) -> None:
    """Check ``probability(k)``: at least one of k intervals of 95 % leaves out zero, by chance alone."""
    counts = (1, 2, 20, 33)
    mistakes = {
        "that is the number to expect; it passes 1 at twenty": [0.05 * k for k in counts],
        "that is the probability of no false mark at all": [0.95**k for k in counts],
        "that is the probability that all are false": [0.05**k for k in counts],
        "5 % holds for one interval: there are k": [0.05 for _ in counts],
    }
    wrong = {sentence: torch.tensor(numbers) for sentence, numbers in mistakes.items()}
    got = torch.tensor([float(probability(k)) for k in counts])
    answer("any_false_mark", got, torch.tensor([1 - 0.95**k for k in counts]), wrong, atol=1e-4)
    print("any_false_mark: right")  # noqa: T201 (a check answers its reader)


def greedy_cuts(from_left: Sequence[str], from_right: Sequence[str]) -> None:
    """Check the cuts of 大学生活有意思 by hand, longest word first, begun at either end."""
    left, right = ["大学生", "活", "有意思"], ["大学", "生活", "有意思"]
    for side, found, wanted in (("left", list(from_left), left), ("right", list(from_right), right)):
        if found == wanted:
            continue
        why = f"expected all seven characters, got {found}"
        if found == wanted[::-1]:
            why = "the words are right, but stand in the order found: turn them round"
        elif found in (left, right):
            why = "that is the cut begun at the other end"
        elif "有意" in found or "意思" in found or "思" in found:
            why = "a shorter word was taken where a longer one stands in the dictionary"
        elif "".join(found) == "".join(wanted):
            why = f"{' '.join(found)} is not what the longest word first gives"
        raise AssertionError(f"greedy_cuts, from the {side}: {why}")
    print("greedy_cuts: right, both")  # noqa: T201 (a check answers its reader)


def cut_scores(precision: float, recall: float, f1: float) -> None:
    """Check precision, recall and F1 of the cut 性 价 比 不错 where 性价比 不错 is right."""
    exchanged = "precision divides by the words found, recall by the true ones"
    limits = "that counts the limits between words: a word counts with both of its ends"
    known = {
        "precision": (1 / 4, {exchanged: 1 / 2, limits: 1 / 3}),
        "recall": (1 / 2, {exchanged: 1 / 4, limits: 1.0}),
        "F1": (1 / 3, {"that is the plain mean, F1 is the harmonic one": 3 / 8, limits: 1 / 2}),
    }
    for (name, (right, mistakes)), got in zip(known.items(), (precision, recall, f1), strict=True):
        wrong = {sentence: torch.tensor(number) for sentence, number in mistakes.items()}
        answer(f"cut_scores, {name}", torch.tensor(float(got)), torch.tensor(right), wrong, atol=4e-3)
    print("cut_scores: right, all three")  # noqa: T201 (a check answers its reader)


def forward_matching(cut: Callable[[str, set[str], int], list[str]]) -> None:
    """Check ``cut(text, words, max_len) -> words of the text``: the longest word first, from the left."""
    known, down = {"大学", "大学生", "生活", "有意", "有意思", "性价", "莫名其妙"}, (4, 3, 2, 1)

    def rule(text: str, words: set[str], sizes: Sequence[int], keep: bool = True) -> list[str]:
        size = next((n for n in sizes if n <= len(text) and text[:n] in words), 0)
        first = [text[: size or 1]] if size or keep else []
        return [*first, *rule(text[size or 1 :], words, sizes, keep)] if text else []

    for text in ("大学生活有意思", "性价比", "莫名其妙的大学", ""):
        back = rule(text[::-1], {word[::-1] for word in known}, down)
        mistakes = {
            "a shorter word was taken: try max_len first, then one less": rule(text, known, down[::-1]),
            "a character that no word covers is lost: it stands alone": rule(text, known, down, keep=False),
            "words of max_len characters are never tried": rule(text, known, down[1:]),
            "that is matching from the right": [word[::-1] for word in back[::-1]],
        }
        if (found := list(cut(text, set(known), 4))) != rule(text, known, down):
            why = next((why for why, wrong in mistakes.items() if found == wrong), f"got {found}")
            raise AssertionError(f"forward_matching of {text!r}: {why}")
    print("forward_matching: right, four texts")  # noqa: T201 (a check answers its reader)


def additive_scores(score: Callable[..., Tensor]) -> None:
    """Check ``score(query (H,), memory (S, H), W (H, H), U (H, H), v (H,)) -> (S,)``: before the softmax."""
    generator = torch.Generator().manual_seed(0)
    h, v, *m = torch.randn(6, 3, generator=generator, dtype=torch.double)
    memory = torch.stack(m)  # (S, H)
    w, u = torch.randn(2, 3, 3, generator=generator, dtype=torch.double)
    hidden = memory @ u.T + w @ h
    mistakes = {
        "the tanh is missing, so the query shifts all scores alike": hidden @ v,
        "that is after the softmax: expected the scores": (hidden.tanh() @ v).softmax(dim=0),
        "the tanh comes before v, not after it": (hidden @ v).tanh(),
        "W and U have changed places": (memory @ w.T + u @ h).tanh() @ v,
        "U m_s is `memory @ U.T`: the matrix stands turned": (memory @ u + w @ h).tanh() @ v,
        "W h is `W @ query`: the matrix stands turned": (memory @ u.T + h @ w).tanh() @ v,
        "the query has no say": (memory @ u.T).tanh() @ v,
    }
    answer("scores", score(h, memory, w, u, v), hidden.tanh() @ v, mistakes)
    print("additive_scores: right, one for each place")  # noqa: T201 (a check answers its reader)


def normalised_score(score: Callable[[Sequence[float], float], float]) -> None:
    """Check ``score(log_probs, a)``: the sum of the log-probabilities of n tokens over n to the power a."""
    cases = [((-0.1, -0.4, -0.9, -0.2), a) for a in (1.0, 0.0, 0.6)]
    mistakes = {
        "that is the sum, without a normalisation": [sum(p) for p, _ in cases],
        "that is the mean, whatever a is": [sum(p) / len(p) for p, _ in cases],
        "n times a is not n to the power a": [sum(p) / max(len(p) * a, 1e-9) for p, a in cases],
        "multiplied by it: a longer target must not pay more": [sum(p) * len(p) ** a for p, a in cases],
        "those are the probabilities: add their logarithms": [
            sum(map(math.exp, p)) / len(p) ** a for p, a in cases
        ],
    }
    wrong = {sentence: torch.tensor(numbers) for sentence, numbers in mistakes.items()}
    got = torch.tensor([float(score(list(p), a)) for p, a in cases])
    answer("normalised_score", got, torch.tensor([sum(p) / len(p) ** a for p, a in cases]), wrong)
    print("normalised_score: right")  # noqa: T201 (a check answers its reader)


def clipped_precision(precision: Callable[[list[str], list[str], int], float]) -> None:
    """Check ``precision(words, reference, n)``: the share of the n-grams that the reference has, each as often."""
    pairs = (("a dog and a dog and a cat", "a cat and a dog"), ("the red red ball", "the ball is red"))
    got, right, counted, recall, kinds = [], [], [], [], []
    for (found, true), n in ((pair, n) for pair in pairs for n in (1, 2)):
        words, wanted = found.split(), true.split()
        a, b = (Counter(zip(*(t[k:] for k in range(n)), strict=False)) for t in (words, wanted))
        clipped = (a & b).total()
        got.append(float(precision(words, wanted, n)))
        right.append(clipped / a.total())
        counted.append(sum(c for gram, c in a.items() if gram in b) / a.total())
        recall.append(clipped / b.total())
        kinds.append(len(a.keys() & b.keys()) / len(a))
    mistakes = {
        "not clipped: an n-gram counts at most as often as the reference has it": torch.tensor(counted),
        "that is recall: divide by the n-grams of the translation": torch.tensor(recall),
        "those are kinds of n-grams: one that stands twice counts twice": torch.tensor(kinds),
    }
    answer("clipped_precision", torch.tensor(got), torch.tensor(right), mistakes)
    print("clipped_precision: right")  # noqa: T201 (a check answers its reader)
