"""From one sequence to another: an encoder that reads, attention, and a decoder that writes.

Letters: B batch, S steps of the source, T steps of the target, E embedding_dim, H hidden_size, V vocab_size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from rnnbook.batches import check_lengths, length_mask
from rnnbook.encoders import LAYERS, RecurrentStack
from rnnbook.models import pool
from rnnbook.text import check_ids


class Encoder(nn.Module):
    """Read a source in both directions: one vector a token, and one for the whole (Bahdanau et al., 2015)."""

    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int,
        hidden_size: int,
        *,
        rnn_type: str = "lstm",
        dropout: float = 0.0,
    ) -> None:
        """Take half of ``hidden_size`` for each direction.

        Raises ``ValueError`` if it is odd, and for an ``rnn_type`` other than rnn, lstm and gru.
        """
        super().__init__()
        if hidden_size % 2:
            raise ValueError(f"expected an even hidden_size, half for each direction, got {hidden_size}")
        self.embedding = nn.Embedding(vocab_size, embedding_dim, padding_idx=0)
        self.stack = RecurrentStack(rnn_type, embedding_dim, hidden_size // 2, bidirectional=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Take ids (B, S) and lengths (B,); return the memory (B, S, H) and a summary (B, H).

        The memory joins what both directions made of each token; the summary joins their last states.
        Raises ``ValueError`` for an empty source, lengths that do not fit, and ids outside the vocabulary,
        and ``TypeError`` for ids that are no integers.
        """
        if source.ndim != 2:
            raise ValueError(f"expected ids of shape (batch, time), got {tuple(source.shape)}")
        check_lengths(lengths, *source.shape)
        check_ids(source, self.embedding.num_embeddings)
        vectors = self.dropout(self.embedding(source))
        memory = self.stack(vectors, lengths)
        return self.dropout(memory), pool(memory, lengths, "last", bidirectional=True)


def _share(scores: Tensor, mask: Tensor) -> Tensor:
    """Turn scores (B, T, S) into shares with the sum 1 over the real places, True in the mask (B, S)."""
    return scores.masked_fill(~mask[:, None], -torch.inf).softmax(dim=2)


class AdditiveAttention(nn.Module):
    r"""Where to look: a small network compares each query with each place (Bahdanau et al., 2015).

    .. math:: e_{ts} = v \cdot \tanh(W h_t + U m_s + b), \qquad \alpha_t = \mathrm{softmax}(e_{t1} \ldots e_{tS})
    """

    def __init__(self, size: int) -> None:
        """Take H, the number of features of a query, of a place, and of the network's one layer."""
        super().__init__()
        self.query = nn.Linear(size, size)
        self.place = nn.Linear(size, size, bias=False)
        self.score = nn.Linear(size, 1, bias=False)

    def forward(self, queries: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Return α (B, T, S) for queries (B, T, H), memory (B, S, H) and mask (B, S): 0 where it is False."""
        hidden = self.query(queries).unsqueeze(2) + self.place(memory).unsqueeze(1)  # (B, T, S, H)
        scores: Tensor = self.score(hidden.tanh()).squeeze(3)  # (B, T, S)
        return _share(scores, mask)


class MultiplicativeAttention(nn.Module):
    r"""Where to look, by one product: :math:`e_{ts} = h_t \cdot W m_s` (Luong, Pham and Manning, 2015)."""

    def __init__(self, size: int) -> None:
        """Take H, the number of features of a query and of a place."""
        super().__init__()
        self.place = nn.Linear(size, size, bias=False)

    def forward(self, queries: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Return α (B, T, S) for queries (B, T, H), memory (B, S, H) and mask (B, S): 0 where it is False."""
        scores: Tensor = queries @ self.place(memory).transpose(1, 2)  # (B, T, S)
        return _share(scores, mask)


ATTENTIONS: dict[str, type[AdditiveAttention | MultiplicativeAttention]] = {
    "additive": AdditiveAttention,
    "multiplicative": MultiplicativeAttention,
}


class DecoderState(NamedTuple):
    """All that a decoder needs to go on: its recurrent state, and the source as it was read."""

    recurrent: tuple[Tensor, ...]  # each (1, B, H)
    memory: Tensor  # (B, S, H); without attention the summary alone, S = 1
    mask: Tensor  # (B, S), True where a real token was read

    def rows(self, index: Tensor) -> DecoderState:
        """Take the rows ``index`` (N,) of the batch, some perhaps several times: a state of N rows."""
        recurrent = tuple(part[:, index] for part in self.recurrent)
        return DecoderState(recurrent, self.memory[index], self.mask[index])


class Decoder(nn.Module):
    """Write a target, token by token, and look back at the source before each.

    The attention stands behind the recurrent layer, as in Luong, Pham and Manning (2015): no step waits
    for what an earlier one looked at, so a known target is read in one call. The embedding also serves
    as the last layer's weights (Press and Wolf, 2017). Without attention, each step sees the same
    summary of the source instead (Cho et al., 2014).
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int,
        hidden_size: int,
        *,
        rnn_type: str = "lstm",
        attention: str | None = "additive",
        dropout: float = 0.0,
    ) -> None:
        """Raise ``ValueError`` for an unknown ``rnn_type`` or ``attention``: additive, multiplicative or None."""
        super().__init__()
        if rnn_type not in LAYERS:
            raise ValueError(f"unknown rnn_type {rnn_type!r}; known: {', '.join(LAYERS)}")
        if attention is not None and attention not in ATTENTIONS:
            raise ValueError(f"unknown attention {attention!r}; known: None, {', '.join(ATTENTIONS)}")
        self.embedding = nn.Embedding(vocab_size, embedding_dim, padding_idx=0)
        self.first_state = nn.Linear(hidden_size, (2 if rnn_type == "lstm" else 1) * hidden_size)
        self.rnn = LAYERS[rnn_type](embedding_dim, hidden_size, batch_first=True)
        self.attention = ATTENTIONS[attention](hidden_size) if attention else None
        self.combine = nn.Linear(2 * hidden_size, embedding_dim)
        self.dropout = nn.Dropout(dropout)
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        # PyTorch's own spread of 1 would put the first logits far from zero.
        nn.init.normal_(self.embedding.weight, std=embedding_dim**-0.5)

    def start(self, memory: Tensor, summary: Tensor, lengths: Tensor) -> DecoderState:
        """Begin from the memory (B, S, H) and summary (B, H) of sources of these lengths (B,)."""
        first = self.first_state(summary).tanh().unsqueeze(0)
        recurrent = tuple(part.contiguous() for part in first.split(self.rnn.hidden_size, dim=2))
        if self.attention is None:
            memory, lengths = summary.unsqueeze(1), torch.ones_like(lengths)
        return DecoderState(recurrent, memory, length_mask(lengths, memory.shape[1]))

    def forward(self, tokens: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState, Tensor]:
        """Read tokens (B, T); return features of what comes after each (B, T, E), the state, and α (B, T, S).

        The first token is the mark of the beginning. Raises ``ValueError`` for another number of rows than
        the state has, and for ids outside the vocabulary, and ``TypeError`` for ids that are no integers.
        """
        if tokens.ndim != 2 or len(tokens) != len(state.memory):
            raise ValueError(
                f"expected ids of shape ({len(state.memory)}, time), one row a source, got {tuple(tokens.shape)}"
            )
        check_ids(tokens, self.embedding.num_embeddings)
        vectors = self.dropout(self.embedding(tokens))
        before = state.recurrent if len(state.recurrent) == 2 else state.recurrent[0]
        outputs, after = self.rnn(vectors, before)
        if self.attention is None:
            weights = outputs.new_ones(*tokens.shape, 1)  # all on the summary
        else:
            weights = self.attention(outputs, state.memory, state.mask)
        context = weights @ state.memory  # (B, T, H)
        features = self.combine(torch.cat([self.dropout(outputs), context], dim=2)).tanh()
        after = after if isinstance(after, tuple) else (after,)
        return self.dropout(features), state._replace(recurrent=after), weights

    def logits(self, features: Tensor) -> Tensor:
        """Score each token of the vocabulary from features: (…, E) to (…, V)."""
        return nn.functional.linear(features, self.embedding.weight, self.bias)


class Seq2Seq(nn.Module):
    """An encoder and a decoder: from one sequence to another of another length (Sutskever et al., 2014)."""

    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        """Raise ``ValueError`` where the decoder expects vectors of another size than the encoder gives."""
        super().__init__()
        if encoder.stack.output_size != decoder.rnn.hidden_size:
            raise ValueError(
                f"expected one hidden_size, got {encoder.stack.output_size} and {decoder.rnn.hidden_size}"
            )
        self.encoder, self.decoder = encoder, decoder

    def start(self, source: Tensor, lengths: Tensor) -> DecoderState:
        """Read sources (B, S) of these lengths (B,): the state before the first token is written."""
        memory, summary = self.encoder(source, lengths)
        return self.decoder.start(memory, summary, lengths)

    def step(self, tokens: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Read one token a row (B,); return the log-probabilities of the next one (B, V), in nats, and the state."""
        features, state, _ = self.decoder(tokens.unsqueeze(1), state)
        return self.decoder.logits(features[:, 0]).log_softmax(dim=1), state

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor, target_lengths: Tensor) -> Tensor:
        """Score what comes after each real token of known targets (teacher forcing): (N, V).

        Takes sources (B, S) and targets (B, T) with their lengths (B,), as :class:`rnnbook.batches.PairBatches`
        gives them; N is the sum of the target lengths, row after row. Raises ``ValueError`` for lengths or
        rows that do not fit each other, and what the encoder and the decoder raise.
        """
        if target.ndim != 2 or len(target) != len(source):
            raise ValueError(
                f"expected targets of shape ({len(source)}, time), one row a source, got {tuple(target.shape)}"
            )
        check_lengths(target_lengths, *target.shape)
        features, _, _ = self.decoder(target, self.start(source, lengths))
        return self.decoder.logits(features[length_mask(target_lengths, target.shape[1])])
