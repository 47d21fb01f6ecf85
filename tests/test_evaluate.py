"""Scores, intervals and comparisons against other people's formulas and against small sums by hand."""

from __future__ import annotations

import math
import sys
from collections import Counter

import numpy as np
import pytest
import sacrebleu
import torch
from scipy import stats
from sklearn.metrics import accuracy_score
from torch import nn

from rnnbook.batches import Batches
from rnnbook.classifier import ClassifierConfig, TextClassifier
from rnnbook.evaluate import (
    accuracy,
    bootstrap_interval,
    calibration,
    corpus_bleu,
    exact_match,
    fit_temperature,
    paired_comparison,
    perplexity,
    predict,
    seed_interval,
    wilson_interval,
)
from rnnbook.repro import seed_everything

# --- scores ----------------------------------------------------------------------------------------


def test_accuracy_is_that_of_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 5, generator=generator)
    targets = torch.randint(5, (200,), generator=generator)
    assert accuracy(logits, targets) == pytest.approx(
        accuracy_score(targets, logits.argmax(dim=1)), abs=1e-15
    )


@pytest.mark.parametrize(
    ("logits", "targets", "error", "words"),
    [
        (torch.zeros(3, 2), torch.zeros(3), TypeError, "int64"),
        (torch.zeros(3, 1), torch.zeros(3, 1, dtype=torch.int64), ValueError, r"\(3, 1\)"),
        (torch.zeros(3, 2), torch.tensor([0, 1, 2]), ValueError, "0 to 1"),
        (torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), ValueError, "no examples"),
        (torch.tensor([[0.0, math.nan]]), torch.tensor([1]), ValueError, "NaN"),
    ],
)
def test_scores_of_nothing_are_refused(logits, targets, error, words):
    with pytest.raises(error, match=words):
        accuracy(logits, targets)


@pytest.mark.parametrize("scale", [1e-12, 0.2, 1.0, 3.0, 1e13])
@pytest.mark.parametrize("num_classes", [2, 5])
def test_the_temperature_undoes_a_scale(scale, num_classes):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50_000, num_classes, generator=generator)
    targets = torch.multinomial(logits.softmax(dim=1), 1, generator=generator).squeeze(1)
    assert fit_temperature(scale * (logits + 9), targets) == pytest.approx(scale, rel=0.03)


def test_the_temperature_has_the_least_cross_entropy():
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0], [0.0, 2.0], [2.0, 0.0]], dtype=torch.float64)
    targets = torch.tensor([0, 1, 1, 1])  # three of four right: confident by 3/4 where 2 / T = log 3
    found = fit_temperature(logits, targets)
    assert found == pytest.approx(2 / math.log(3), rel=1e-9)
    losses = [nn.functional.cross_entropy(logits / (found * by), targets) for by in (0.99, 1, 1.01)]
    assert losses[1] == min(losses)
    assert fit_temperature(logits.float().requires_grad_(), targets) == pytest.approx(found)


@pytest.mark.parametrize(
    ("logits", "targets", "error", "words"),
    [
        ([[3.0, 0.0], [0.0, 1.0]], [0, 1], ValueError, "best temperature is 0"),
        ([[3.0, 0.0], [0.0, 1.0]], [1, 0], ValueError, "temperature is infinite"),
        ([[3.0, 0.0], [0.0, 3.0]], [0, 0], ValueError, "temperature is infinite"),
        ([[3.0, 0.0], [0.0, math.inf]], [1, 0], ValueError, "infinite numbers"),
        ([[3.0, 0.0], [0.0, math.nan]], [1, 0], ValueError, "NaN"),
        ([[3.0, 0.0]], [2], ValueError, "0 to 1"),
        ([[3.0, 0.0]], [0.0], TypeError, "int64"),
    ],
)
def test_no_temperature_is_best_where_the_edge_is(logits, targets, error, words):
    with pytest.raises(error, match=words):
        fit_temperature(torch.tensor(logits), torch.tensor(targets))


@pytest.mark.parametrize("vocab_size", [2, 7, 1000])
def test_a_uniform_guess_has_the_perplexity_of_the_vocabulary(vocab_size):
    targets = torch.arange(50) % vocab_size
    nats = nn.functional.cross_entropy(torch.zeros(50, vocab_size), targets, reduction="sum")
    assert perplexity(nats.item(), 50) == pytest.approx(vocab_size, rel=1e-5)
    assert perplexity(nats, 50) == perplexity(nats.item(), 50)


def test_perplexity_weighs_tokens_and_not_batches():
    assert perplexity(0.0, 3) == 1
    assert perplexity(90 * math.log(2) + 10 * math.log(200), 100) == pytest.approx(2**0.9 * 200**0.1)
    assert perplexity(1e6, 1) == math.inf


@pytest.mark.parametrize(
    ("nats", "count", "error", "message"),
    [
        ([2.3, 2.4], 2, TypeError, "one sum of nats .* means of batches do not add up"),
        (torch.tensor([2.3]), 1, TypeError, "one sum of nats"),
        (2.3, 1.5, TypeError, "a whole number of tokens, got 1.5"),
        (2.3, True, TypeError, "a whole number of tokens, got True"),
        (2.3, 0, ValueError, "at least 1 token, got 2.3 over 0"),
        (-0.1, 3, ValueError, "nats >= 0"),
        (math.nan, 3, ValueError, "got nan over 3"),
        (math.inf, 3, ValueError, "got inf over 3"),
    ],
)
def test_perplexity_of_something_else_is_refused(nats, count, error, message):
    with pytest.raises(error, match=message):
        perplexity(nats, count)


# --- what was written, and what was expected -------------------------------------------------------

WRITTEN = [
    "the small dog runs over the green field",
    "a man in a red shirt sits on a bench",
    "two women talk to each other",
    "the the the the the",
    "a child plays with a ball in the park today",
]
EXPECTED = [
    "a small dog runs over the green grass",
    "a man in a red shirt is sitting on a bench",
    "two women are talking to each other in the street",
    "the cat is on the mat",
    "a child plays with a ball in the park",
]


def bleu_by_definition(predictions: list[str], references: list[str]) -> float:
    """BLEU of texts whose tokens stand between blanks, as its paper has it; no precision may be zero."""
    logarithms = []
    for n in range(1, 5):
        right = total = 0
        for prediction, reference in zip(predictions, references, strict=True):
            grams, known = (
                Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
                for words in (prediction.split(), reference.split())
            )
            right += sum(min(count, known[gram]) for gram, count in grams.items())
            total += sum(grams.values())
        logarithms.append(math.log(right / total))
    written, expected = (sum(len(text.split()) for text in texts) for texts in (predictions, references))
    brevity = 1.0 if written > expected else math.exp(1 - expected / written)
    return 100 * brevity * math.exp(sum(logarithms) / 4)


def test_bleu_is_that_of_its_definition():
    for predictions, references in (
        (WRITTEN, EXPECTED),
        (EXPECTED, WRITTEN),
        (WRITTEN[:1], EXPECTED[:1]),
        (tuple(WRITTEN[:2]), tuple(EXPECTED[:2])),
    ):
        score, _ = corpus_bleu(predictions, references)
        assert score == pytest.approx(bleu_by_definition(predictions, references), abs=1e-9)
        assert 0 < score < 100
    assert sum(map(len, map(str.split, WRITTEN))) < sum(map(len, map(str.split, EXPECTED))), (
        "one pays for brevity"
    )


def test_bleu_by_hand():
    # 3 of 4 words, 2 of 3 pairs, 1 of 2 triples, no four: the exponential smoothing makes it 1/2 of 1.
    score, _ = corpus_bleu(["a b c d"], ["a b c e"])
    assert score == pytest.approx(100 * (3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** 0.25)
    assert corpus_bleu(WRITTEN, WRITTEN)[0] == pytest.approx(100)
    assert corpus_bleu(["x y z"], ["a b c"])[0] == 0


def test_bleu_counts_the_corpus_and_not_sentences():
    mean = sum(corpus_bleu([a], [b])[0] for a, b in zip(WRITTEN, EXPECTED, strict=True)) / len(WRITTEN)
    assert abs(corpus_bleu(WRITTEN, EXPECTED)[0] - mean) > 1


def test_bleu_cuts_tokens_itself_and_says_how():
    cut, signature = corpus_bleu(["the dog, it runs."], ["a dog , it runs ."])
    assert cut == pytest.approx(bleu_by_definition(["the dog , it runs ."], ["a dog , it runs ."]), abs=1e-9)
    said = dict(part.split(":") for part in signature.split("|"))
    assert said == {
        "nrefs": "1",
        "case": "mixed",
        "eff": "no",
        "tok": "13a",
        "smooth": "exp",
        "version": sacrebleu.__version__,
    }


def test_bleu_of_lower_case_and_what_its_signature_says():
    capital = [text.capitalize() for text in WRITTEN]
    score, signature = corpus_bleu(capital, EXPECTED, lowercase=True)
    assert score == pytest.approx(bleu_by_definition(WRITTEN, EXPECTED), abs=1e-9)
    assert corpus_bleu(capital, EXPECTED)[0] < score - 1
    assert "case:lc" in signature.split("|")


def test_exact_match_by_hand():
    assert exact_match(["a", "b ", "", "c"], ["a", "b", "", "C"]) == 0.5
    assert exact_match(("周二",), ("周二",)) == 1.0
    assert exact_match(["a", "b"], ["b", "a"]) == 0.0


@pytest.mark.parametrize("score", [exact_match, corpus_bleu])
@pytest.mark.parametrize(
    ("predictions", "references", "error", "message"),
    [
        (["a"], ["a", "b"], ValueError, "one reference a prediction, got 1 predictions and 2 references"),
        (["a", "b"], [], ValueError, "got 2 predictions and 0 references"),
        ([], [], ValueError, "no pairs of a prediction and its reference"),
        ("ab", ["a", "b"], TypeError, "a list of predictions, got one str"),
        (["a", "b"], "ab", TypeError, "a list of references, got one str"),
        (["a", ["b"]], ["a", "b"], TypeError, "predictions as str, got list at number 1"),
        (["a"], [torch.tensor([4])], TypeError, "references as str, got Tensor at number 0"),
    ],
)
def test_no_score_without_pairs_of_texts(score, predictions, references, error, message):
    with pytest.raises(error, match=message):
        score(predictions, references)


def test_bleu_without_sacrebleu_says_what_helps(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
    with pytest.raises(ImportError, match="package sacrebleu; what helps: python -m pip install sacrebleu"):
        corpus_bleu(WRITTEN, EXPECTED)


# --- calibration -----------------------------------------------------------------------------------


def sure(*confidences: float) -> torch.Tensor:
    """Give two classes; the first gets these probabilities."""
    first = torch.tensor(confidences, dtype=torch.float64)
    return torch.stack([first, 1 - first], dim=1)


def test_a_calibrated_and_an_over_confident_predictor_by_hand():
    targets = torch.tensor([0] * 8 + [1] * 2)
    honest = calibration(sure(*[0.8] * 10), targets)
    assert honest.error == pytest.approx(0, abs=1e-12)
    boastful = calibration(sure(*[0.95] * 10), targets)
    assert boastful.error == pytest.approx(0.15)
    assert boastful.count.tolist() == [0] * 9 + [10]
    assert boastful.confidence[9].item() == pytest.approx(0.95)
    assert boastful.accuracy[9].item() == pytest.approx(0.8)
    assert boastful.accuracy[:9].isnan().all()
    both = calibration(sure(*[0.8] * 10, *[0.95] * 10), targets.repeat(2))
    assert both.error == pytest.approx(0.15 / 2), "a bin counts by its texts"


def test_too_low_and_too_high_do_not_cancel_between_bins():
    result = calibration(sure(0.6, 0.6, 0.9, 0.9), torch.tensor([0, 0, 1, 0]))
    assert result.error == pytest.approx((2 * 0.4 + 2 * 0.4) / 4)


def test_a_bin_holds_its_right_edge():
    result = calibration(
        sure(0.5, 0.75, 0.75, 0.8, 1.0, 0.125), torch.zeros(6, dtype=torch.int64), num_bins=4
    )
    assert result.bin_edges.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert result.count.tolist() == [0, 1, 2, 3]
    assert result.accuracy.tolist()[1:] == pytest.approx([1, 1, 2 / 3])
    assert result.confidence.tolist()[1:] == pytest.approx([0.5, 0.75, (0.8 + 1 + 0.875) / 3])


@pytest.mark.parametrize("num_bins", [1, 7, 10])
def test_the_calibration_error_is_that_of_its_definition(num_bins):
    generator = torch.Generator().manual_seed(num_bins)
    probabilities = torch.randn(300, 4, generator=generator).softmax(dim=1)
    targets = torch.randint(4, (300,), generator=generator)
    expected = 0.0
    for m in range(num_bins):
        low, high = m / num_bins, (m + 1) / num_bins
        inside = [
            (p.max().item(), int(p.argmax()) == t)
            for p, t in zip(probabilities, targets.tolist(), strict=True)
        ]
        inside = [pair for pair in inside if low < pair[0] <= high]
        if inside:
            confidence, correct = np.mean(inside, axis=0)
            expected += len(inside) / 300 * abs(confidence - correct)
    result = calibration(probabilities, targets, num_bins)
    assert result.error == pytest.approx(expected, abs=1e-9)
    assert result.count.sum() == 300


@pytest.mark.parametrize(
    ("probabilities", "targets", "num_bins", "message"),
    [
        (sure(0.5, 0.9) * 2, [0, 1], 10, "row 0 has the least entry 1 and the sum 2: apply softmax"),
        (
            torch.tensor([[0.5, 0.5], [1.5, -0.5]]),
            [0, 1],
            10,
            r"row 1 has the least entry -0\.5 and the sum 1",
        ),
        (torch.tensor([[0.5, math.inf]]), [0], 10, "sum inf"),
        (torch.tensor([[0.5, math.nan]]), [0], 10, "NaN"),
        (sure(0.5, 0.9), [0], 10, r"got \(2, 2\) and \(1,\)"),
        (sure(0.5), [2], 10, "0 to 1"),
        (sure(0.5), [0], 0, "at least one bin, got 0"),
        (torch.zeros(0, 2), [], 10, "no examples"),
    ],
)
def test_what_is_no_probability_is_refused(probabilities, targets, num_bins, message):
    with pytest.raises(ValueError, match=message):
        calibration(probabilities, torch.tensor(targets, dtype=torch.int64), num_bins)


def test_rounding_of_float32_is_no_reason_to_refuse():
    probabilities = (5 * torch.randn(500, 50, generator=torch.Generator().manual_seed(0))).softmax(dim=1)
    assert 0 < calibration(probabilities, torch.zeros(500, dtype=torch.int64)).error < 1


# --- predictions -----------------------------------------------------------------------------------


@pytest.fixture
def network() -> TextClassifier:
    seed_everything(0)
    return TextClassifier(ClassifierConfig(20, embedding_dim=4, hidden_size=3, dropout=0.5))


SEQUENCES = [torch.arange(2, 2 + length) for length in (5, 1, 9, 3, 7)]


def test_predictions_stand_in_the_order_of_the_texts(network):
    logits = predict(network, Batches(SEQUENCES, [0] * 5, batch_size=2))
    network.eval()
    alone = torch.cat([network(s.unsqueeze(0), torch.tensor([len(s)])) for s in SEQUENCES])
    torch.testing.assert_close(logits, alone)
    assert not logits.requires_grad


@pytest.mark.parametrize("training", [True, False])
def test_predicting_keeps_the_mode_and_drops_nothing_out(network, training):
    network.train(training)
    batches = Batches(SEQUENCES, [0] * 5, batch_size=2)
    assert torch.equal(predict(network, batches), predict(network, batches))
    assert network.training is training


def test_shuffled_predictions_are_refused(network):
    shuffled = Batches(SEQUENCES, [0] * 5, batch_size=2, generator=torch.Generator())
    with pytest.raises(ValueError, match="without a generator"):
        predict(network, shuffled)


# --- intervals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("correct", "count"), [(0, 7), (7, 7), (1, 2), (83, 100), (4300, 4872)])
def test_wilson_is_that_of_scipy(correct, count):
    expected = stats.binomtest(correct, count).proportion_ci(method="wilson")
    assert wilson_interval(correct, count) == pytest.approx((expected.low, expected.high), abs=1e-6)


@pytest.mark.parametrize(("correct", "count"), [(-1, 5), (6, 5), (0, 0)])
def test_wilson_refuses_impossible_counts(correct, count):
    with pytest.raises(ValueError, match=f"{correct} of {count}"):
        wilson_interval(correct, count)


@pytest.mark.parametrize("count", [2, 3, 5, 12])
def test_the_interval_over_seeds_is_that_of_scipy(count):
    values = np.random.default_rng(count).normal(0.8, 0.02, count)
    expected = stats.t.interval(0.95, count - 1, values.mean(), stats.sem(values))
    assert seed_interval(values.tolist()) == pytest.approx(expected, abs=1e-9)


def test_the_interval_over_seeds_covers_the_mean_in_19_of_20_experiments():
    draws = np.random.default_rng(0).normal(0.8, 0.02, (2000, 5))
    hits = [low <= 0.8 <= high for low, high in map(seed_interval, draws.tolist())]
    assert sum(hits) / len(hits) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("values", [[], [0.8]])
def test_one_seed_has_no_interval(values):
    with pytest.raises(ValueError, match="at least two"):
        seed_interval(values)


# --- resampling and comparing ----------------------------------------------------------------------


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("count", [100, 3000])
def test_the_bootstrap_agrees_with_the_normal_approximation(count):
    values = torch.rand(count, generator=drawn(count), dtype=torch.float64)
    half = 1.96 * values.std().item() / math.sqrt(count)
    low, high = bootstrap_interval(values, generator=drawn())
    assert low == pytest.approx(values.mean().item() - half, abs=0.06 * half)
    assert high == pytest.approx(values.mean().item() + half, abs=0.06 * half)


@pytest.mark.parametrize("correct", [1000, 1700])
def test_the_bootstrap_of_a_share_agrees_with_wilson(correct):
    values = [1.0] * correct + [0.0] * (2000 - correct)
    assert bootstrap_interval(values, generator=drawn()) == pytest.approx(
        wilson_interval(correct, 2000), abs=2e-3
    )


def test_the_bootstrap_repeats_by_its_generator_alone():
    values = torch.rand(50, generator=drawn())
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = [
        bootstrap_interval(values, num_resamples=200, generator=g) for g in (drawn(1), drawn(1), drawn(2))
    ]
    assert first[0] == first[1] != first[2]
    one = drawn(1)
    twice = [bootstrap_interval(values, num_resamples=200, generator=one) for _ in range(2)]
    assert twice[0] == first[0] != twice[1]
    assert torch.equal(torch.get_rng_state(), before)
    assert bootstrap_interval([0.5, 0.5], generator=drawn()) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([], {}, r"at least two values \(N,\), one a text, got shape \(0,\)"),
        ([0.5], {}, r"got shape \(1,\)"),
        ([[0.5, 0.6]], {}, r"got shape \(1, 2\)"),
        ([0.5, math.nan, math.inf], {}, "2 of 3 values are infinite or NaN"),
        ([0.5, 0.6], {"num_resamples": 10}, "at least 100 resamples"),
    ],
)
def test_the_bootstrap_refuses(values, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(values, generator=drawn(), **options)


def answers(both: int, only_a: int, only_b: int, neither: int) -> list[torch.Tensor]:
    """Give the right and wrong answers of A and of B, as many of each kind."""
    pairs = (
        [(True, True)] * both
        + [(True, False)] * only_a
        + [(False, True)] * only_b
        + [(False, False)] * neither
    )
    return list(torch.tensor(pairs).T)


@pytest.mark.parametrize(
    ("only_a", "only_b", "p_value"),
    [
        (5, 1, 2 * (1 + 6) / 2**6),
        (1, 5, 2 * (1 + 6) / 2**6),
        (3, 3, 1),
        (0, 0, 1),
        (0, 8, 2 / 2**8),
        (1, 0, 1),
    ],
)
def test_mcnemar_by_hand(only_a, only_b, p_value):
    result = paired_comparison(*answers(10, only_a, only_b, 4), generator=drawn())
    assert result.p_value == pytest.approx(p_value)
    assert (result.only_a, result.only_b) == (only_a, only_b)
    assert result.difference == pytest.approx((only_a - only_b) / (14 + only_a + only_b))


def test_mcnemar_agrees_with_its_chi_squared_form_for_many_texts():
    result = paired_comparison(*answers(5000, 520, 450, 500), generator=drawn())
    corrected = (abs(520 - 450) - 1) ** 2 / (520 + 450)
    assert result.p_value == pytest.approx(stats.chi2.sf(corrected, 1), rel=0.01)
    assert 0.02 < result.p_value < 0.05


def test_answers_to_one_text_stay_together():
    """Two models with the same hard texts: apart, the interval would be several times as wide."""
    a, b = answers(700, 30, 10, 260)
    result = paired_comparison(a, b, generator=drawn())
    share = (40 / 1000 - 0.02**2) ** 0.5
    assert result.difference == pytest.approx(0.02)
    assert (result.low, result.high) == pytest.approx(
        (0.02 - 1.96 * share / 1000**0.5, 0.02 + 1.96 * share / 1000**0.5), abs=1.1e-3
    )
    turned = paired_comparison(b, a, generator=drawn())
    assert (turned.difference, turned.low, turned.high) == pytest.approx((-0.02, -result.high, -result.low))
    assert turned.p_value == result.p_value


@pytest.mark.parametrize(
    ("a", "b", "error", "message"),
    [
        (torch.ones(3), torch.ones(3), TypeError, r"bool, right or wrong, got torch\.float32"),
        (torch.ones(3).bool(), torch.ones(3, 1).bool(), ValueError, r"same texts.*got \(3,\) and \(3, 1\)"),
        (torch.ones(3).bool(), torch.ones(4).bool(), ValueError, r"got \(3,\) and \(4,\)"),
        (torch.ones(3, 2).bool(), torch.ones(3, 2).bool(), ValueError, r"got \(3, 2\) and \(3, 2\)"),
        (torch.ones(0).bool(), torch.ones(0).bool(), ValueError, "at least two values"),
    ],
)
def test_a_comparison_of_something_else_is_refused(a, b, error, message):
    with pytest.raises(error, match=message):
        paired_comparison(a, b, generator=drawn())


def test_predict_takes_any_model_of_tokens_and_lengths():
    class Constant(nn.Module):
        def forward(self, tokens, lengths):
            return torch.stack([lengths.float(), tokens.sum(dim=1).float()], dim=1)

    logits = predict(Constant(), Batches(SEQUENCES, [0] * 5, batch_size=3))
    assert logits[:, 0].tolist() == [5, 1, 9, 3, 7]
    assert logits[:, 1].tolist() == [float(s.sum()) for s in SEQUENCES]
