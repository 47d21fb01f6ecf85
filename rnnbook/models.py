"""Models assembled from layers, and their files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from rnnbook.batches import check_lengths, length_mask, pad_sequences, shorten
from rnnbook.encoders import Encoder, RecurrentStack, check_padded
from rnnbook.files import load_tensors, save_tensors
from rnnbook.text import Vocab, check_ids, tokenize

LONGEST = 10_000  # tokens of a text that is classified without max_len
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
        last = outputs[torch.arange(len(outputs)), lengths - 1]
        half = outputs.shape[2] // 2
        return torch.cat([last[:, :half], outputs[:, 0, half:]], dim=1) if bidirectional else last
    padding = ~length_mask(lengths, outputs.shape[1]).unsqueeze(-1)  # (B, T, 1)
    parts = []
    if "mean" in how:
        parts.append(outputs.masked_fill(padding, 0.0).sum(dim=1) / lengths.unsqueeze(1))
    if "max" in how:
        parts.append(outputs.masked_fill(padding, -torch.inf).amax(dim=1))
    return torch.cat(parts, dim=1)


class SequenceModel(nn.Module):
    """Any encoder between an optional embedding and a linear read-out: one model for the comparison.

    ``pooling`` is one of ``POOLINGS``, for one answer a sequence, or ``"every"``, for one a time step.
    """

    def __init__(
        self,
        encoder: Encoder,
        num_outputs: int,
        *,
        pooling: str = "last",
        embedding: nn.Embedding | None = None,
    ) -> None:
        """Raise ``ValueError`` for an unknown ``pooling``."""
        super().__init__()
        if pooling not in (*POOLINGS, "every"):
            raise ValueError(f"unknown pooling {pooling!r}; known: {', '.join(POOLINGS)}, every")
        self.encoder, self.pooling, self.embedding = encoder, pooling, embedding
        self.bidirectional = isinstance(encoder, RecurrentStack) and len(encoder.backwards) > 0
        self.readout = nn.Linear(encoder.output_size * (2 if pooling == "mean+max" else 1), num_outputs)

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
        if self.pooling == "every":
            chosen = outputs[length_mask(lengths, outputs.shape[1])]
        else:
            chosen = pool(outputs, lengths, self.pooling, bidirectional=self.bidirectional)
        answers: Tensor = self.readout(chosen)
        return answers


@dataclass(frozen=True)
class ClassifierConfig:
    """All that is needed to build a :class:`TextClassifier` anew, apart from its weights.

    ``word_dropout`` replaces that share of tokens by the unknown one while training; ``dropout`` acts
    on the embedded tokens, one mask for all time steps (Gal and Ghahramani, 2016), and on the pooled
    vector. ``vocab_hash`` is the fingerprint of the vocabulary, once the classifier was saved with one.
    """

    vocab_size: int
    embedding_dim: int = 32
    hidden_size: int = 32
    num_classes: int = 2
    rnn_type: str = "lstm"
    num_layers: int = 1
    bidirectional: bool = False
    pooling: str = "mean+max"
    dropout: float = 0.0
    word_dropout: float = 0.0
    vocab_hash: str = ""


class TextClassifier(nn.Module):
    """Embedding → recurrent layer → pooling over the real time steps → linear read-out."""

    def __init__(self, config: ClassifierConfig) -> None:
        """Raise ``ValueError`` for an unknown ``rnn_type`` or ``pooling``, or an impossible share."""
        super().__init__()
        if config.pooling not in POOLINGS:
            raise ValueError(f"unknown pooling {config.pooling!r}; known: {', '.join(POOLINGS)}")
        if not 0.0 <= config.word_dropout < 1.0:
            raise ValueError(f"expected a word_dropout from 0 to below 1, got {config.word_dropout}")
        self.config = config
        self.embedding = nn.Embedding(
            config.vocab_size, config.embedding_dim, padding_idx=Vocab.padding_index
        )
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.rnn = RecurrentStack(
            config.rnn_type,
            config.embedding_dim,
            config.hidden_size,
            num_layers=config.num_layers,
            bidirectional=config.bidirectional,
        )
        width = self.rnn.output_size * (2 if config.pooling == "mean+max" else 1)
        self.dropout = nn.Dropout(config.dropout)
        self.readout = nn.Linear(width, config.num_classes)

    def embed(self, tokens: Tensor) -> Tensor:
        """Look up tokens (B, T): (B, T, E)."""
        if self.training and self.config.word_dropout:
            dropped = torch.rand(tokens.shape, device=tokens.device) < self.config.word_dropout
            tokens = tokens.masked_fill(dropped & (tokens != Vocab.padding_index), Vocab.unknown_index)
        vectors: Tensor = self.embedding(tokens)
        mask: Tensor = self.dropout(vectors.new_ones(len(tokens), 1, vectors.shape[2]))
        return vectors * mask

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Take tokens (B, T) and lengths (B,); return logits (B, num_classes).

        Raises ``TypeError`` or ``ValueError`` for ids outside the vocabulary, for lengths that do not
        fit, and for lengths on the wrong rows: a token lies behind its row's length, or padding before.
        """
        if tokens.ndim != 2:
            raise ValueError(f"expected tokens of shape (batch, time), got {tuple(tokens.shape)}")
        check_ids(tokens, self.config.vocab_size)
        check_lengths(lengths, *tokens.shape)
        misplaced = (length_mask(lengths, tokens.shape[1]) != (tokens != Vocab.padding_index)).any(dim=1)
        if misplaced.any():
            row = int(misplaced.nonzero()[0])
            raise ValueError(
                f"row {row}: its length is {int(lengths[row])}, but its tokens end elsewhere; these lengths "
                f"seem to belong to other rows: give tokens and lengths of one pad_sequences, in one order"
            )
        outputs = self.rnn(self.embed(tokens), lengths)  # (B, T, H)
        logits: Tensor = self.readout(
            self.dropout(pool(outputs, lengths, self.config.pooling, bidirectional=self.config.bidirectional))
        )
        return logits


def _check_vocab(config: ClassifierConfig, vocab: Vocab) -> None:
    """Refuse a vocabulary that is not the model's (``ValueError``)."""
    if len(vocab) != config.vocab_size:
        raise ValueError(f"the model has {config.vocab_size} tokens, this vocabulary {len(vocab)}")
    if config.vocab_hash not in ("", vocab.fingerprint()):
        raise ValueError(
            "this is not the model's vocabulary: the same size, but another order or other tokens"
        )


def save_classifier(path: str | Path, model: TextClassifier, vocab: Vocab) -> None:
    """Write weights, sizes and vocabulary into one safetensors file, with a hash of them all.

    The file is written beside its place and moved there when it is whole. Raises ``ValueError``
    when the vocabulary is not the one that the model was built for.
    """
    _check_vocab(model.config, vocab)
    config = replace(model.config, vocab_hash=vocab.fingerprint())
    metadata = {
        "config": json.dumps(asdict(config)),
        "vocab": json.dumps(vocab.tokens, ensure_ascii=False),
    }
    save_tensors(Path(path), model.state_dict(), metadata)


def load_classifier(path: str | Path) -> tuple[TextClassifier, Vocab]:
    """Read a file of :func:`save_classifier`; return the model, ready to predict, and its vocabulary.

    No code in the file is run. Raises ``FileNotFoundError``, or ``ValueError`` for a file that is cut
    off, changed, or of another kind.
    """
    tensors, metadata = load_tensors(Path(path), "save the model again")
    if not {"config", "vocab"} <= metadata.keys():
        raise ValueError(f"{path} was not written by save_classifier: save the model again")
    model = TextClassifier(ClassifierConfig(**json.loads(metadata["config"])))
    model.load_state_dict(tensors)
    return model.eval(), Vocab(tuple(json.loads(metadata["vocab"])))


@torch.no_grad()
def classify(
    model: TextClassifier, vocab: Vocab, texts: Sequence[str], *, max_len: int | None = None, last: int = 0
) -> Tensor:
    """Return the probability of each class for each text, shape (N, num_classes).

    ``max_len`` and ``last`` shorten each text as in training (:func:`rnnbook.text.shorten`). Raises
    ``TypeError`` for one bare string and ``ValueError`` for a text that the model can know nothing
    about: empty, or without a single known token; also for another vocabulary than the model's.
    """
    if isinstance(texts, str):
        raise TypeError("expected a list of texts, got one str: write [text]")
    _check_vocab(model.config, vocab)
    sequences = []
    for i, text in enumerate(texts):
        tokens = tokenize(text)
        if max_len is None and len(tokens) > LONGEST:
            raise ValueError(
                f"text {i} has {len(tokens):,} tokens: give max_len, or cut texts above {LONGEST:,} yourself"
            )
        ids = shorten(vocab.encode(tokens), max_len, last)
        if not len(ids):
            raise ValueError(f"text {i} is empty: there is nothing to classify in {text!r}")
        if not (ids != vocab.unknown_index).any():
            raise ValueError(
                f"text {i}: none of its {len(ids)} tokens is in the vocabulary, starting {text[:30]!r}"
            )
        sequences.append(ids)
    was_training = model.training
    model.eval()
    probabilities: Tensor = model(*pad_sequences(sequences)).softmax(dim=1)
    model.train(was_training)
    return probabilities
