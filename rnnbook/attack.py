"""Attacks on a text classifier by one who has its weights: on its words, and on its embedded words.

Words come as tokens (B, T) and lengths (B,), embedded ones as vectors (B, T, E). Beside each attack
stands its control: as many changes, or as long a one, at random. Attacks on the characters of a text
are in :mod:`rnnbook.attack_text`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from rnnbook.batches import check_lengths, length_mask
from rnnbook.classifier import TextClassifier
from rnnbook.explain import evaluating
from rnnbook.losses import check_targets
from rnnbook.text import Vocab, check_ids, log_count_ratios

Examples = TypeVar("Examples", list[str], Tensor)
_FIRST_WORD = Vocab.unknown_index + 1  # the ids before are no words that could be written
_ROWS = 16  # texts whose swaps are estimated at once: each word of them against all others


@dataclass(frozen=True)
class Attacked(Generic[Examples]):
    """Adversarial examples and what they cost, text by text.

    ``examples`` are texts, tokens (B, T) or vectors (B, T, E), in the form in which they were given;
    ``words_changed`` (B,) counts words, and ``queries`` (B,) how often the model was run, forward or
    forward and backward, to make each of them. Both int64.
    """

    examples: Examples
    words_changed: Tensor
    queries: Tensor


def random_words(
    tokens: Tensor,
    lengths: Tensor,
    vocab_size: int,
    num_words: int = 1,
    *,
    allowed: Tensor | None = None,
    generator: torch.Generator,
) -> Attacked[Tensor]:
    """Put random other words in ``num_words`` random places of each text: the control of :func:`hotflip`.

    ``allowed``, ``num_words`` and errors as there.
    """
    check_ids(tokens, vocab_size)
    allowed = _checked(tokens, lengths, vocab_size, num_words, allowed)
    words = _words(allowed)
    open_places = _open(tokens, lengths, allowed)
    order = torch.rand(tokens.shape, generator=generator).masked_fill(~open_places.cpu(), -1.0)
    chosen = order.argsort(dim=1, descending=True)[:, :num_words].to(tokens.device)
    old = tokens.gather(1, chosen)
    rank = torch.searchsorted(words, old).clamp(max=len(words) - 1)
    stands = words[rank] == old  # then one word fewer is to be drawn from
    share = torch.rand(chosen.shape, generator=generator).to(tokens.device)
    draw = (share * (len(words) - stands.long())).long()
    new = torch.where(open_places.gather(1, chosen), words[draw + (stands & (draw >= rank)).long()], old)
    examples = tokens.scatter(1, chosen, new)
    return Attacked(examples, (examples != tokens).sum(dim=1), torch.zeros_like(lengths))


def hotflip(
    model: TextClassifier,
    tokens: Tensor,
    lengths: Tensor,
    labels: Tensor,
    num_words: int = 1,
    *,
    allowed: Tensor | None = None,
    candidates: int = 1,
) -> Attacked[Tensor]:
    """Swap the words whose swap raises the loss most, to first order (Ebrahimi et al., 2018).

    Putting word v in place of word w changes the loss by about (e_v - e_w) · dL/de_w, so one gradient
    ranks all places and all words. ``num_words`` are swapped one after the other, each in a place not
    yet used, and none where no swap is estimated to raise the loss. With more ``candidates`` the best
    word of each of that many best places is tried in the model, and the one of the highest loss stays:
    an attack that does not rest on the estimate alone.

    ``allowed`` (vocab_size,) marks with True the words that may be taken out or put in, such as
    :func:`neutral_words`; without it all may, and the text's true label may change with them. A text
    with fewer such places is changed less. Padding and the unknown token are never put in.

    Raises ``ValueError`` for an empty text, a label that the model does not have, ``num_words`` below 1
    or above the length of the shortest text, no candidates, and a mask of another shape or with fewer
    than two words.
    """
    if candidates < 1:
        raise ValueError(f"expected at least one of the candidates, got {candidates}")
    allowed = _checked(tokens, lengths, model.config.vocab_size, num_words, allowed)
    parts = zip(tokens.split(_ROWS), lengths.split(_ROWS), labels.split(_ROWS), strict=True)
    with evaluating(model), torch.no_grad():
        check_targets(model(tokens, lengths), labels)
        examples = torch.cat([_flip(model, *part, num_words, allowed, candidates) for part in parts])
    queries = num_words * (1 if candidates == 1 else 1 + candidates)
    return Attacked(examples, (examples != tokens).sum(dim=1), torch.full_like(lengths, queries))


def _flip(
    model: TextClassifier,
    tokens: Tensor,
    lengths: Tensor,
    labels: Tensor,
    num_words: int,
    allowed: Tensor,
    candidates: int,
) -> Tensor:
    rows, free, words = tokens.clone(), _open(tokens, lengths, allowed), _words(allowed)
    for _ in range(num_words):
        vectors = model.embed(rows)
        gradient = _loss_gradient(model, vectors, lengths, labels)
        gain, word = torch.full_like(gradient[:, :, 0], -torch.inf), rows.clone()
        best, choice = (gradient[free] @ model.embedding.weight[words].T).max(dim=1)
        gain[free] = best - (gradient * vectors).sum(dim=2)[free]
        word[free] = words[choice]
        word = torch.where(gain > 0, word, rows)
        place = gain.topk(min(candidates, rows.shape[1]), dim=1).indices
        if candidates > 1:
            place = _highest_loss(model, rows, lengths, labels, place, word)
        new = word.gather(1, place)
        free.scatter_(1, place, free.gather(1, place) & (new == rows.gather(1, place)))
        rows.scatter_(1, place, new)
    return rows


def _highest_loss(
    model: TextClassifier, rows: Tensor, lengths: Tensor, labels: Tensor, places: Tensor, word: Tensor
) -> Tensor:
    """Try the word (B, T) of each of the places (B, K), one at a time; return the best places (B, 1)."""
    tries = rows[:, None].expand(-1, places.shape[1], -1)
    tries = tries.scatter(2, places[:, :, None], word.gather(1, places)[:, :, None])
    lengths, labels = (part.repeat_interleave(places.shape[1]) for part in (lengths, labels))
    losses = nn.functional.cross_entropy(model(tries.flatten(0, 1), lengths), labels, reduction="none")
    return places.gather(1, losses.view_as(places).argmax(dim=1, keepdim=True))


def _words(allowed: Tensor) -> Tensor:
    """List the ids (K,) that may be put in."""
    return allowed.nonzero().squeeze(1)[int(allowed[:_FIRST_WORD].sum()) :]


def _open(tokens: Tensor, lengths: Tensor, allowed: Tensor) -> Tensor:
    """Mark the places (B, T) where a word may be taken out."""
    return allowed[tokens] & length_mask(lengths, tokens.shape[1])


def _loss_gradient(model: TextClassifier, vectors: Tensor, lengths: Tensor, labels: Tensor) -> Tensor:
    """Differentiate each text's cross-entropy in its embedded tokens: (B, T, E)."""
    with torch.enable_grad():
        vectors = vectors.detach().requires_grad_()
        # Rows do not meet, so the gradient of the sum holds that of each row.
        loss = nn.functional.cross_entropy(model.from_vectors(vectors, lengths), labels, reduction="sum")
        gradient: Tensor = torch.autograd.grad(loss, vectors)[0]
    return gradient


def _checked(
    tokens: Tensor, lengths: Tensor, vocab_size: int, num_words: int, allowed: Tensor | None
) -> Tensor:
    """Check what the attacks on words are given; return the mask of allowed words (vocab_size,)."""
    if tokens.ndim != 2 or not tokens.numel():
        raise ValueError(f"expected tokens (B, T) of at least one text, got shape {tuple(tokens.shape)}")
    check_lengths(lengths, *tokens.shape)
    if not 1 <= num_words <= int(lengths.min()):
        raise ValueError(
            f"expected num_words from 1 to {int(lengths.min())}, the length of the shortest text, got {num_words}"
        )
    if allowed is None:
        allowed = torch.ones(vocab_size, dtype=torch.bool, device=tokens.device)
    if allowed.dtype != torch.bool or allowed.shape != (vocab_size,):
        raise ValueError(
            f"expected a mask of bools, one a word, ({vocab_size},), got {allowed.dtype} {tuple(allowed.shape)}"
        )
    if (count := int(allowed[_FIRST_WORD:].sum())) < 2:
        raise ValueError(f"a swap needs two words that are allowed, this mask has {count}")
    return allowed


def neutral_words(sequences: Sequence[Tensor], labels: Tensor, vocab_size: int, limit: float) -> Tensor:
    """Mark the words that speak for neither class: bool (vocab_size,).

    Their :func:`rnnbook.text.log_count_ratios` in the training texts lie within ``limit`` nats of 0. To
    swap such a word for another seldom changes what a text says. A limit below log 2 leaves out most
    words of one text alone. Counts cannot see what a word does to others: "not" is nearly as frequent
    on both sides, so take the negations out of the mask by hand. Padding and the unknown token are
    never neutral. Raises ``ValueError`` for a limit not above 0, and what the ratios raise.
    """
    if not limit > 0:
        raise ValueError(f"expected a limit above 0 nats, got {limit}")
    neutral = log_count_ratios(sequences, labels, vocab_size).abs() <= limit
    neutral[:_FIRST_WORD] = False
    return neutral


# --- embedded tokens -----------------------------------------------------------------------------


def pgd(
    model: TextClassifier,
    tokens: Tensor,
    lengths: Tensor,
    labels: Tensor,
    epsilon: float,
    *,
    num_steps: int = 1,
) -> Attacked[Tensor]:
    """Move the embedded tokens by at most ``epsilon`` to where the loss is high: vectors (B, T, E).

    ``epsilon`` is the L2 norm of the move of a whole text, in the units of the embedding. One step goes
    all the way along the gradient: the fast gradient method (Miyato, Dai and Goodfellow, 2017). More
    steps are projected gradient ascent (Madry et al., 2018), each of min(1, 2.5 / ``num_steps``)
    times ``epsilon`` along the gradient where it has come to, and back into the ball. Give the vectors to
    ``model.from_vectors``. No words have them, so this is no attack on texts: it shows how sensitive the
    model is to short moves, the worst of which it may miss.

    Raises ``ValueError`` for an empty text, a label that the model does not have, ``epsilon`` not above
    0, and no steps.
    """
    if num_steps < 1:
        raise ValueError(f"expected num_steps of at least 1, got {num_steps}")
    with evaluating(model), torch.no_grad():
        start = _embedded(model, tokens, lengths, epsilon)
        check_targets(model.from_vectors(start, lengths), labels)
        move = torch.zeros_like(start)
        for _ in range(num_steps):
            gradient = _loss_gradient(model, start + move, lengths, labels)
            move += _of_norm(gradient, epsilon * min(1, 2.5 / num_steps))
            norm = move.flatten(1).norm(dim=1)[:, None, None]
            move *= (epsilon / norm).clamp(max=1.0)
    return Attacked(start + move, lengths.clone(), torch.full_like(lengths, num_steps))


def random_direction(
    model: TextClassifier, tokens: Tensor, lengths: Tensor, epsilon: float, *, generator: torch.Generator
) -> Attacked[Tensor]:
    """Move the embedded tokens by ``epsilon`` in a random direction: the control of :func:`pgd`.

    Raises ``ValueError`` for an empty text and ``epsilon`` not above 0.
    """
    with evaluating(model), torch.no_grad():
        start = _embedded(model, tokens, lengths, epsilon)
        noise = torch.randn(start.shape, generator=generator).to(start)
        noise *= length_mask(lengths, tokens.shape[1])[:, :, None]
    return Attacked(start + _of_norm(noise, epsilon), lengths.clone(), torch.zeros_like(lengths))


def _embedded(model: TextClassifier, tokens: Tensor, lengths: Tensor, epsilon: float) -> Tensor:
    if not 0 < epsilon < torch.inf:
        raise ValueError(f"expected a norm epsilon above 0, got {epsilon}")
    model(tokens, lengths)  # the model's own checks of tokens and lengths
    return model.embed(tokens)


def _of_norm(vectors: Tensor, norm: float) -> Tensor:
    """Scale each text's vectors (B, T, E) to one L2 norm; zeros stay zeros."""
    return nn.functional.normalize(vectors.flatten(1), eps=1e-30).view_as(vectors) * norm
