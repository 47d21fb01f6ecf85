"""From the outputs of all time steps to one vector a sequence, and a model with any encoder before it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rnnbook.batches import length_mask
from rnnbook.encoders import AnyEncoder, RecurrentStack, check_padded
from rnnbook.text import check_ids

POOLINGS = ("last", "mean", "max", "mean+max")


def pool(outputs: Tensor, lengths: Tensor, how: str, *, bidirectional: bool = False) -> Tensor:
    """Make one vector a text from outputs (B, T, H), reading the first ``lengths`` steps only.

    ``"last"`` takes the output at step ``lengths - 1``, ``"mean"`` and ``"max"`` go over the real
    steps; each gives (B, H). ``"mean+max"`` joins both: (B, 2H). What stands in the padding, be it
    NaN, changes nothing. The last output of a backward layer is the one at step 0: with
    ``bidirectional``, ``"last"`` takes the second half of the outputs from there, since at step
    ``lengths - 1`` it has seen one token. Raises ``ValueError`` for another word.
    """
    if how not in POOLINGS:
        raise ValueError(f"unknown pooling {how!r}; known: {', '.join(POOLINGS)}")
    check_padded(outputs, lengths)
    if how == "last":
        end = (lengths - 1)[:, None, None].expand(-1, 1, outputs.shape[2])
        last = outputs.gather(1, end).squeeze(1)  # and not by indices: B would be a constant in an export
        half = outputs.shape[2] // 2
        return torch.cat([last[:, :half], outputs[:, 0, half:]], dim=1) if bidirectional else last
    padding = ~length_mask(lengths, outputs.shape[1]).unsqueeze(-1)  # (B, T, 1)
    parts = []
    if "mean" in how:
        parts.append(outputs.masked_fill(padding, 0.0).sum(dim=1) / lengths.unsqueeze(1))
    if "max" in how:
        parts.append(outputs.masked_fill(padding, -torch.inf).amax(dim=1))
    return torch.cat(parts, dim=1)


class AttentionPooling(nn.Module):
    r"""A weighted mean over the real steps, whose weights are learnt (Bahdanau et al., 2015; Yang et al., 2016).

    .. math:: e_t = v \cdot \tanh(W h_t + b), \qquad \alpha = \mathrm{softmax}(e_1 \ldots e_{length})
    """

    def __init__(self, size: int) -> None:
        """Take the number of features of an output; W is square, as in the paper."""
        super().__init__()
        self.hidden = nn.Linear(size, size)
        self.score = nn.Linear(size, 1, bias=False)

    def weights(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        """Return α (B, T) for outputs (B, T, H): each row has the sum 1, and zeros in the padding."""
        check_padded(outputs, lengths)
        padding = ~length_mask(lengths, outputs.shape[1])
        scores: Tensor = self.score(self.hidden(outputs).tanh()).squeeze(2)
        return scores.masked_fill(padding, -torch.inf).softmax(dim=1)

    def forward(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        """Take outputs (B, T, H) and lengths (B,); return (B, H). What stands in the padding is not read."""
        check_padded(outputs, lengths)
        padding = ~length_mask(lengths, outputs.shape[1]).unsqueeze(2)  # (B, T, 1)
        real = outputs.masked_fill(padding, 0.0)  # or a NaN there, times its weight 0, would be NaN
        return (self.weights(real, lengths).unsqueeze(2) * real).sum(dim=1)


class Pooling(nn.Module):
    """:func:`pool` as a part of a model, with a fifth way: ``"attention"``, an :class:`AttentionPooling`."""

    known = (*POOLINGS, "attention")

    def __init__(self, how: str, size: int, *, bidirectional: bool = False) -> None:
        """Take outputs of ``size`` features. Raises ``ValueError`` for another word than ``Pooling.known``."""
        super().__init__()
        if how not in self.known:
            raise ValueError(f"unknown pooling {how!r}; known: {', '.join(self.known)}")
        self.how, self.bidirectional = how, bidirectional
        self.output_size = size * (2 if how == "mean+max" else 1)
        self.attention = AttentionPooling(size) if how == "attention" else None

    def forward(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        """Take outputs (B, T, H) and lengths (B,); return (B, ``output_size``)."""
        if self.attention is None:
            return pool(outputs, lengths, self.how, bidirectional=self.bidirectional)
        vectors: Tensor = self.attention(outputs, lengths)
        return vectors


class SequenceModel(nn.Module):
    """Any encoder between an optional embedding and a linear read-out: one model for the comparison.

    ``pooling`` is one of ``Pooling.known``, for one answer a sequence, or ``"every"``, for one a time step.
    """

    def __init__(
        self,
        encoder: AnyEncoder,
        num_outputs: int,
        *,
        pooling: str = "last",
        embedding: nn.Embedding | None = None,
    ) -> None:
        """Raise ``ValueError`` for an unknown ``pooling``."""
        super().__init__()
        if pooling not in (*Pooling.known, "every"):
            raise ValueError(f"unknown pooling {pooling!r}; known: {', '.join(Pooling.known)}, every")
        self.encoder, self.embedding = encoder, embedding
        size, bidirectional = (
            encoder.output_size,
            isinstance(encoder, RecurrentStack) and encoder.bidirectional,
        )
        self.pooling = None if pooling == "every" else Pooling(pooling, size, bidirectional=bidirectional)
        self.readout = nn.Linear(self.pooling.output_size if self.pooling else size, num_outputs)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Take x (B, T, I), or tokens (B, T) with an embedding; without lengths (B,) every row is full.

        Returns (B, num_outputs); with ``"every"``, the answers at all real time steps, row after row:
        (sum of lengths, num_outputs).
        """
        if self.embedding is not None:
            check_ids(x, self.embedding.num_embeddings)
            x = self.embedding(x)
        if lengths is None:
            lengths = torch.full((len(x),), x.shape[1])
        outputs = self.encoder(x, lengths)  # (B, T, H)
        if self.pooling is None:
            chosen = outputs[length_mask(lengths, outputs.shape[1])]
        else:
            chosen = self.pooling(outputs, lengths)
        answers: Tensor = self.readout(chosen)
        return answers
