"""Encoders: layers that turn a padded batch (B, T, I) with its lengths into outputs (B, T, H).

Three ways to let a step know of the others: by recurrence, by convolution, by attention.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rnnbook.batches import check_lengths
from rnnbook.layers import GRU, RNN

# The same functions as torch.nn's, so the faster ones: on a CPU, at the sizes of this book, ours for GRU
# and RNN, and for the LSTM, in small batches, PyTorch's.
LAYERS: dict[str, type[RNN | nn.LSTM | GRU]] = {"rnn": RNN, "lstm": nn.LSTM, "gru": GRU}


def check_padded(x: Tensor, lengths: Tensor) -> None:
    """Refuse x that is not (B, T, F), and lengths (B,) that do not fit it (``TypeError``, ``ValueError``)."""
    if x.ndim != 3:
        raise ValueError(f"expected shape (batch, time, feature), got {tuple(x.shape)}")
    check_lengths(lengths, x.shape[0], x.shape[1])


def reverse_real(x: Tensor, lengths: Tensor) -> Tensor:
    """Reverse the first ``lengths`` steps of each row of x (B, T, F); padding stays where it is.

    A backward layer must begin at the last real step, not in the padding. Twice changes nothing.
    """
    check_padded(x, lengths)
    t = torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])  # (B, T)
    source = torch.where(t < lengths[:, None], lengths[:, None] - 1 - t, t)
    return x.gather(1, source.unsqueeze(-1).expand_as(x))


class RecurrentStack(nn.Module):
    """``num_layers`` recurrent layers over padded rows, each in one or in two directions.

    The same function as ``torch.nn.LSTM`` (or GRU, RNN) on packed sequences, without packing: real
    steps stand before the padding, so a forward layer never meets it in time to matter, and a
    backward layer reads rows reversed within their length (Schuster and Paliwal, 1997). On a CPU
    this is several times faster than packing.
    """

    def __init__(
        self,
        rnn_type: str,
        input_size: int,
        hidden_size: int,
        *,
        num_layers: int = 1,
        bidirectional: bool = False,
    ) -> None:
        """Raise ``ValueError`` for an unknown ``rnn_type`` or no layer at all."""
        super().__init__()
        if rnn_type not in LAYERS:
            raise ValueError(f"unknown rnn_type {rnn_type!r}; known: {', '.join(LAYERS)}")
        if num_layers < 1:
            raise ValueError(f"expected num_layers of at least 1, got {num_layers}")
        self.bidirectional = bidirectional
        self.output_size = hidden_size * (2 if bidirectional else 1)
        sizes = [input_size] + [self.output_size] * (num_layers - 1)
        kind = LAYERS[rnn_type]
        self.forwards = nn.ModuleList(kind(size, hidden_size, batch_first=True) for size in sizes)
        self.backwards = nn.ModuleList(
            kind(size, hidden_size, batch_first=True) for size in (sizes if bidirectional else [])
        )

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Take x (B, T, I) and lengths (B,); return outputs (B, T, H), or (B, T, 2H) for two directions."""
        check_padded(x, lengths)
        for depth, layer in enumerate(self.forwards):
            y = layer(x)[0]
            if self.bidirectional:
                back = self.backwards[depth](reverse_real(x, lengths))[0]
                y = torch.cat([y, reverse_real(back, lengths)], dim=-1)
            x = y
        return x


class CausalConvolution(nn.Module):
    """Temporal convolutional network (Bai, Kolter and Koltun, 2018): outputs (B, T, H).

    A stack of residual blocks, two convolutions of width 3 each, with dilations 1, 2, 4, … up to the
    first stack that reaches ``reach`` time steps back. Each convolution is padded on the left alone,
    so step t sees nothing after t. Left out of the paper's block: weight normalisation and dropout.
    """

    def __init__(self, input_size: int, hidden_size: int, *, reach: int) -> None:
        """Raise ``ValueError`` for a ``reach`` below 1."""
        super().__init__()
        if reach < 1:
            raise ValueError(f"expected a reach of at least one time step, got {reach}")
        self.output_size = hidden_size
        self.dilations = [2**level for level in range(max(1, math.ceil(math.log2(reach / 4 + 1))))]
        sizes = [input_size] + [hidden_size] * len(self.dilations)
        self.firsts, self.seconds = (
            nn.ModuleList(
                nn.Conv1d(i, o, 3, dilation=d) for i, o, d in zip(ins, sizes[1:], self.dilations, strict=True)
            )
            for ins in (sizes[:-1], sizes[1:])
        )
        self.shortcut = nn.Conv1d(input_size, hidden_size, 1)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Take x (B, T, I) and lengths (B,); return outputs (B, T, H)."""
        check_padded(x, lengths)
        y = x.transpose(1, 2)  # (B, I, T), as convolutions want it
        skip = self.shortcut(y)
        for first, second, dilation in zip(self.firsts, self.seconds, self.dilations, strict=True):
            for layer in (first, second):
                y = layer(nn.functional.pad(y, (2 * dilation, 0))).relu()
            y = skip = (y + skip).relu()
        return y.transpose(1, 2)


class CausalAttention(nn.Module):
    """Two blocks of self-attention that look back only (Vaswani et al., 2017): outputs (B, T, H).

    PyTorch's own blocks, normalised before each part, two heads, sine and cosine positions.
    """

    def __init__(self, input_size: int, hidden_size: int, *, feedforward_size: int | None = None) -> None:
        """Raise ``ValueError`` for an odd ``hidden_size``; ``feedforward_size`` is twice as large if not given."""
        super().__init__()
        if hidden_size % 2:
            raise ValueError(f"expected an even hidden_size, for two heads, got {hidden_size}")
        self.output_size = hidden_size
        self.entrance = nn.Linear(input_size, hidden_size)
        block = nn.TransformerEncoderLayer(
            hidden_size, 2, feedforward_size or 2 * hidden_size, 0.0, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, 2, nn.LayerNorm(hidden_size), enable_nested_tensor=False)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Take x (B, T, I) and lengths (B,); return outputs (B, T, H)."""
        check_padded(x, lengths)
        seq_len, size = x.shape[1], self.output_size
        t = torch.arange(seq_len, dtype=x.dtype, device=x.device).unsqueeze(1)
        angles = t / 10_000 ** (torch.arange(0, size, 2, dtype=x.dtype, device=x.device) / size)
        positions = torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)  # (T, H)
        mask = nn.Transformer.generate_square_subsequent_mask(seq_len, device=x.device, dtype=x.dtype)
        outputs: Tensor = self.blocks(self.entrance(x) + positions, mask=mask, is_causal=True)
        return outputs


ENCODERS = (*LAYERS, "bilstm", "tcn", "attention")
AnyEncoder = RecurrentStack | CausalConvolution | CausalAttention


def make_encoder(
    kind: str, input_size: int, hidden_size: int, *, reach: int = 64, feedforward_size: int | None = None
) -> AnyEncoder:
    """Build an encoder by its name: ``rnn``, ``lstm``, ``gru``, ``bilstm``, ``tcn``, ``attention``.

    ``reach`` is for the convolution alone and ``feedforward_size`` for the attention alone. A
    ``bilstm`` gives outputs (B, T, 2H). Raises ``ValueError`` for another name.
    """
    if kind == "tcn":
        return CausalConvolution(input_size, hidden_size, reach=reach)
    if kind == "attention":
        return CausalAttention(input_size, hidden_size, feedforward_size=feedforward_size)
    if kind not in ENCODERS:
        raise ValueError(f"unknown encoder {kind!r}; known: {', '.join(ENCODERS)}")
    return RecurrentStack(kind.removeprefix("bi"), input_size, hidden_size, bidirectional=kind == "bilstm")


def in_windows(encoder: AnyEncoder, x: Tensor, lengths: Tensor, window: int | None) -> Tensor:
    """Let an encoder start anew every ``window`` steps of x (B, T, I): outputs (B, T, H).

    The windows of a row are read side by side, as rows of one bigger batch: no step knows of another
    window, and no more than ``window`` steps are taken one after the other. A row is cut at the same places
    in whatever batch it stands; its last window may be shorter, and windows of padding alone are not run.
    Without a window the encoder reads whole rows. Raises ``ValueError`` for a window below 1.
    """
    check_padded(x, lengths)
    if window is None:
        outputs: Tensor = encoder(x, lengths)
        return outputs
    if window < 1:
        raise ValueError(f"expected a window of at least one time step, got {window}")
    batch_size, seq_len, _ = x.shape
    window = min(window, seq_len)
    count = math.ceil(seq_len / window)
    starts = window * torch.arange(count, device=lengths.device)
    parts = (lengths[:, None] - starts).clamp(0, window).flatten()  # real steps of each window, (B * count,)
    rows = nn.functional.pad(x, (0, 0, 0, count * window - seq_len)).reshape(-1, window, x.shape[2])
    filled = parts > 0
    read = encoder(rows[filled], parts[filled])
    outputs = read.new_zeros(len(rows), window, read.shape[2])
    outputs[filled] = read
    return outputs.reshape(batch_size, count * window, -1)[:, :seq_len]
