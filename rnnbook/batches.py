"""Batches: texts of different lengths laid into rectangles, and one stream laid into rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from rnnbook.text import BEGIN_INDEX, END_INDEX, check_sequences


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


def pad_sequences(sequences: Sequence[Tensor], padding_index: int = 0) -> tuple[Tensor, Tensor]:
    """Lay sequences of ids (T_i,) into one rectangle: ``(padded (B, T), lengths (B,))``, both int64.

    T is the longest length of this batch. Raises ``ValueError`` when a sequence is empty, naming it.
    """
    check_sequences(sequences)
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
    ``bucket=False`` shuffles without a look at the lengths, to show what the sorting saves.
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
        bucket: bool = True,
    ) -> None:
        """Shorten sequences (T_i,) by :func:`shorten`; labels are class numbers (N,)."""
        if batch_size < 1:
            raise ValueError(f"expected a batch_size of at least 1, got {batch_size}")
        check_sequences(sequences)
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
        self.bucket = bucket

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
        if not self.bucket:
            return list(torch.randperm(count, generator=self.generator).split(self.batch_size))
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


class PairBatches:
    """Batches ``(source (B, S), source_lengths, target (B, T), target_lengths, answers (N,))`` of pairs.

    A target begins with ``BEGIN_INDEX``; ``answers`` holds, row after row and without padding, what
    comes after each of its tokens, at last ``END_INDEX``. So N is the sum of the target lengths. With a
    ``generator`` each pass shuffles anew, pairs of like length together, as in :class:`Batches`.
    """

    def __init__(
        self,
        sources: Sequence[Tensor],
        targets: Sequence[Tensor],
        *,
        batch_size: int,
        generator: torch.Generator | None = None,
        max_len: int = 200,
    ) -> None:
        """Take sources (S_i,) and targets (T_i,), one a source, without the marks of begin and end.

        Raises ``ValueError`` for two different numbers of them, for a source or target that is empty or
        has more than ``max_len`` tokens (nothing is cut, since half a sentence has no translation), and
        for a target that holds a mark.
        """
        if len(sources) != len(targets):
            raise ValueError(
                f"expected one target a source, got {len(sources)} sources and {len(targets)} targets"
            )
        for name, sequences in (("source", sources), ("target", targets)):
            for i, sequence in enumerate(sequences):
                if not 1 <= len(sequence) <= max_len:
                    raise ValueError(
                        f"{name} {i} has {len(sequence)} tokens: expected 1 to max_len = {max_len}; drop the pair"
                    )
            check_sequences(sequences)
        for i, target in enumerate(targets):
            if ((target == BEGIN_INDEX) | (target == END_INDEX)).any():
                raise ValueError(
                    f"target {i} holds {BEGIN_INDEX} or {END_INDEX}, the marks of begin and end: expected "
                    f"tokens of another number, since the marks are put around them here"
                )
        begin, end = torch.tensor([BEGIN_INDEX]), torch.tensor([END_INDEX])
        self._plan = Batches(sources, range(len(sources)), batch_size=batch_size, generator=generator)
        self.targets = [torch.cat([begin, target]) for target in targets]
        self.answers = [torch.cat([target, end]) for target in targets]
        self.generator = generator

    def __len__(self) -> int:
        """Count the batches of one pass."""
        return len(self._plan)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]:
        for source, lengths, chosen in self._plan:
            target, target_lengths = pad_sequences([self.targets[i] for i in chosen.tolist()])
            answers = torch.cat([self.answers[i] for i in chosen.tolist()])
            yield source, lengths, target, target_lengths, answers


def split_stream(ids: Tensor, val: float = 0.1, test: float = 0.1) -> tuple[Tensor, Tensor, Tensor]:
    """Cut one stream of ids (N,) into training, validation and test, in this order and without a gap.

    The stream is not shuffled: what is predicted comes after all that was trained on.
    Raises ``ValueError`` unless the three shares are positive and each part holds two ids or more.
    """
    _check_stream(ids, 6)
    if not (val > 0 and test > 0 and val + test < 1):
        raise ValueError(f"expected shares above 0 with a sum below 1, got val {val} and test {test}")
    num_val, num_test = int(val * len(ids)), int(test * len(ids))
    num_train = len(ids) - num_val - num_test
    if min(num_train, num_val, num_test) < 2:
        raise ValueError(
            f"{len(ids)} ids give parts of {num_train}, {num_val} and {num_test}: expected at least 2 in each, "
            f"one to read and one to predict"
        )
    train, validation, rest = ids.split([num_train, num_val, num_test])
    return train, validation, rest


class StreamBatches:
    """Segments ``(inputs (B, T), targets (B, T))`` of one stream, for truncated backpropagation in time.

    The stream of ids (N,) is cut into B rows of equal length, laid one under the other. Row b of a
    segment continues row b of the segment before, so a state may be carried (Williams and Peng, 1990);
    ``targets`` holds the id after each input. Each id but the first is a target once, apart from at
    most B - 1 at the end; with ``batch_size=1`` none is left out. The last segment may be shorter.
    Can be gone through as often as wanted.
    """

    def __init__(self, ids: Tensor, *, batch_size: int, seq_len: int) -> None:
        """Raise ``ValueError`` for sizes below 1 and for a stream too short for one target a row."""
        if batch_size < 1 or seq_len < 1:
            raise ValueError(f"expected batch_size and seq_len of at least 1, got {batch_size} and {seq_len}")
        _check_stream(ids, batch_size + 1)
        row_len = (len(ids) - 1) // batch_size
        self.inputs = ids[: batch_size * row_len].reshape(batch_size, row_len)
        self.targets = ids[1 : batch_size * row_len + 1].reshape(batch_size, row_len)
        self.seq_len = seq_len

    def __len__(self) -> int:
        """Count the segments of one pass."""
        return math.ceil(self.targets.shape[1] / self.seq_len)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        segments = (part.split(self.seq_len, dim=1) for part in (self.inputs, self.targets))
        return zip(*segments, strict=True)

    @property
    def num_targets(self) -> int:
        """Count the ids that one pass predicts: what a sum of nats is divided by."""
        return self.targets.numel()


def _check_stream(ids: Tensor, least: int) -> None:
    if ids.ndim != 1 or len(ids) < least:
        raise ValueError(f"expected one stream of ids (N,), N at least {least}, got shape {tuple(ids.shape)}")
    if ids.is_floating_point() or ids.dtype == torch.bool:
        raise TypeError(f"expected token ids as integers, got {ids.dtype}")
