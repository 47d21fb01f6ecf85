"""What a model writes: against enumeration of all targets, and against searches by hand over prefixes."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from rnnbook.batches import PairBatches, pad_sequences
from rnnbook.evaluate import exact_match
from rnnbook.generate import beam_search, choose, filter_logits, generate
from rnnbook.repro import seed_everything
from rnnbook.seq2seq import Decoder, Encoder, Seq2Seq
from rnnbook.text import BEGIN, BEGIN_INDEX, END, END_INDEX, PAD, UNKNOWN, Vocab
from rnnbook.train import train

V, MAX_LEN = 5, 4
SOURCE, LENGTHS = torch.tensor([[4, 1, 4], [1, 4, 0], [4, 0, 0]]), torch.tensor([3, 2, 1])
PENALTIES = [0.0, 0.6, 1.0, 1.7]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(seed: int = 0, attention: str | None = "additive", end: float = 0.0) -> Seq2Seq:
    """Build a tiny model with large random weights, so that its choices are far from even."""
    torch.manual_seed(seed)
    model = Seq2Seq(Encoder(V, 4, 4), Decoder(V, 4, 4, attention=attention)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
        model.decoder.bias[END_INDEX] += end
    return model


@torch.no_grad()
def log_probs_of(model: Seq2Seq, row: int, targets: list[tuple[int, ...]]) -> list[Tensor]:
    """Log-probabilities (n, V) at each place of targets, all read whole, from the source of one row."""
    length = int(LENGTHS[row])
    read = torch.tensor([[BEGIN_INDEX, *target[:-1]] for target in targets])
    lengths = torch.full((len(targets),), read.shape[1])
    source = SOURCE[row : row + 1, :length].expand(len(targets), -1)
    logits = model(source, LENGTHS[row].expand(len(targets)), read, lengths)
    return list(logits.log_softmax(dim=1).split(read.shape[1]))


def log_prob(model: Seq2Seq, row: int, target: tuple[int, ...]) -> float:
    """Log-probability of all tokens of one target, among them the mark of its end if it has one."""
    return log_probs_of(model, row, [target])[0][range(len(target)), target].sum().item()


def whole(ids: Tensor) -> tuple[int, ...]:
    """Give a target that was written its mark of the end back: one that is shorter than the limit had one."""
    return (*ids.tolist(), *([END_INDEX] if len(ids) < MAX_LEN else []))


# --- beam search ---------------------------------------------------------------------------------


def all_targets() -> dict[int, list[tuple[int, ...]]]:
    """List by their length all that can be written in MAX_LEN tokens: ended, or cut at the limit."""
    others = [token for token in range(V) if token != END_INDEX]
    found = {
        n: [(*start, END_INDEX) for start in itertools.product(others, repeat=n - 1)]
        for n in range(1, MAX_LEN + 1)
    }
    found[MAX_LEN] += list(itertools.product(others, repeat=MAX_LEN))
    return found


def all_sums(model: Seq2Seq, row: int) -> dict[tuple[int, ...], float]:
    """Give each target that can be written its log-probability."""
    return {
        target: steps[range(len(target)), target].sum().item()
        for targets in all_targets().values()
        for target, steps in zip(targets, log_probs_of(model, row, targets), strict=True)
    }


@pytest.mark.parametrize("attention", ["additive", "multiplicative", None])
def test_a_wide_beam_finds_the_best_of_all_targets(attention):
    best_of: dict[tuple[int, int], set[tuple[int, ...]]] = {}
    for seed in range(6):
        model = make(seed, attention)
        sums = [all_sums(model, row) for row in range(3)]
        for row in sums:
            assert len(row) == 1 + 4 + 16 + 64 + 256
            assert sum(map(math.exp, row.values())) == pytest.approx(1)
        for penalty in PENALTIES:
            written, scores = beam_search(
                model, SOURCE, LENGTHS, beam_width=100, max_len=MAX_LEN, length_penalty=penalty
            )
            for row, (ids, score) in enumerate(zip(written, scores.tolist(), strict=True)):
                expected = {target: value / len(target) ** penalty for target, value in sums[row].items()}
                assert whole(ids) == max(expected, key=expected.__getitem__)
                assert score == pytest.approx(max(expected.values()), abs=1e-9)
                best_of.setdefault((seed, row), set()).add(whole(ids))
    assert len({len(target) for found in best_of.values() for target in found}) >= 2
    assert sum(len(found) > 1 for found in best_of.values()) >= 4, "the penalty decides"


def beam_by_hand(model: Seq2Seq, row: int, width: int, penalty: float) -> tuple[tuple[int, ...], float]:
    """Search with a sorted list of targets, each read anew from its beginning."""
    beam: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for _ in range(MAX_LEN):
        longer = []
        for target in [target for _, target in beam]:
            if target and target[-1] == END_INDEX:
                longer.append(target)
            else:
                longer += [(*target, token) for token in range(V)]
        scored = [(log_prob(model, row, target) / len(target) ** penalty, target) for target in longer]
        beam = sorted(scored, reverse=True)[:width]
    return beam[0][1], beam[0][0]


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_narrow_beam_keeps_what_a_search_by_hand_keeps(width, penalty):
    for seed in range(4):
        model = make(seed)
        written, scores = beam_search(
            model, SOURCE, LENGTHS, beam_width=width, max_len=MAX_LEN, length_penalty=penalty
        )
        for row in range(3):
            target, score = beam_by_hand(model, row, width, penalty)
            assert whole(written[row]) == target
            assert scores[row].item() == pytest.approx(score, abs=1e-9)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_score_is_that_of_what_is_returned_and_all_targets_are_the_upper_bound(penalty):
    for seed, width in itertools.product(range(4), (1, 2, 4)):
        model = make(seed)
        options = {"max_len": MAX_LEN, "length_penalty": penalty}
        written, scores = beam_search(model, SOURCE, LENGTHS, beam_width=width, **options)
        _, best = beam_search(model, SOURCE, LENGTHS, beam_width=100, **options)
        for row, ids in enumerate(written):
            assert END_INDEX not in ids
            expected = log_prob(model, row, whole(ids)) / len(whole(ids)) ** penalty
            assert scores[row].item() == pytest.approx(expected, abs=1e-9)
        assert (scores <= best + 1e-9).all()


@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_beam_of_one_is_greedy_search(penalty):
    for seed in range(6):
        model = make(seed)
        greedy = generate(model, SOURCE, LENGTHS, max_len=MAX_LEN)
        written, _ = beam_search(
            model, SOURCE, LENGTHS, beam_width=1, max_len=MAX_LEN, length_penalty=penalty
        )
        assert [ids.tolist() for ids in written] == [ids.tolist() for ids in greedy]


def test_a_wider_beam_finds_what_greedy_search_misses():
    better = 0
    for seed in range(10):
        options = {"max_len": MAX_LEN, "length_penalty": 0.0}
        greedy, wide = (
            beam_search(make(seed), SOURCE, LENGTHS, beam_width=k, **options)[1] for k in (1, 100)
        )
        better += int((wide > greedy + 1e-6).sum())
    assert better > 3


def test_a_beam_in_a_batch_is_the_beam_of_each_source_alone():
    model = make(1)
    written, scores = beam_search(model, SOURCE, LENGTHS, beam_width=3, max_len=6)
    for row, length in enumerate(LENGTHS.tolist()):
        alone, score = beam_search(
            model, SOURCE[row : row + 1, :length], LENGTHS[row : row + 1], beam_width=3, max_len=6
        )
        assert alone[0].tolist() == written[row].tolist()
        assert score.item() == pytest.approx(scores[row].item(), abs=1e-9)


# --- greedy search and sampling ------------------------------------------------------------------


@pytest.mark.parametrize("attention", ["additive", "multiplicative", None])
def test_greedy_search_reads_what_it_wrote_itself(attention):
    for seed in range(6):
        model = make(seed, attention)
        written = generate(model, SOURCE, LENGTHS, max_len=MAX_LEN)
        for row, ids in enumerate(written):
            target: tuple[int, ...] = ()
            while len(target) < MAX_LEN and END_INDEX not in target:
                target += (int(log_probs_of(model, row, [(*target, 0)])[0][-1].argmax()),)
            assert whole(ids) == target


@pytest.mark.parametrize("search", [generate, beam_search])
def test_the_mark_of_the_end_ends_a_target_and_is_not_in_it(search):
    def lengths(model: Seq2Seq, limit: int) -> list[int]:
        found = search(model, SOURCE, LENGTHS, max_len=limit)
        return [len(ids) for ids in (found[0] if search is beam_search else found)]

    assert lengths(make(end=200.0), 7) == [0, 0, 0]
    assert lengths(make(end=-200.0), 7) == [7, 7, 7]
    assert lengths(make(end=-200.0), 1) == [1, 1, 1]


def test_choosing_keeps_to_the_probabilities():
    logits = torch.tensor([[1.0, -0.5, 0.3, 2.0, -3.0]], dtype=torch.float64)
    count = 40_000
    for temperature in (0.5, 1.0, 2.0):
        chosen = choose(logits.expand(count, -1), temperature, generator=generator(1))
        expected = (logits[0] / temperature).exp() / (logits[0] / temperature).exp().sum()
        bound = 4 * (expected * (1 - expected) / count).sqrt()
        assert ((chosen.bincount(minlength=5) / count - expected).abs() < bound).all()
    cold = choose(logits.expand(count, -1), 1e-4, generator=generator(1))
    assert (cold == 3).all(), "almost no temperature is greedy"
    assert (choose(logits.float().expand(9, -1), 1e-38, generator=generator(1)) == 3).all()
    assert choose(logits).tolist() == [3]


def test_a_drawn_first_token_has_the_probability_that_the_model_gives_it():
    model, count = make(3), 20_000
    source, lengths = SOURCE[:1].expand(count, -1), LENGTHS[:1].expand(count)
    written = generate(model, source, lengths, max_len=1, temperature=1.0, generator=generator())
    tokens = torch.tensor([int(ids[0]) if len(ids) else END_INDEX for ids in written])
    expected = log_probs_of(model, 0, [(0,)])[0][0].exp()
    bound = 4 * (expected * (1 - expected) / count).sqrt() + 1e-9
    assert ((tokens.bincount(minlength=V) / count - expected).abs() < bound).all()
    assert expected.max() < 0.99


def test_drawing_takes_from_the_generator_alone():
    model = make(3)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    runs = [
        [
            ids.tolist()
            for ids in generate(
                model, SOURCE, LENGTHS, max_len=30, temperature=1.5, generator=generator(seed)
            )
        ]
        for seed in (0, 0, 1)
    ]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert torch.equal(torch.get_rng_state(), before)


def test_top_k_keeps_the_k_largest():
    logits = torch.randn(50, 8, generator=generator(), dtype=torch.float64)
    for k in (1, 3, 8, 20):
        kept = filter_logits(logits, top_k=k)
        for row, old in zip(kept, logits, strict=True):
            largest = sorted(old.tolist())[-k:]
            assert [x in largest for x in old.tolist()] == row.isfinite().tolist()
            assert torch.equal(row[row.isfinite()], old[row.isfinite()])
    assert filter_logits(torch.zeros(1, 4), top_k=2).isfinite().tolist() == [[True, True, False, False]]


@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.9, 0.999, 1.0])
def test_the_nucleus_is_the_smallest_set_that_reaches_top_p(top_p):
    logits = 2 * torch.randn(50, 8, generator=generator(), dtype=torch.float64)
    for row, kept in zip(logits.softmax(dim=1).tolist(), filter_logits(logits, top_p=top_p), strict=True):
        ranked = sorted(range(8), key=lambda v: -row[v])
        size = next(n for n in range(1, 9) if n == 8 or sum(row[v] for v in ranked[:n]) >= top_p)
        assert {int(v) for v in kept.isfinite().nonzero()} == set(ranked[:size])


def test_filters_by_hand():
    logits = torch.tensor([[0.15, 0.5, 0.05, 0.3]], dtype=torch.float64).log()
    finite = lambda **options: filter_logits(logits, **options).isfinite()[0].nonzero().flatten().tolist()
    assert finite(top_p=0.45) == [1]
    assert finite(top_p=0.55) == [1, 3]
    assert finite(top_p=0.9) == [0, 1, 3]
    assert finite(top_p=0.9, top_k=2) == [1, 3]
    assert finite(top_p=0.55, top_k=3) == [1, 3]
    assert finite() == [0, 1, 2, 3]
    sharp = torch.tensor([[0.0] + [-20.0] * 50])
    assert filter_logits(sharp).isfinite().all(), (
        "a top_p of 1 keeps all, whatever rounding does to their sum"
    )


def test_what_is_filtered_out_is_never_drawn():
    logits = torch.tensor([[0.15, 0.5, 0.05, 0.3]], dtype=torch.float64).log().expand(20_000, -1)
    for options in ({"top_k": 2}, {"top_p": 0.55}):
        shares = choose(logits, 1.0, generator=generator(), **options).bincount(minlength=4) / 20_000
        assert shares[[0, 2]].tolist() == [0, 0]
        assert shares[1].item() == pytest.approx(0.5 / 0.8, abs=4 * math.sqrt(0.25 / 20_000))
    # The temperature comes first: it makes the probabilities more even, so that three must reach 0.55.
    assert choose(logits, 10.0, top_p=0.55, generator=generator()).unique().tolist() == [0, 1, 3]
    written = generate(make(3), SOURCE, LENGTHS, temperature=9.0, top_k=1, max_len=8, generator=generator())
    greedy = generate(make(3), SOURCE, LENGTHS, max_len=8)
    assert [ids.tolist() for ids in written] == [ids.tolist() for ids in greedy]


# --- from training to what is written ------------------------------------------------------------

VOCAB = Vocab((PAD, UNKNOWN, BEGIN, END, *"abcdef"))


def words(count: int, seed: int) -> list[str]:
    """Make words of 2 to 5 letters of the vocabulary."""
    draw = generator(seed)
    lengths = torch.randint(2, 6, (count,), generator=draw).tolist()
    return ["".join(VOCAB.decode(torch.randint(4, 10, (n,), generator=draw))) for n in lengths]


@pytest.mark.parametrize("attention", ["additive", "multiplicative"])
def test_a_trained_model_writes_new_words_backwards(attention):
    seed = seed_everything(0)
    held_out = words(200, 1)
    known = [word for word in words(3000, 2) if word not in held_out]
    pairs = [[VOCAB.encode([*word[::way]]) for word in known] for way in (1, -1)]
    model = Seq2Seq(Encoder(10, 16, 32), Decoder(10, 16, 32, attention=attention))
    train(model, PairBatches(*pairs, batch_size=50, generator=seed), num_epochs=8, learning_rate=1e-2)
    batch = pad_sequences([VOCAB.encode([*word]) for word in held_out])
    model.eval()
    for written in (
        generate(model, *batch, max_len=9),
        beam_search(model, *batch, beam_width=3, max_len=9)[0],
    ):
        answers = ["".join(VOCAB.decode(ids)) for ids in written]
        assert exact_match(answers, [word[::-1] for word in held_out]) == 1.0


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("search", [generate, beam_search])
def test_what_no_search_can_do(search):
    model = make()
    with pytest.raises(ValueError, match="max_len of at least 1 token, got 0"):
        search(model, SOURCE, LENGTHS, max_len=0)
    with pytest.raises(ValueError, match="expected at least one source, got none"):
        search(model, SOURCE[:0], LENGTHS[:0])
    with pytest.raises(ValueError, match="from 1 to T = 3, got 0 to 3: an empty text"):
        search(model, SOURCE, torch.tensor([3, 0, 1]))
    with pytest.raises(ValueError, match="ids from 0 to 4, got 1 to 5"):
        search(model, SOURCE + 1, LENGTHS)
    with pytest.raises(ValueError, match=r"in training.*model\.eval\(\)"):
        search(model.train(), SOURCE, LENGTHS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_width": 0}, "beam_width of at least 1, got 0"),
        ({"length_penalty": -0.1}, "length_penalty of at least 0, got -0.1"),
        ({"length_penalty": math.nan}, "length_penalty of at least 0, got nan"),
    ],
)
def test_beams_that_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        beam_search(make(), SOURCE, LENGTHS, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature of at least 0, got -1.0"),
        ({"temperature": math.nan}, "temperature of at least 0, got nan"),
        ({"temperature": math.inf}, "temperature of at least 0, got inf"),
        ({"temperature": 1.0, "generator": None}, "expected a generator to draw from, got none"),
        ({"temperature": 1.0, "top_k": 0}, "top_k of at least 1, got 0"),
        ({"temperature": 1.0, "top_p": 0.0}, "top_p above 0 and at most 1, got 0.0"),
        ({"temperature": 1.0, "top_p": 1.1}, "top_p above 0 and at most 1, got 1.1"),
        ({"top_k": 0}, "top_k of at least 1, got 0"),
        ({"top_p": math.nan}, "top_p above 0 and at most 1, got nan"),
    ],
)
def test_ways_to_choose_that_are_refused(options, message):
    options = {"generator": generator(), **options}
    with pytest.raises(ValueError, match=message):
        choose(torch.zeros(1, V), **options)
    with pytest.raises(ValueError, match=message):
        generate(make(), SOURCE, LENGTHS, **options)
