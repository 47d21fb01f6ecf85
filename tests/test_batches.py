"""Batches hold every example once and nothing else; a stream keeps its order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rnnbook.batches import (
    Batches,
    PairBatches,
    StreamBatches,
    check_lengths,
    length_mask,
    pad_sequences,
    shorten,
    split_stream,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- padding -------------------------------------------------------------------------------------


def test_padding():
    padded, lengths = pad_sequences([torch.tensor([5, 6]), torch.tensor([7, 8, 9]), torch.tensor([4])])
    assert padded.tolist() == [[5, 6, 0], [7, 8, 9], [4, 0, 0]]
    assert lengths.tolist() == [2, 3, 1]
    assert (padded.dtype, lengths.dtype) == (torch.int64, torch.int64)
    assert pad_sequences([torch.tensor([5]), torch.tensor([5, 6])], padding_index=9)[0].tolist() == [
        [5, 9],
        [5, 6],
    ]
    assert length_mask(lengths, 3).tolist() == [[True, True, False], [True] * 3, [True, False, False]]
    assert length_mask(torch.tensor([2, 1]), 4).sum(dim=1).tolist() == [2, 1]
    assert length_mask(lengths, 3).dtype == torch.bool


def test_nothing_to_pad():
    with pytest.raises(ValueError, match="at least one sequence, got none"):
        pad_sequences([])
    with pytest.raises(ValueError, match="sequence 1 is empty"):
        pad_sequences([torch.tensor([1]), torch.tensor([], dtype=torch.int64)])
    with pytest.raises(ValueError, match=r"sequence 0: expected shape \(T,\), got \(1, 2\)"):
        pad_sequences([torch.tensor([[1, 2]])])


@pytest.mark.parametrize(
    ("lengths", "error", "message"),
    [
        ([1, 5], ValueError, "from 1 to T = 4, got 1 to 5"),
        ([0, 4], ValueError, "from 1 to T = 4, got 0 to 4: an empty text has no last state"),
        ([-1, 4], ValueError, "got -1 to 4"),
        ([1], ValueError, r"one length a row, shape \(2,\), got \(1,\)"),
        ([[1], [2]], ValueError, r"shape \(2,\), got \(2, 1\)"),
        ([1.0, 2.0], TypeError, r"lengths as integers, got torch\.float32"),
        ([True, True], TypeError, r"lengths as integers, got torch\.bool"),
    ],
)
def test_lengths_that_do_not_fit(lengths, error, message):
    with pytest.raises(error, match=message):
        check_lengths(torch.tensor(lengths), 2, 4)


def test_a_mask_wants_lengths_within_the_row():
    with pytest.raises(ValueError, match="from 1 to T = 3, got 2 to 4"):
        length_mask(torch.tensor([2, 4]), 3)
    check_lengths(torch.tensor([1, 4]), 2, 4)


# --- batches -------------------------------------------------------------------------------------


def numbered(count: int, *, longest: int = 40) -> tuple[list[Tensor], list[int]]:
    """Make sequences of random length that all hold their own number, which is the label too."""
    lengths = torch.randint(1, longest + 1, (count,), generator=generator(7)).tolist()
    return [torch.full((length,), i + 2) for i, length in enumerate(lengths)], list(range(count))


def one_pass(batches: Batches) -> list[list[int]]:
    """Go through once, check each row against its label, and return the labels batch by batch."""
    seen = []
    for tokens, lengths, labels in batches:
        assert tokens.shape == (len(labels), int(lengths.max()))
        for row, length, label in zip(tokens, lengths.tolist(), labels.tolist(), strict=True):
            assert length == len(batches.sequences[label])
            assert (row[:length] == label + 2).all()
            assert (row[length:] == 0).all()
        seen.append(labels.tolist())
    return seen


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("batch_size", [1, 7, 30, 100])
def test_every_example_once_in_every_pass(seed, batch_size):
    shuffle = None if seed is None else generator(seed)
    batches = Batches(*numbered(30), batch_size=batch_size, generator=shuffle)
    for _ in range(3):
        seen = one_pass(batches)
        assert sorted(label for labels in seen for label in labels) == list(range(30))
        assert len(seen) == len(batches) == -(-30 // batch_size)
        assert all(len(labels) <= batch_size for labels in seen)
        assert sum(len(labels) < batch_size for labels in seen) <= 1


def test_each_pass_shuffles_anew_and_a_seed_repeats_it_all():
    first, again, other = (Batches(*numbered(60), batch_size=4, generator=generator(s)) for s in (1, 1, 2))
    passes = [one_pass(first) for _ in range(3)]
    assert passes == [one_pass(again) for _ in range(3)]
    assert one_pass(other) != passes[0]
    for a, b in ((0, 1), (1, 2)):
        assert passes[a] != passes[b]
        together = [{frozenset(labels) for labels in seen} for seen in (passes[a], passes[b])]
        assert len(together[0] & together[1]) < len(first) / 2, (
            "the same texts would stand together in every pass"
        )


def test_batches_do_not_come_in_order_of_length():
    sequences, labels = numbered(100)
    batches = Batches(sequences, labels, batch_size=5, generator=generator())
    longest = [tokens.shape[1] for tokens, *_ in batches]
    assert longest != sorted(longest)
    assert longest != sorted(longest, reverse=True)


def test_without_a_generator_the_order_is_the_given_one():
    torch.manual_seed(0)
    batches = Batches(*numbered(10), batch_size=4)
    for _ in range(2):
        assert one_pass(batches) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_shuffling_draws_from_the_generator_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one_pass(Batches(*numbered(30), batch_size=4, generator=generator()))
    assert torch.equal(torch.get_rng_state(), before)


def test_texts_of_like_length_need_little_padding():
    sequences, labels = numbered(200)
    plain = Batches(sequences, labels, batch_size=8).padding_share()
    sorted_share = Batches(sequences, labels, batch_size=8, generator=generator()).padding_share()
    assert 0 < sorted_share < plain / 3


def test_without_buckets_texts_of_any_length_stand_together():
    sequences, labels = numbered(200)
    make = lambda seed, **options: Batches(
        sequences, labels, batch_size=8, generator=generator(seed), **options
    )
    random = make(1, bucket=False)
    seen = one_pass(random)
    assert sorted(label for batch in seen for label in batch) == list(range(200))
    assert seen != one_pass(random)
    assert seen == one_pass(make(1, bucket=False))
    assert random.padding_share() > 3 * make(1).padding_share()
    assert one_pass(make(1, bucket=True)) == one_pass(make(1))


def test_the_plan_of_the_recorded_results_stays_the_same():
    batches = Batches(*numbered(12), batch_size=5, generator=generator(3))
    assert one_pass(batches) == [[2, 9, 4, 3, 6], [1, 0, 5, 8, 11], [10, 7]]


def test_padding_share_by_hand_and_without_a_trace():
    sequences = [torch.ones(length, dtype=torch.int64) for length in (4, 1, 2, 2)]
    batches = Batches(sequences, [0] * 4, batch_size=2)
    assert batches.padding_share() == pytest.approx(3 / 12)
    asked, not_asked = (Batches(*numbered(30), batch_size=4, generator=generator()) for _ in range(2))
    asked.padding_share()
    assert one_pass(asked) == one_pass(not_asked)


@pytest.mark.parametrize(
    ("max_len", "last", "kept"),
    [
        (None, 0, [0, 1, 2, 3, 4, 5]),
        (6, 2, [0, 1, 2, 3, 4, 5]),
        (9, 9, [0, 1, 2, 3, 4, 5]),
        (4, 0, [0, 1, 2, 3]),
        (4, 1, [0, 1, 2, 5]),
        (5, 3, [0, 1, 3, 4, 5]),
        (2, 2, [4, 5]),
        (1, 0, [0]),
    ],
)
def test_shortened(max_len, last, kept):
    ids = torch.arange(6)
    assert shorten(ids, max_len, last).tolist() == kept
    batches = Batches([ids], [0], batch_size=1, max_len=max_len, last=last)
    assert batches.sequences[0].tolist() == kept
    assert ids.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(("max_len", "last"), [(0, 0), (-1, 0), (3, -1), (3, 4)])
def test_shortened_to_nothing(max_len, last):
    with pytest.raises(ValueError, match=rf"expected max_len of at least 1 .* got {max_len} and {last}"):
        shorten(torch.arange(6), max_len, last)


def test_max_len_keeps_the_beginning():
    sequences = [torch.arange(2, 8), torch.tensor([9])]
    batches = Batches(sequences, [0, 1], batch_size=2, max_len=3)
    [(tokens, lengths, _)] = list(batches)
    assert tokens.tolist() == [[2, 3, 4], [9, 0, 0]]
    assert lengths.tolist() == [3, 1]
    assert len(sequences[0]) == 6, "the texts of the caller stay whole"


@pytest.mark.parametrize(
    "labels", [np.array([1, 0]), torch.tensor([1, 0], dtype=torch.int32), (i for i in (1, 0)), [1, 0]]
)
def test_labels_become_int64(labels):
    batches = Batches([torch.tensor([2]), torch.tensor([3])], labels, batch_size=2)
    assert batches.labels.dtype == torch.int64
    assert batches.labels.tolist() == [1, 0]


SOME = [torch.tensor([2, 3]), torch.tensor([4])]


@pytest.mark.parametrize(
    ("sequences", "labels", "options", "error", "message"),
    [
        (SOME, [0.0, 1.0], {}, TypeError, r"class numbers as integers, got torch\.float32"),
        (SOME, [True, False], {}, TypeError, r"class numbers as integers, got torch\.bool"),
        (SOME, [0, 1, 1], {}, ValueError, r"expected 2 labels, one a sequence, got shape \(3,\)"),
        (SOME, torch.tensor([[0], [1]]), {}, ValueError, r"got shape \(2, 1\)"),
        (SOME, [0, 1], {"batch_size": 0}, ValueError, "batch_size of at least 1, got 0"),
        (SOME, [0, 1], {"max_len": 0}, ValueError, r"max_len of at least 1 .*got 0 and 0"),
        (SOME, [0, 1], {"max_len": 3, "last": 4}, ValueError, "last from 0 to max_len, got 3 and 4"),
        ([SOME[0], SOME[0][:0]], [0, 1], {}, ValueError, "sequence 1 is empty"),
        ([torch.tensor([[1]])], [0], {}, ValueError, r"sequence 0: expected shape \(T,\), got \(1, 1\)"),
        ([], [], {}, ValueError, "at least one sequence, got none"),
    ],
)
def test_batches_that_are_refused_at_once(sequences, labels, options, error, message):
    with pytest.raises(error, match=message):
        Batches(sequences, labels, **{"batch_size": 2, **options})


# --- pairs ---------------------------------------------------------------------------------------


def numbered_pairs(count: int) -> tuple[list[Tensor], list[Tensor]]:
    """Make pairs of different lengths: the source counts up from 10 times its number, the target down."""
    draw = generator(5)
    lengths = torch.randint(1, 10, (count, 2), generator=draw).tolist()
    sources = [torch.arange(10 * i, 10 * i + s) + 10 for i, (s, _) in enumerate(lengths)]
    return sources, [torch.arange(10 * i + t, 10 * i, -1) + 9 for i, (_, t) in enumerate(lengths)]


def test_pairs_by_hand():
    sources, targets = [torch.tensor([5]), torch.tensor([6, 7, 8])], [torch.tensor([9, 4]), torch.tensor([5])]
    [batch] = list(PairBatches(sources, targets, batch_size=4))
    assert [part.tolist() for part in batch] == [
        [[5, 0, 0], [6, 7, 8]],
        [1, 3],
        [[2, 9, 4], [2, 5, 0]],
        [3, 2],
        [9, 4, 3, 5, 3],
    ]
    assert {part.dtype for part in batch} == {torch.int64}
    assert [len(targets[0]), len(targets[1])] == [2, 1], "those of the caller stay as they are"


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("batch_size", [1, 7, 50])
def test_every_pair_once_and_each_answer_after_its_token(seed, batch_size):
    sources, targets = numbered_pairs(30)
    shuffle = None if seed is None else generator(seed)
    batches = PairBatches(sources, targets, batch_size=batch_size, generator=shuffle)
    orders = []
    for _ in range(2):
        seen, count = [], 0
        for source, lengths, target, target_lengths, answers in batches:
            assert len(source) == len(target) <= batch_size
            assert (source.shape[1], target.shape[1]) == (lengths.max(), target_lengths.max())
            assert len(answers) == target_lengths.sum()
            following = iter(answers.tolist())
            for b, (s, t) in enumerate(zip(lengths.tolist(), target_lengths.tolist(), strict=True)):
                number = int(source[b, 0]) // 10 - 1
                assert source[b].tolist() == sources[number].tolist() + [0] * (source.shape[1] - s)
                read = target[b, :t].tolist()
                assert read == [2, *targets[number].tolist()]
                assert not target[b, t:].any()
                assert [next(following) for _ in range(t)] == [*read[1:], 3]
                seen.append(number)
            assert next(following, None) is None
            count += 1
        assert count == len(batches) == -(-30 // batch_size)
        assert sorted(seen) == list(range(30))
        orders.append(seen)
    if seed is None:
        assert orders == [list(range(30))] * 2
    else:
        assert orders[0] != orders[1]
        again = PairBatches(sources, targets, batch_size=batch_size, generator=generator(seed))
        assert [int(row[0]) // 10 - 1 for source, *_ in again for row in source] == orders[0]


@pytest.mark.parametrize(
    ("sources", "targets", "options", "error", "message"),
    [
        ([[5]], [[5], [6]], {}, ValueError, "one target a source, got 1 sources and 2 targets"),
        ([], [], {}, ValueError, "at least one sequence, got none"),
        ([[5], []], [[5], [6]], {}, ValueError, "source 1 has 0 tokens: expected 1 to max_len = 200"),
        ([[5], [6]], [[], [6]], {}, ValueError, "target 0 has 0 tokens: expected 1 to max_len = 200"),
        ([[5]], [[4] * 201], {}, ValueError, "target 0 has 201 tokens: .*max_len = 200; drop the pair"),
        ([[5]], [[4] * 4], {"max_len": 3}, ValueError, "target 0 has 4 tokens: expected 1 to max_len = 3"),
        ([[5] * 4], [[4]], {"max_len": 3}, ValueError, "source 0 has 4 tokens: expected 1 to max_len = 3"),
        ([[[5]]], [[4]], {}, ValueError, r"sequence 0: expected shape \(T,\), got \(1, 1\)"),
        ([[5], [6]], [[4], [2, 4]], {}, ValueError, "target 1 holds 2 or 3, the marks of begin and end"),
        ([[5], [6]], [[4, 3], [4]], {}, ValueError, "target 0 holds 2 or 3, the marks of begin and end"),
        ([[5]], [[4]], {"batch_size": 0}, ValueError, "batch_size of at least 1, got 0"),
    ],
)
def test_pairs_that_are_refused_at_once(sources, targets, options, error, message):
    rows = [[torch.tensor(ids, dtype=torch.int64) for ids in part] for part in (sources, targets)]
    with pytest.raises(error, match=message):
        PairBatches(*rows, **{"batch_size": 2, **options})


def test_a_target_may_have_as_many_tokens_as_the_limit():
    [(*_, lengths, _)] = list(
        PairBatches([torch.tensor([5])], [torch.full((3,), 4)], batch_size=1, max_len=3)
    )
    assert lengths.tolist() == [4]


# --- streams -------------------------------------------------------------------------------------


@given(st.integers(1, 60), st.integers(1, 7), st.integers(1, 9))
def test_each_target_once_and_in_order(extra, batch_size, seq_len):
    ids = torch.arange(batch_size + extra)
    batches = StreamBatches(ids, batch_size=batch_size, seq_len=seq_len)
    segments = list(batches)
    assert len(segments) == len(batches)
    assert [list(map(torch.Tensor.tolist, s)) for s in batches] == [
        [i.tolist(), t.tolist()] for i, t in segments
    ]
    for inputs, targets in segments:
        assert inputs.shape == targets.shape
        assert torch.equal(targets, inputs + 1), "a target is the id after its input"
    assert all(inputs.shape == (batch_size, seq_len) for inputs, _ in segments[:-1])
    targets = torch.cat([targets for _, targets in segments], dim=1)
    assert targets.flatten().tolist() == list(range(1, batches.num_targets + 1))
    assert 0 <= len(ids) - 1 - batches.num_targets < batch_size


def test_segments_by_hand():
    batches = StreamBatches(torch.tensor([10, 11, 12, 13, 14, 15, 16, 17]), batch_size=2, seq_len=2)
    assert [(inputs.tolist(), targets.tolist()) for inputs, targets in batches] == [
        ([[10, 11], [13, 14]], [[11, 12], [14, 15]]),
        ([[12], [15]], [[13], [16]]),
    ]
    assert (len(batches), batches.num_targets) == (2, 6)


@given(st.integers(30, 300), st.floats(0.1, 0.4), st.floats(0.1, 0.4))
def test_a_stream_is_cut_in_order_and_without_a_gap(count, val, test):
    ids = torch.arange(count)
    parts = split_stream(ids, val, test)
    assert torch.equal(torch.cat(parts), ids)
    assert len(parts[1]) == int(val * count)
    assert len(parts[2]) == int(test * count)


def test_a_stream_is_cut_by_tenths_unless_told_otherwise():
    assert [part.tolist() for part in split_stream(torch.arange(20))] == [
        list(range(16)),
        [16, 17],
        [18, 19],
    ]


@pytest.mark.parametrize(
    ("ids", "options", "error", "message"),
    [
        (torch.arange(19), {}, ValueError, "19 ids give parts of 17, 1 and 1: expected at least 2"),
        (torch.arange(5), {}, ValueError, r"N at least 6, got shape \(5,\)"),
        (
            torch.zeros(2, 50, dtype=torch.int64),
            {},
            ValueError,
            r"one stream of ids \(N,\).*got shape \(2, 50\)",
        ),
        (torch.zeros(50), {}, TypeError, r"ids as integers, got torch\.float32"),
        (torch.arange(50), {"val": 0.0}, ValueError, r"above 0 .* got val 0\.0 and test 0\.1"),
        (torch.arange(50), {"val": 0.5, "test": 0.5}, ValueError, "sum below 1"),
        (torch.arange(50), {"val": 0.5, "test": 0.49}, ValueError, "parts of 1, 25 and 24"),
        (torch.arange(50), {"test": float("nan")}, ValueError, "test nan"),
    ],
)
def test_a_stream_that_cannot_be_cut(ids, options, error, message):
    with pytest.raises(error, match=message):
        split_stream(ids, **options)


@pytest.mark.parametrize(
    ("ids", "batch_size", "seq_len", "error", "message"),
    [
        (torch.arange(9), 0, 3, ValueError, "at least 1, got 0 and 3"),
        (torch.arange(9), 3, 0, ValueError, "at least 1, got 3 and 0"),
        (torch.arange(3), 3, 2, ValueError, r"N at least 4, got shape \(3,\)"),
        (torch.arange(9).view(3, 3), 1, 2, ValueError, r"got shape \(3, 3\)"),
        (torch.ones(9), 1, 2, TypeError, "ids as integers"),
        (torch.ones(9, dtype=torch.bool), 1, 2, TypeError, "ids as integers"),
    ],
)
def test_segments_that_are_refused_at_once(ids, batch_size, seq_len, error, message):
    with pytest.raises(error, match=message):
        StreamBatches(ids, batch_size=batch_size, seq_len=seq_len)


def test_every_second_id_is_a_stream_too():
    [(inputs, targets)] = StreamBatches(torch.arange(10)[::2], batch_size=1, seq_len=9)
    assert (inputs.tolist(), targets.tolist()) == ([[0, 2, 4, 6]], [[2, 4, 6, 8]])
