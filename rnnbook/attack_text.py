"""Attacks on the characters of a text, by one who knows nothing of the model: a reader hardly sees them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import torch

from rnnbook.attack import Attacked
from rnnbook.text import HOMOGLYPHS

LOOK_ALIKES = {latin: letter for letter, latin in HOMOGLYPHS.items()}
ZERO_WIDTH = "\u200b\u200c\u200d\u2060"  # space, non-joiner, joiner, word joiner
_WORD = re.compile(r"[^\W\d_]+")


def typos(
    texts: Sequence[str], num_words: int | None = None, *, generator: torch.Generator
) -> Attacked[list[str]]:
    """Misspell words: two neighbouring letters swapped, one dropped or one doubled (Belinkov and Bisk, 2018).

    First and last letter stay, so words of four letters and more can be misspelt. Of each text
    ``num_words`` of them are drawn, or all there are if it has fewer; with None all. Raises
    ``TypeError`` for one bare string, and ``ValueError`` for a text without a word or ``num_words``
    below 1.
    """
    return _change_words(texts, num_words, _misspellings, generator)


def homoglyphs(
    texts: Sequence[str],
    num_words: int | None = None,
    *,
    letters: Mapping[str, str] = LOOK_ALIKES,
    generator: torch.Generator,
) -> Attacked[list[str]]:
    """Replace one letter of a word by one that looks the same (Boucher et al., 2022).

    ``letters`` gives the look-alike of each letter that has one; the default is what
    :func:`rnnbook.text.fold_homoglyphs` undoes, and an attacker who knows that takes others.
    ``num_words`` and errors as for :func:`typos`.
    """

    def variants(word: str) -> list[str]:
        return [word[:i] + letters[a] + word[i + 1 :] for i, a in enumerate(word) if a in letters]

    return _change_words(texts, num_words, variants, generator)


def invisible(
    texts: Sequence[str],
    num_words: int | None = None,
    *,
    characters: str = ZERO_WIDTH,
    generator: torch.Generator,
) -> Attacked[list[str]]:
    """Put a character of no width between two letters of a word (Boucher et al., 2022).

    ``characters`` are those to draw from. ``num_words`` and errors as for :func:`typos`.
    """

    def variants(word: str) -> list[str]:
        return [word[:i] + c + word[i:] for i in range(1, len(word)) for c in characters]

    return _change_words(texts, num_words, variants, generator)


def _misspellings(word: str) -> list[str]:
    inner = range(1, len(word) - 1)
    swapped = [word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in inner[:-1]]
    dropped = [word[:i] + word[i + 1 :] for i in inner] if len(inner) > 1 else []
    doubled = [word[:i] + word[i] + word[i:] for i in inner] if len(inner) > 1 else []
    return [other for other in swapped + dropped + doubled if other != word]


def _change_words(
    texts: Sequence[str],
    num_words: int | None,
    variants: Callable[[str], list[str]],
    generator: torch.Generator,
) -> Attacked[list[str]]:
    """Put for ``num_words`` words of each text one of their variants, drawn at random."""
    if isinstance(texts, str):
        raise TypeError("expected a list of texts, got one str: write [text]")
    if num_words is not None and num_words < 1:
        raise ValueError(f"expected num_words of at least 1, or None for all words, got {num_words}")

    def draw(count: int) -> int:
        return int(torch.randint(count, (), generator=generator))

    changed, counts = [], []
    for number, text in enumerate(texts):
        words = list(_WORD.finditer(text))
        if not words:
            raise ValueError(f"text {number} has no word to attack: {text[:30]!r}")
        found = [(word, others) for word in words if (others := variants(word[0]))]
        chosen = torch.randperm(len(found), generator=generator)[:num_words].tolist()
        for i in sorted(chosen, reverse=True):  # from the end, so that the places before stay right
            word, others = found[i]
            text = text[: word.start()] + others[draw(len(others))] + text[word.end() :]
        changed.append(text)
        counts.append(len(chosen))
    return Attacked(changed, torch.tensor(counts), torch.zeros(len(counts), dtype=torch.int64))
