"""From text to tensors: what looks alike is alike, nothing is lost, nothing is invented."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnbook.batches import Batches, check_lengths, length_mask, pad_sequences, shorten
from rnnbook.text import PAD, UNKNOWN, Vocab, check_ids, ppmi_vectors, tokenize


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- tokens --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        (" \t\n\u2028\u00a0 ", []),
        ("A fine, FINE film.", ["a", "fine", ",", "fine", "film", "."]),
        ("it's rock'n'roll", ["it's", "rock'n'roll"]),
        ("'quoted'", ["'", "quoted", "'"]),
        ("snake_case", ["snake", "case"]),
        ("7/10 ... 3.5", ["7", "/", "10", ".", ".", ".", "3", ".", "5"]),
        ("NA null nan", ["na", "null", "nan"]),
        ("one<br /><br/>two<BR>three<br >four", ["one", "two", "three", "four"]),
        ("a < b", ["a", "<", "b"]),
        ("line\u2028next\u0085last", ["line", "next", "last"]),
        ("\ufeffstart", ["start"]),
        ("日本 é", ["日本", "é"]),
    ],
)
def test_tokens(text, tokens):
    assert tokenize(text) == tokens


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("don\u2019t", "don't"),  # two kinds of apostrophe
        ("cafe\u0301", "caf\u00e9"),  # accent apart, and as one letter
        ("cafe\u200b\u0301", "caf\u00e9"),  # the same with something invisible between
        ("\ufb01lm", "film"),  # a ligature
        ("\uff26ilm", "film"),  # a wide letter
        ("fi\u00adlm", "film"),  # a soft hyphen
        ("\ufefffi\u200b\u200c\u200d\u2060lm", "film"),  # of no width
        ("a\u00a0film", "a film"),  # a space that does not break
        ("wait\u2026", "wait..."),
        ("x\u00b2", "x2"),
    ],
)
def test_what_looks_alike_is_alike(one, other):
    assert tokenize(one) == tokenize(other)


@pytest.mark.parametrize("text", ["It's GREAT — 10/10!", "naïve<br />\u200bcafé…", "(a_b) 'c' d'e"])
def test_tokens_of_tokens_are_themselves(text):
    tokens = tokenize(text)
    assert tokenize(" ".join(tokens)) == tokens


@pytest.mark.parametrize("wrong", [b"bytes", None, 3, ["a list"], float("nan")])
def test_only_a_text_has_tokens(wrong):
    with pytest.raises(TypeError, match=f"one str, got {type(wrong).__name__}"):
        tokenize(wrong)


# --- vocabulary ----------------------------------------------------------------------------------

LISTS = [["b", "a", "b"], ["c", "a"], ["d"]]


def test_vocabulary_by_frequency_then_alphabet():
    assert Vocab.build(LISTS).tokens == (PAD, UNKNOWN, "a", "b", "c", "d")
    assert Vocab.build([["z", "z"], ["a"]]).tokens == (PAD, UNKNOWN, "z", "a")


def test_vocabulary_does_not_depend_on_the_order_of_texts():
    assert Vocab.build(LISTS) == Vocab.build([list(reversed(tokens)) for tokens in reversed(LISTS)])
    assert Vocab.build(iter(LISTS)) == Vocab.build(LISTS)


def test_max_size_counts_the_special_tokens():
    assert Vocab.build(LISTS, max_size=4).tokens == (PAD, UNKNOWN, "a", "b")
    assert len(Vocab.build(LISTS, max_size=100)) == 6
    with pytest.raises(ValueError, match="at least 3, got 2"):
        Vocab.build(LISTS, max_size=2)


def test_min_count():
    assert Vocab.build(LISTS, min_count=2).tokens == (PAD, UNKNOWN, "a", "b")


def test_special_tokens_in_a_text_do_not_stand_twice():
    assert Vocab.build([[PAD, UNKNOWN, UNKNOWN, "a"]]).tokens == (PAD, UNKNOWN, "a")


def test_what_was_not_in_the_training_texts_is_unknown():
    vocab = Vocab.build(LISTS)
    ids = vocab.encode(["a", "never", "d", "A"])
    assert ids.dtype == torch.int64
    assert ids.tolist() == [2, Vocab.unknown_index, 5, Vocab.unknown_index]
    assert vocab.decode(ids) == ["a", UNKNOWN, "d", UNKNOWN]
    assert "never" not in vocab.tokens, "encoding a text must not teach the vocabulary its words"


def test_round_trip():
    vocab = Vocab.build(LISTS)
    tokens = ["d", "a", "a", "c", "b"]
    assert vocab.decode(vocab.encode(tokens)) == tokens
    assert vocab.decode(torch.arange(len(vocab))) == list(vocab.tokens)
    assert vocab.encode([]).shape == (0,)
    assert vocab.encode([]).dtype == torch.int64
    assert [vocab.ids[token] for token in vocab.tokens] == list(range(6))
    assert (vocab.padding_index, vocab.unknown_index) == (0, 1)


@pytest.mark.parametrize("empty", [[], [[]], iter([])])
def test_a_vocabulary_of_nothing(empty):
    with pytest.raises(ValueError, match=r"no token occurs 1 times.*generator that was used up"):
        Vocab.build(empty)


def test_a_text_is_no_list_of_tokens():
    for wrong in (["a b", "c"], "a b c"):
        with pytest.raises(TypeError, match="lists of tokens, got a str: call tokenize"):
            Vocab.build(wrong)
    with pytest.raises(TypeError, match="a list of tokens, got a str"):
        Vocab.build(LISTS).encode("a b")


def test_a_vocabulary_that_is_none():
    with pytest.raises(ValueError, match="begins with '<pad>', '<unk>'; this one with"):
        Vocab(("a", "b", "c"))
    with pytest.raises(ValueError, match="begins with"):
        Vocab((UNKNOWN, PAD, "a"))
    with pytest.raises(ValueError, match="twice"):
        Vocab((PAD, UNKNOWN, "a", "a"))


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([2, 6], ValueError, "ids from 0 to 5, got 2 to 6: were they made with another vocabulary"),
        ([-1, 2], ValueError, "ids from 0 to 5, got -1 to 2"),
        ([0.0, 1.0], TypeError, r"ids as integers, got torch\.float32"),
        ([True, False], TypeError, r"ids as integers, got torch\.bool"),
    ],
)
def test_ids_outside_the_vocabulary(ids, error, message):
    with pytest.raises(error, match=message):
        check_ids(torch.tensor(ids), 6)
    with pytest.raises(error, match=message):
        Vocab.build(LISTS).decode(torch.tensor(ids))


def test_ids_at_both_ends_are_fine():
    check_ids(torch.tensor([[0, 5]]), 6)
    check_ids(torch.zeros(0, dtype=torch.int64), 6)


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


# --- vectors from neighbours ---------------------------------------------------------------------


def two_topics(count: int = 200) -> list[Tensor]:
    """Make texts of words 2 … 6 or of words 7 … 11, never both."""
    draw = generator(5)
    return [torch.randint(2, 7, (8,), generator=draw) + 5 * (i % 2) for i in range(count)]


def test_neighbours_get_vectors_alike():
    vectors = ppmi_vectors(two_topics(), 12, 4)
    assert vectors.shape == (12, 4)
    assert vectors.dtype == torch.float32
    assert vectors.std().item() == pytest.approx(0.3, rel=1e-4)
    unit = vectors[2:] / vectors[2:].norm(dim=1, keepdim=True)
    alike = unit @ unit.T
    within = torch.cat([alike[:5, :5].flatten(), alike[5:, 5:].flatten()])
    assert within.mean() > 0.3
    assert alike[:5, 5:].abs().max() < 0.05


def test_ppmi_equals_its_definition():
    """Count the pairs by hand; compare inner products, which do not depend on the sign of a direction."""
    texts = [torch.randint(0, 9, (12,), generator=generator(i)) for i in range(6)]
    window, size = 3, 9
    counts = np.zeros((size, size))
    for text in texts:
        ids = text.tolist()
        for i, a in enumerate(ids):
            for j, b in enumerate(ids):
                if 0 < abs(i - j) <= window and a > 1 and b > 1:
                    counts[a, b] += 1 / abs(i - j)
    known = counts[2:, 2:]
    context = known.sum(axis=0) ** 0.75
    with np.errstate(divide="ignore"):
        information = np.log(known / known.sum(axis=1, keepdims=True) / (context / context.sum()))
    left, strength, _ = np.linalg.svd(np.maximum(information, 0.0))
    full = np.zeros((size, size - 2))
    full[2:] = left * np.sqrt(strength)
    for dim in (3, 7):
        vectors = ppmi_vectors(texts, size, dim, window=window).double().numpy()
        actual, expected = (v[:, :dim] @ v[:, :dim].T for v in (vectors, full))
        np.testing.assert_allclose(actual / np.trace(actual), expected / np.trace(expected), atol=1e-4)


def test_padding_gets_zeros_and_the_rest_is_repeatable():
    first, second = (ppmi_vectors(two_topics(), 12, 11) for _ in range(2))
    assert torch.equal(first, second)
    assert (first[0] == 0).all()
    assert first[1].abs().max() < 1e-3, "an unknown word has no neighbours of its own"
    assert first.isfinite().all()


def test_no_pair_across_texts():
    ends = [torch.tensor([2, 3]), torch.tensor([4, 5])] * 20
    apart = ppmi_vectors(ends, 6, 5)
    assert (apart[3] @ apart[4]).abs() < 1e-4
    assert (apart[2] @ apart[5]).abs() < 1e-4
    before = ppmi_vectors(ends, 6, 5)
    turned = ppmi_vectors(list(reversed(ends)), 6, 5)
    torch.testing.assert_close(before @ before.T, turned @ turned.T, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("sequences", "dim", "window", "message"),
    [
        ([torch.tensor([2, 3])], 0, 5, "dim from 1 to vocab_size - 1 = 5, got 0"),
        ([torch.tensor([2, 3])], 6, 5, "dim from 1 to vocab_size - 1 = 5, got 6"),
        ([torch.tensor([2, 3])], 2, 0, "window of at least 1, got 0"),
        ([torch.tensor([2, 9])], 2, 5, "ids from 0 to 5, got 0 to 9"),
        ([torch.tensor([2]), torch.tensor([3])], 2, 5, "no known token has a known neighbour"),
        ([torch.tensor([2, 1, 1])], 2, 5, "no known token has a known neighbour"),
        ([torch.tensor([2])[:0]], 2, 5, "sequence 0 is empty"),
        ([], 2, 5, "at least one sequence, got none"),
    ],
)
def test_ppmi_refuses(sequences, dim, window, message):
    with pytest.raises(ValueError, match=message):
        ppmi_vectors(sequences, 6, dim, window=window)
