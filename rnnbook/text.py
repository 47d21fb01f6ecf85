"""From text to numbers: tokens, vocabulary, word vectors."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy import sparse
from sklearn.utils.extmath import randomized_svd
from torch import Tensor

PAD, UNKNOWN = "<pad>", "<unk>"
BEGIN, END = "<bos>", "<eos>"  # around a sequence that is to be written: numbers 2 and 3
BEGIN_INDEX, END_INDEX = 2, 3
_TAG = re.compile(r"<br\s*/?>", re.IGNORECASE)
TOKEN = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[^\w\s]")  # a word, or a punctuation mark
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_IGNORABLE = re.compile(  # all that Unicode calls ignorable by default, of which _INVISIBLE is what texts have
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_LETTERS = re.compile(r"(?:[^\W\d_]|[\u0300-\u036f])+")  # a word with its accents, which may stand alone
HOMOGLYPHS = {  # letter: the Latin one that it looks like, from the data of Unicode Technical Standard 39
    **dict(zip("аԁесһіјоԛрѕԝхуѵ", "adechijoqpswxyv", strict=True)),  # Cyrillic
    **dict(zip("АВСԌЕНІЈКМОРЅТԜХУѴ", "ABCGEHIJKMOPSTWXYV", strict=True)),
    **dict(zip("αγιονρυ", "ayiovpu", strict=True)),  # Greek
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABEZHIKMNOPTYX", strict=True)),
}
_TO_LATIN = str.maketrans(HOMOGLYPHS)


def _composed(text: str) -> str:
    """Check a text; give it composed letters of one width and no invisible characters (Unicode NFKC)."""
    if not isinstance(text, str):
        raise TypeError(f"expected a text as one str, got {type(text).__name__}")
    if half := _SURROGATE.search(text):
        raise ValueError(
            f"character {half.start()} is half of a surrogate pair ({half[0]!r}): the text was cut or decoded "
            f"wrongly; mend it by text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')"
        )
    return unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))


def normalize(text: str) -> str:
    """Give texts that look alike, but for white space, one spelling in lower case.

    HTML line breaks become blanks, invisible characters go, letters are composed and of one width
    (Unicode NFKC), and there is one kind of apostrophe. Letters of two scripts that look alike stay two:
    see :func:`fold_homoglyphs`.
    Raises ``TypeError`` for anything but a string, and ``ValueError`` for half of a surrogate pair,
    which no file in UTF-8 can hold.
    """
    text = _TAG.sub(" ", _composed(text)).replace("\u2019", "'").lower()
    return unicodedata.normalize("NFKC", text)  # a small letter may compose where its capital does not


def fold_homoglyphs(text: str) -> str:
    """Put Latin letters for the Cyrillic and Greek ones that look like them, in words that mix scripts.

    A word is changed if it has a Latin letter and each of its other letters has a Latin look-alike in
    ``HOMOGLYPHS``. So a word that is Cyrillic or Greek throughout stays, even one whose letters all look
    Latin, and so does a look-alike of a third script. A word that mixes scripts on purpose is broken:
    αA, the name of a protein, becomes aA. Before that, letters are composed, and each character that
    Unicode calls ignorable by default goes, since it could part a word: more than :func:`normalize`
    takes out. Upper and lower case stay, for capitals have look-alikes of their own.
    Raises what :func:`normalize` raises.
    """
    text = _composed(text)
    if text.isascii():
        return text
    text = _LETTERS.sub(_folded, _IGNORABLE.sub("", text))
    return unicodedata.normalize("NFKC", text)  # an accent may compose with the new letter


def _folded(match: re.Match[str]) -> str:
    word = match[0]
    folded = word.translate(_TO_LATIN)
    is_latin = all(_script(letter) in ("LATIN", "COMBINING") for letter in folded)
    return folded if is_latin and "LATIN" in map(_script, word) else word


def _script(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0]


def tokenize(text: str) -> list[str]:
    """Cut a text, normalised by :func:`normalize`, into words and single punctuation marks.

    An empty text gives an empty list.
    """
    return TOKEN.findall(normalize(text))


def tokenize_folded(text: str) -> list[str]:
    """Cut a text as :func:`tokenize` does, after :func:`fold_homoglyphs`."""
    return tokenize(fold_homoglyphs(text))


def characters(text: str) -> list[str]:
    """Cut a text, normalised by :func:`normalize`, into its characters without the white space.

    For a script that sets no blanks between words, such as Chinese.
    """
    return [*"".join(normalize(text).split())]


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

    def fingerprint(self) -> str:
        """SHA-256 of the tokens in their order: weights belong to one numbering and to no other."""
        return hashlib.sha256(json.dumps(self.tokens).encode()).hexdigest()

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


def check_sequences(sequences: Sequence[Tensor]) -> None:
    """Refuse anything but a number of sequences of ids (T,), none of them empty (``ValueError``)."""
    if not len(sequences):
        raise ValueError("expected at least one sequence, got none")
    for i, sequence in enumerate(sequences):
        if sequence.ndim != 1:
            raise ValueError(f"sequence {i}: expected shape (T,), got {tuple(sequence.shape)}")
        if not len(sequence):
            raise ValueError(f"sequence {i} is empty: drop such a text or give it one {UNKNOWN} token")


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
    check_sequences(sequences)
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


def log_count_ratios(sequences: Sequence[Tensor], labels: Tensor, vocab_size: int) -> Tensor:
    """Weigh how much each token speaks for class 1, and against class 0: nats (vocab_size,), float64.

    The log of the token's share of class 1 over its share of class 0, where a token counts once a text
    and one is added to each count (naive Bayes; Wang and Manning, 2012). Raises ``ValueError`` for labels
    (N,) other than 0 and 1, both present, and for sequences that are empty or of another vocabulary.
    """
    check_sequences(sequences)
    if labels.shape != (len(sequences),) or set(labels.tolist()) != {0, 1}:
        raise ValueError(
            f"expected one label a sequence, ({len(sequences)},), 0 or 1 and both present, got shape "
            f"{tuple(labels.shape)} with the labels {sorted(set(labels.flatten().tolist()))[:5]}"
        )
    counts = torch.ones(2, vocab_size, dtype=torch.float64)
    for sequence, label in zip(sequences, labels.tolist(), strict=True):
        check_ids(sequence, vocab_size)
        counts[label, sequence] += 1  # once, even where a token stands twice
    shares: Tensor = (counts / counts.sum(dim=1, keepdim=True)).log()
    return shares[1] - shares[0]
