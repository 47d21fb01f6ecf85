"""The network of the article's listing in PyTorch, made to run, and five repairs of it.

The listing stacks two embeddings, gives an answer at each token, reads padding as text, and is tested
on the texts it was trained on. Letters: B batch, T tokens, H hidden size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from rnnbook.batches import check_lengths
from rnnbook.losses import check_targets
from rnnbook.models import pool
from rnnbook.text import Vocab, check_ids

REPAIRS = (
    "one embedding, of all words",
    "one answer for a text",
    "padding is not read",
    "new texts say when to stop",
    "mean and maximum of all states, dropout",
)
ARTICLE_VOCAB = 64  # rows of the listing's first embedding


class ArticleNetwork(nn.Module):
    """Embedding, LSTM and two dense layers as in the listing, with the first ``repairs`` of ``REPAIRS``.

    Without a repair: ids from 64 on become the unknown token, since the first embedding has 64 rows,
    and the second embedding looks up the first one's numbers, cut to whole ones, as TensorFlow does (of
    its 32 answers a token, which are all equal, one is kept, for an LSTM takes no four axes). Every text
    is filled up with padding to ``seq_len`` tokens. Repair 4 is one of the training, not of the network.
    The sigmoid of the listing is written as a softmax whose first logit is held at 0.
    """

    def __init__(self, repairs: int, vocab_size: int, seq_len: int, *, dropout: float = 0.5) -> None:
        """Raise ``ValueError`` unless ``repairs`` lies from 0 to 5, ``seq_len`` from 1."""
        super().__init__()
        if not 0 <= repairs <= len(REPAIRS):
            raise ValueError(f"expected repairs from 0 to {len(REPAIRS)}, got {repairs}")
        if seq_len < 1:
            raise ValueError(f"expected seq_len of at least 1, got {seq_len}")
        self.repairs, self.vocab_size, self.seq_len = repairs, vocab_size, seq_len
        self.embedding = nn.Embedding(ARTICLE_VOCAB if repairs < 1 else vocab_size, 32)
        nn.init.uniform_(self.embedding.weight, -0.05, 0.05)  # as Keras does
        self.second = nn.Embedding(32, 16) if repairs < 1 else None
        self.rnn = nn.LSTM(16 if repairs < 1 else 32, 32, batch_first=True)
        self.dropout = nn.Dropout(dropout if repairs >= 5 else 0.0)
        self.hidden = nn.Linear(64 if repairs >= 5 else 32, 16)
        self.readout = nn.Linear(16, 1)

    def embed(self, tokens: Tensor) -> Tensor:
        """Look up tokens (B, T): (B, T, 16) through two embeddings, (B, T, 32) through one."""
        if self.second is None:
            mask: Tensor = self.dropout(torch.ones(len(tokens), 1, 32, device=tokens.device))
            vectors: Tensor = self.embedding(tokens) * mask
            return vectors
        known = tokens.masked_fill(tokens >= ARTICLE_VOCAB, Vocab.unknown_index)
        ids = self.embedding(known)[..., 0].long()  # (B, T): numbers between -0.05 and 0.05, cut to 0
        looked_up: Tensor = self.second(ids)
        return looked_up

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Take tokens (B, T) and lengths (B,); return logits (B, 2), or (B, seq_len, 2) before repair 2."""
        check_ids(tokens, self.vocab_size)
        check_lengths(lengths, *tokens.shape)
        if tokens.shape[1] > self.seq_len:
            raise ValueError(
                f"expected at most {self.seq_len} tokens, got {tokens.shape[1]}: shorten the texts"
            )
        if self.repairs < 3:
            tokens = pad(tokens, (0, self.seq_len - tokens.shape[1]))
        outputs = self.rnn(self.embed(tokens))[0]  # (B, T, H)
        if self.repairs >= 3:
            outputs = pool(outputs, lengths, "mean+max" if self.repairs >= 5 else "last")
        elif self.repairs == 2:
            outputs = outputs[:, -1]  # the last column, text or not
        logit = self.readout(self.hidden(self.dropout(outputs)).relu())
        return torch.cat([torch.zeros_like(logit), logit], dim=-1)


def token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats of logits (B, T, 2) and labels (B,), each label repeated at all T tokens.

    This is what the listing's ``fit`` does in silence when the labels have the shape (B, 1).
    """
    check_targets(logits[:, 0], targets)
    return cross_entropy(logits.flatten(0, 1), targets.repeat_interleave(logits.shape[1]))


def text_logits(logits: Tensor) -> Tensor:
    """Make one answer a text, (B, 2), of the answers at each token (B, T, 2): their mean."""
    return logits.mean(dim=1) if logits.ndim == 3 else logits
