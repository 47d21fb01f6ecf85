"""The classifier of texts, its file, and its use on new texts."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from rnnbook.batches import check_lengths, length_mask, pad_sequences, shorten
from rnnbook.corpus import read_utf8
from rnnbook.encoders import RecurrentStack, in_windows
from rnnbook.files import load_tensors, save_tensors
from rnnbook.models import Pooling
from rnnbook.text import Vocab, check_ids, check_sequences, normalize, tokenize

Cut = Callable[[str], list[str]]
LONGEST = 10_000  # tokens of a text that is classified without max_len


@dataclass(frozen=True)
class ClassifierConfig:
    """All that is needed to build a :class:`TextClassifier` anew, apart from its weights.

    ``word_dropout`` replaces that share of tokens by the unknown one while training; ``dropout`` acts
    on the embedded tokens, one mask for all time steps (Gal and Ghahramani, 2016), and on the pooled
    vector. With a ``window`` the recurrent layer starts anew every so many tokens; pooling goes over the
    whole text all the same. ``pooling`` is one of ``Pooling.known``. ``vocab_hash`` is the fingerprint
    of the vocabulary, once the classifier was saved with one.
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
    window: int | None = None
    vocab_hash: str = ""


class TextClassifier(nn.Module):
    """Embedding → recurrent layer → pooling over the real time steps → linear read-out."""

    def __init__(self, config: ClassifierConfig) -> None:
        """Raise ``ValueError`` for an unknown ``rnn_type`` or ``pooling``, an impossible share or window.

        Pooling ``"last"`` is refused beside a window: it would read the end of the text and no more.
        """
        super().__init__()
        if not 0.0 <= config.word_dropout < 1.0:
            raise ValueError(f"expected a word_dropout from 0 to below 1, got {config.word_dropout}")
        if config.window is not None and config.window < 1:
            raise ValueError(f"expected a window of at least one token, or None, got {config.window}")
        if config.window is not None and config.pooling == "last":
            raise ValueError(
                "pooling 'last' with a window reads the last window alone: choose another pooling"
            )
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
        self.pooling = Pooling(config.pooling, self.rnn.output_size, bidirectional=config.bidirectional)
        self.dropout = nn.Dropout(config.dropout)
        self.readout = nn.Linear(self.pooling.output_size, config.num_classes)

    def embed(self, tokens: Tensor) -> Tensor:
        """Look up tokens (B, T): (B, T, E)."""
        if self.training and self.config.word_dropout:
            dropped = torch.rand(tokens.shape, device=tokens.device) < self.config.word_dropout
            tokens = tokens.masked_fill(dropped & (tokens != Vocab.padding_index), Vocab.unknown_index)
        vectors: Tensor = self.embedding(tokens)
        mask: Tensor = self.dropout(vectors.new_ones(len(tokens), 1, vectors.shape[2]))
        return vectors * mask

    def encode(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Read vectors (B, T, E) by the recurrent layer, window by window if there is one: (B, T, H)."""
        return in_windows(self.rnn, vectors, lengths, self.config.window)

    def from_vectors(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Do what follows the embedding: vectors (B, T, E) to logits (B, num_classes)."""
        pooled = self.pooling(self.encode(vectors, lengths), lengths)
        logits: Tensor = self.readout(self.dropout(pooled))
        return logits

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Take tokens (B, T) and lengths (B,); return logits (B, num_classes).

        Raises ``TypeError`` or ``ValueError`` for ids outside the vocabulary, for lengths that do not
        fit, and for lengths on the wrong rows: a token lies behind its row's length, or padding before.
        """
        self._check_batch(tokens, lengths)
        return self.from_vectors(self.embed(tokens), lengths)

    def attention(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Return the weight of each step in the pooled vector, (B, T), for pooling ``"attention"``.

        Raises ``ValueError`` for another pooling, and what :meth:`forward` raises.
        """
        if self.pooling.attention is None:
            raise ValueError(
                f"expected a model with pooling 'attention', this one has {self.config.pooling!r}"
            )
        self._check_batch(tokens, lengths)
        return self.pooling.attention.weights(self.encode(self.embed(tokens), lengths), lengths)

    def _check_batch(self, tokens: Tensor, lengths: Tensor) -> None:
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


def _encoded(vocab: Vocab, name: str, text: str, max_len: int | None, last: int, cut: Cut) -> Tensor:
    """Make ids (T,) of a text; refuse one that the model can know nothing about, by its name."""
    tokens = cut(text)
    if max_len is None and len(tokens) > LONGEST:
        raise ValueError(
            f"{name} has {len(tokens):,} tokens: give max_len, or cut texts above {LONGEST:,} yourself"
        )
    ids = shorten(vocab.encode(tokens), max_len, last)
    if not len(ids):
        raise ValueError(f"{name} is empty: there is nothing to classify in {text[:30]!r}")
    if not (ids != vocab.unknown_index).any():
        raise ValueError(
            f"{name}: none of its {len(ids)} tokens is in the vocabulary, starting {text[:30]!r}"
        )
    return ids


@torch.no_grad()
def _probabilities(model: TextClassifier, sequences: Sequence[Tensor]) -> Tensor:
    """Classify sequences of ids (T_i,), 64 at a time so that no padding fills the memory: (N, C)."""
    check_sequences(sequences)
    was_training = model.training
    model.eval()
    parts = (sequences[start : start + 64] for start in range(0, len(sequences), 64))
    probabilities = torch.cat([model(*pad_sequences(part)).softmax(dim=1) for part in parts])
    model.train(was_training)
    return probabilities


def classify(
    model: TextClassifier,
    vocab: Vocab,
    texts: Sequence[str],
    *,
    max_len: int | None = None,
    last: int = 0,
    cut: Cut = tokenize,
) -> Tensor:
    """Return the probability of each class for each text, shape (N, num_classes).

    ``max_len`` and ``last`` shorten each text as in training (:func:`rnnbook.batches.shorten`), and
    ``cut`` makes its tokens as there: :func:`rnnbook.text.characters` for many a Chinese model. Raises
    ``TypeError`` for one bare string and ``ValueError`` for a text that the model can know nothing
    about: empty, or without a single known token; also for one above ``LONGEST`` tokens without
    ``max_len``, and another vocabulary than the model's. How much of a text is unknown, tells
    :func:`unknown_shares`.
    """
    if isinstance(texts, str):
        raise TypeError("expected a list of texts, got one str: write [text]")
    _check_vocab(model.config, vocab)
    return _probabilities(
        model, [_encoded(vocab, f"text {i}", text, max_len, last, cut) for i, text in enumerate(texts)]
    )


def classify_file(
    model: TextClassifier,
    vocab: Vocab,
    path: str | Path,
    *,
    max_len: int | None = None,
    last: int = 0,
    cut: Cut = tokenize,
) -> tuple[tuple[str, ...], Tensor]:
    """Classify a file in UTF-8 that has one text a line: ``(texts, probabilities (N, num_classes))``.

    The settings are those of :func:`classify`. Lines without a visible character are passed over. Raises
    what :func:`classify` raises, with the number of the line instead of the text's; ``ValueError`` also,
    with the line, for bytes that are not UTF-8, and for a file without a text.
    """
    _check_vocab(model.config, vocab)
    path = Path(path)
    # newline=None: a line ends as in an editor, not at U+2028, where str.splitlines cuts too.
    lines = enumerate(io.StringIO(read_utf8(path), newline=None), start=1)
    texts = {number: line.rstrip("\n") for number, line in lines if normalize(line).strip()}
    if not texts:
        raise ValueError(f"{path.name}: expected one text a line, found none")
    sequences = [
        _encoded(vocab, f"{path.name}, line {number}", text, max_len, last, cut)
        for number, text in texts.items()
    ]
    return tuple(texts.values()), _probabilities(model, sequences)


def unknown_shares(vocab: Vocab, texts: Sequence[str], *, cut: Cut = tokenize) -> Tensor:
    """Return the share of each text's tokens that are not in the vocabulary, 0 … 1: (N,).

    How far an answer of :func:`classify` can be trusted: it was read from the other tokens. No limit is
    set there, since none tells right from wrong: a German sentence shares its punctuation and many words
    with a large English vocabulary, and some short English reviews have no smaller share of unknown ones.
    An empty text, of which nothing is known, gets 1.
    """
    rows = (vocab.encode(cut(text)) == vocab.unknown_index for text in texts)
    return torch.tensor([unknown.float().mean().item() if len(unknown) else 1.0 for unknown in rows])
