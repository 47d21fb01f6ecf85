"""What a trained model writes: its most likely next token, a drawn one, or the best of many beginnings."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rnnbook.seq2seq import DecoderState, Seq2Seq
from rnnbook.text import BEGIN_INDEX, END_INDEX, Vocab


def _begin(model: Seq2Seq, source: Tensor, lengths: Tensor, max_len: int) -> DecoderState:
    if max_len < 1:
        raise ValueError(f"expected max_len of at least 1 token, got {max_len}")
    if model.training:
        raise ValueError(
            "the model is in training, so dropout would act on what it writes: call model.eval()"
        )
    if not len(source):
        raise ValueError("expected at least one source, got none")
    return model.start(source, lengths)


def _until_end(row: Tensor) -> Tensor:
    """Cut a row of ids (T,) before its first mark of the end."""
    ends = (row == END_INDEX).nonzero()
    return row[: int(ends[0])] if len(ends) else row


def _check_filter(top_k: int | None, top_p: float) -> None:
    if top_k is not None and top_k < 1:
        raise ValueError(f"expected top_k of at least 1, got {top_k}")
    if not 0 < top_p <= 1:
        raise ValueError(f"expected top_p above 0 and at most 1, got {top_p}")


def filter_logits(logits: Tensor, *, top_k: int | None = None, top_p: float = 1.0) -> Tensor:
    """Set logits (B, V) to -inf outside the ``top_k`` largest and outside the nucleus of ``top_p``.

    The nucleus is the smallest set of the most likely tokens whose probabilities reach ``top_p``
    (Holtzman et al., 2020); of equal logits the first count as larger. Raises ``ValueError`` for a
    ``top_k`` below 1 or a ``top_p`` not in (0, 1].
    """
    _check_filter(top_k, top_p)
    ranked, order = logits.sort(dim=1, descending=True, stable=True)
    drop = torch.zeros_like(ranked, dtype=torch.bool)
    if top_k is not None:
        drop[:, top_k:] = True
    if top_p < 1:  # at 1 all stay, also where rounding brings the sum to 1 too early
        shares = ranked.softmax(dim=1)
        drop |= shares.cumsum(dim=1) - shares >= top_p  # the sum of all that are more likely
    return logits.masked_fill(torch.zeros_like(drop).scatter(1, order, drop), -torch.inf)


def choose(
    logits: Tensor,
    temperature: float = 0.0,
    *,
    top_k: int | None = None,
    top_p: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Choose a token a row of logits (B, V): the most likely at temperature 0, else a drawn one: (B,).

    Logits are divided by the temperature, then filtered by :func:`filter_logits`. Raises ``ValueError``
    for a temperature below 0, one above it without a ``generator`` to draw from, and what the filter raises.
    """
    if not 0 <= temperature < math.inf:
        raise ValueError(f"expected a temperature of at least 0, got {temperature}")
    _check_filter(top_k, top_p)
    if not temperature:
        return logits.argmax(dim=1)
    if generator is None:
        raise ValueError("a temperature above 0 draws tokens: expected a generator to draw from, got none")
    # With 0 as the largest, a small temperature makes it no infinite number.
    logits = (logits - logits.amax(dim=1, keepdim=True)) / temperature
    kept = filter_logits(logits, top_k=top_k, top_p=top_p)
    return torch.multinomial(kept.softmax(dim=1), 1, generator=generator).squeeze(1)


@torch.no_grad()
def generate(
    model: Seq2Seq,
    source: Tensor,
    lengths: Tensor,
    *,
    max_len: int = 100,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    generator: torch.Generator | None = None,
) -> list[Tensor]:
    """Write a target for each source (B, S), token by token, each chosen by :func:`choose`.

    Temperature 0 is greedy search. Returns ids (T_i,) on the CPU, without the marks of begin and end; the
    mark of the end counts among the at most ``max_len`` tokens that are written. Raises ``ValueError`` for
    a ``max_len`` below 1, a model in training and no source, and what :func:`choose` and the model raise.
    """
    state = _begin(model, source, lengths, max_len)
    written: list[Tensor] = []
    token = torch.full((len(source),), BEGIN_INDEX, device=source.device)
    ended = torch.zeros_like(token, dtype=torch.bool)
    while len(written) < max_len and not ended.all():
        log_probs, state = model.step(token, state)
        token = choose(log_probs, temperature, top_k=top_k, top_p=top_p, generator=generator)
        written.append(token)
        ended |= token == END_INDEX
    return [_until_end(row) for row in torch.stack(written, dim=1).cpu()]


def _normalized(sums: Tensor, sizes: Tensor, length_penalty: float) -> Tensor:
    """Divide sums of log-probabilities by the power of their number of tokens, each of one shape."""
    return sums / sizes.to(sums.dtype) ** length_penalty


@torch.no_grad()
def beam_search(
    model: Seq2Seq,
    source: Tensor,
    lengths: Tensor,
    *,
    beam_width: int = 5,
    max_len: int = 100,
    length_penalty: float = 1.0,
) -> tuple[list[Tensor], Tensor]:
    r"""Keep the ``beam_width`` best beginnings at each step: ids (T_i,), one a source, and scores (B,).

    A target of n tokens, the mark of the end among them, has the score

    .. math:: \frac{1}{n^{a}} \sum_{t=1}^{n} \log p(y_t \mid y_{<t}, x)

    with the ``length_penalty`` a: 1 is the mean of the log-probabilities, 0 their sum, which favours short
    targets. One that has ended stays in the beam until better ones push it out. What is returned has no
    mark of the end; where it had none at ``max_len``, the target is cut there. Raises ``ValueError`` for a
    ``beam_width`` or ``max_len`` below 1, a ``length_penalty`` below 0, a model in training, and no source.
    """
    if beam_width < 1:
        raise ValueError(f"expected a beam_width of at least 1, got {beam_width}")
    if not 0 <= length_penalty < math.inf:
        raise ValueError(f"expected a length_penalty of at least 0, got {length_penalty}")
    count, device = len(source), source.device
    state = _begin(model, source, lengths, max_len)
    state = state.rows(torch.arange(count, device=device).repeat_interleave(beam_width))
    first_row = torch.arange(count, device=device)[:, None] * beam_width  # of each source's beam
    sums = torch.full((count, beam_width), -torch.inf, device=device)
    sums[:, 0] = 0.0  # all beams begin alike, so one counts
    sizes = torch.zeros(count, beam_width, dtype=torch.int64, device=device)
    written = torch.full((count, beam_width, 1), BEGIN_INDEX, device=device)
    ended = torch.zeros(count, beam_width, dtype=torch.bool, device=device)
    for _ in range(max_len):
        log_probs, state = model.step(written[:, :, -1].flatten(), state)
        steps = log_probs.view(count, beam_width, -1).clone()
        steps[ended] = -torch.inf
        steps[..., Vocab.padding_index][ended] = 0.0  # one way to go on: as it is
        new_sums = sums[:, :, None] + steps  # (B, K, V)
        new_sizes = (sizes + ~ended)[:, :, None]
        scores = _normalized(new_sums, new_sizes, length_penalty)
        best = scores.flatten(1).topk(beam_width, dim=1).indices  # (B, K)
        parent, token = best // steps.shape[2], best % steps.shape[2]
        sums = new_sums.flatten(1).gather(1, best)
        sizes = new_sizes.squeeze(2).gather(1, parent)
        ended = ended.gather(1, parent) | (token == END_INDEX)
        written = written.gather(1, parent[:, :, None].expand(-1, -1, written.shape[2]))
        written = torch.cat([written, token[:, :, None]], dim=2)
        if ended.all():
            break
        state = state.rows((first_row + parent).flatten())
    scores = _normalized(sums, sizes, length_penalty)
    best_row = scores.argmax(dim=1)
    rows = written[torch.arange(count, device=device), best_row, 1:].cpu()
    return [_until_end(row) for row in rows], scores.gather(1, best_row[:, None]).squeeze(1)
