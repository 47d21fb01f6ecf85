"""From text to tensors: tokens, vocabulary, padding with lengths, batches of like length."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy import sparse
from sklearn.utils.extmath import randomized_svd
from torch import Tensor

PAD, UNKNOWN = "<pad>", "<unk>"
_TAG = re.compile(r"<br\s*/?>", re.IGNORECASE)
_TOKEN = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[^\w\s]")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")


def tokenize(text: str) -> list[str]:
    """Cut a text into lower-case words and single punctuation marks.

    Before that the text is normalised (Unicode NFKC, invisible characters and HTML line breaks
    removed, one kind of apostrophe), so that two spellings that look alike give the same tokens.
    An empty text gives an empty list. Raises ``TypeError`` for anything but a string.
    """
    if not isinstance(text, str):
        raise TypeError(f"expected a text as one str, got {type(text).__name__}")
    text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", _TAG.sub(" ", text)))
    return _TOKEN.findall(text.replace("\u2019", "'").lower())


@dataclass(frozen=True)
class Vocab:
    """Tokens and their numbers. Number 0 is padding, number 1 stands for every unknown token."""

    tokens: tuple[str, ...]
    ids: dict[str, int] = field(init=False, repr=False, compare=False)
    padding_index = 0
    unknown_index = 1

    def __post_init__(self) -> None:
        """Check the two special tokens and the absence of repeats (``ValueError``)."""
        if self.tokens[:2] != (PAD, UNKNOWN):
            raise ValueError(
                f"a vocabulary begins with {PAD!r}, {UNKNOWN!r}; this one with {self.tokens[:2]}"
            )
        object.__setattr__(self, "ids", {token: i for i, token in enumerate(self.tokens)})
        if len(self.ids) != len(self.tokens):
            raise ValueError("a token stands twice in the vocabulary, so its number is not defined")

    @classmethod
    def build(
        cls, token_lists: Iterable[Sequence[str]], *, max_size: int = 20_000, min_count: int = 1
    ) -> Vocab:
        """Keep the most frequent tokens of the *training* texts; ties in alphabetical order.

        ``max_size`` counts the two special tokens. Raises ``ValueError`` when no token can be kept.
        """
        if max_size < 3:
            raise ValueError(f"max_size counts {PAD} and {UNKNOWN}: expected at least 3, got {max_size}")
        counts: Counter[str] = Counter()
        for tokens in token_lists:
            if isinstance(tokens, str):
                raise TypeError("expected lists of tokens, got a str: call tokenize on each text first")
            counts.update(tokens)
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        kept = [token for token, count in ranked if count >= min_count and token not in (PAD, UNKNOWN)]
        if not kept:
            raise ValueError(f"no token occurs {min_count} times: no texts, or a generator that was used up")
        return cls((PAD, UNKNOWN, *kept[: max_size - 2]))

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, tokens: Sequence[str]) -> Tensor:
        """Map tokens to their numbers, shape (T,), int64; tokens never seen map to number 1."""
        if isinstance(tokens, str):
            raise TypeError("expected a list of tokens, got a str: call tokenize(text) first")
        return torch.tensor([self.ids.get(token, self.unknown_index) for token in tokens], dtype=torch.int64)

    def decode(self, ids: Tensor) -> list[str]:
        """Map numbers (T,) back to tokens. Raises ``ValueError`` for a number outside the vocabulary."""
        check_ids(ids, len(self))
        return [self.tokens[i] for i in ids.tolist()]


def check_ids(ids: Tensor, vocab_size: int) -> None:
    """Refuse ids that no embedding of ``vocab_size`` rows can look up.

    Raises ``TypeError`` for floats (a second embedding fed with vectors) and ``ValueError`` for
    numbers outside 0 … vocab_size - 1, which a GPU would turn into a crash without a reason.
    """
    if ids.is_floating_point() or ids.dtype == torch.bool:
        raise TypeError(
            f"expected token ids as integers, got {ids.dtype}; an embedding takes ids, not vectors"
        )
    if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= vocab_size):
        raise ValueError(
            f"expected token ids from 0 to {vocab_size - 1}, got {int(ids.min())} to {int(ids.max())}: "
            f"were they made with another vocabulary?"
        )


def check_lengths(lengths: Tensor, batch_size: int, seq_len: int) -> None:
    """Refuse lengths that do not fit a batch of shape (B, T) (``TypeError`` or ``ValueError``)."""
    if lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise TypeError(f"expected lengths as integers, got {lengths.dtype}")
    if lengths.shape != (batch_size,):
        raise ValueError(f"expected one length a row, shape ({batch_size},), got {tuple(lengths.shape)}")
    if batch_size and (int(lengths.min()) < 1 or int(lengths.max()) > seq_len):
        raise ValueError(
            f"expected lengths from 1 to T = {seq_len}, got {int(lengths.min())} to {int(lengths.max())}: "
            f"an empty text has no last state, and nothing is longer than its row"
        )


def _check_sequences(sequences: Sequence[Tensor]) -> None:
    if not len(sequences):
        raise ValueError("expected at least one sequence, got none")
    for i, sequence in enumerate(sequences):
        if sequence.ndim != 1:
            raise ValueError(f"sequence {i}: expected shape (T,), got {tuple(sequence.shape)}")
        if not len(sequence):
            raise ValueError(f"sequence {i} is empty: drop such a text or give it one {UNKNOWN} token")


def pad_sequences(sequences: Sequence[Tensor], padding_index: int = 0) -> tuple[Tensor, Tensor]:
    """Lay sequences of ids (T_i,) into one rectangle: ``(padded (B, T), lengths (B,))``, both int64.

    T is the longest length of this batch. Raises ``ValueError`` when a sequence is empty, naming it.
    """
    _check_sequences(sequences)
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    return torch.nn.utils.rnn.pad_sequence(
        list(sequences), batch_first=True, padding_value=padding_index
    ), lengths


def length_mask(lengths: Tensor, seq_len: int) -> Tensor:
    """Mark with True where a real token stands: bool (B, T) from lengths (B,)."""
    check_lengths(lengths, len(lengths), seq_len)
    return torch.arange(seq_len, device=lengths.device) < lengths[:, None]


def shorten(ids: Tensor, max_len: int | None, last: int = 0) -> Tensor:
    """Keep at most ``max_len`` of ids (T,): the ``last`` ones of the text, the rest from its beginning.

    Raises ``ValueError`` unless ``max_len`` is at least 1 and ``last`` lies from 0 to ``max_len``.
    """
    if max_len is None:
        return ids
    if max_len < 1 or not 0 <= last <= max_len:
        raise ValueError(
            f"expected max_len of at least 1 and last from 0 to max_len, got {max_len} and {last}"
        )
    if len(ids) <= max_len:
        return ids
    return torch.cat([ids[: max_len - last], ids[len(ids) - last :]])


class Batches:
    """Batches ``(tokens (B, T), lengths (B,), labels (B,))`` of texts of like length.

    Can be gone through as often as wanted, unlike a generator. With a ``generator`` each pass
    shuffles anew: texts are sorted by their length plus some noise, cut into batches, and the
    batches are shuffled; without one the order is the given one. Nothing is dropped at the end.
    """

    def __init__(
        self,
        sequences: Sequence[Tensor],
        labels: Iterable[int],
        *,
        batch_size: int,
        generator: torch.Generator | None = None,
        max_len: int | None = None,
        last: int = 0,
    ) -> None:
        """Shorten sequences (T_i,) by :func:`shorten`; labels are class numbers (N,)."""
        if batch_size < 1:
            raise ValueError(f"expected a batch_size of at least 1, got {batch_size}")
        _check_sequences(sequences)
        self.labels = torch.as_tensor(labels if isinstance(labels, Tensor) else list(labels))
        if self.labels.is_floating_point() or self.labels.dtype == torch.bool:
            raise TypeError(f"expected class numbers as integers, got {self.labels.dtype}")
        if self.labels.shape != (len(sequences),):
            raise ValueError(
                f"expected {len(sequences)} labels, one a sequence, got shape {tuple(self.labels.shape)}"
            )
        self.labels = self.labels.to(torch.int64)
        self.sequences = [shorten(sequence, max_len, last) for sequence in sequences]
        self.batch_size = batch_size
        self.generator = generator

    def __len__(self) -> int:
        """Count the batches of one pass."""
        return math.ceil(len(self.sequences) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for index in self._plan():
            tokens, lengths = pad_sequences([self.sequences[i] for i in index.tolist()])
            yield tokens, lengths, self.labels[index]

    def _plan(self) -> list[Tensor]:
        count = len(self.sequences)
        if self.generator is None:
            return list(torch.arange(count).split(self.batch_size))
        lengths = torch.tensor([len(sequence) for sequence in self.sequences], dtype=torch.float64)
        noise = 1 + 0.1 * torch.rand(count, generator=self.generator, dtype=torch.float64)
        batches = (lengths * noise).argsort(stable=True).split(self.batch_size)
        return [batches[i] for i in torch.randperm(len(batches), generator=self.generator).tolist()]

    def padding_share(self) -> float:
        """Share of all positions of the next pass that hold padding, 0 … 1; the pass stays as it is."""
        real = total = 0
        state = None if self.generator is None else self.generator.get_state()
        for tokens, lengths, _ in self:
            real, total = real + int(lengths.sum()), total + tokens.numel()
        if self.generator is not None and state is not None:
            self.generator.set_state(state)
        return 1 - real / total


def ppmi_vectors(sequences: Sequence[Tensor], vocab_size: int, dim: int, *, window: int = 5) -> Tensor:
    """Make a vector for each token from its neighbours in the training texts: (vocab_size, dim).

    Neighbours within ``window`` are counted, a nearer one for more; counts become positive pointwise
    mutual information, whose ``dim`` strongest directions are kept (Levy, Goldberg and Dagan, 2015).
    The result has a standard deviation of 0.3; padding gets zeros. Takes seconds for a few million
    tokens. Raises ``ValueError`` when ``dim`` is not below ``vocab_size``, or no token has a neighbour.
    """
    if not 1 <= dim < vocab_size:
        raise ValueError(f"expected dim from 1 to vocab_size - 1 = {vocab_size - 1}, got {dim}")
    if window < 1:
        raise ValueError(f"expected a window of at least 1, got {window}")
    _check_sequences(sequences)
    gap = torch.zeros(window, dtype=torch.int64)  # so that no text is the neighbour of the next
    ids = torch.cat([part for sequence in sequences for part in (sequence, gap)])
    check_ids(ids, vocab_size)
    counts = sparse.csr_matrix((vocab_size, vocab_size), dtype=np.float32)
    for distance in range(1, window + 1):
        pairs = torch.stack([ids[:-distance], ids[distance:]])
        first, second = pairs[:, (pairs > Vocab.unknown_index).all(dim=0)].numpy()
        weights = np.full(len(first), 1 / distance, dtype=np.float32)
        counts += sparse.coo_matrix((weights, (first, second)), shape=counts.shape).tocsr()
    joint = (counts + counts.T).tocoo()
    if not joint.nnz:
        raise ValueError("no known token has a known neighbour in these texts, so none gets a vector")
    row, column = (np.asarray(joint.sum(axis=axis)).ravel() for axis in (1, 0))
    column = column**0.75 / (column**0.75).sum()  # smoothed: else rare neighbours count too much
    information = np.log(joint.data / (row[joint.row] * column[joint.col]))
    positive = information > 0
    places = (joint.row[positive], joint.col[positive])
    matrix = sparse.csr_matrix((information[positive], places), shape=joint.shape)
    left, strength, _ = randomized_svd(matrix, dim, n_iter=2, random_state=0)
    vectors = torch.from_numpy((left * np.sqrt(strength)).astype(np.float32))
    vectors *= 0.3 / vectors.std()
    vectors[Vocab.padding_index] = 0.0  # the decomposition leaves it near zero
    return vectors
