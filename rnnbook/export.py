"""The classifier as an ONNX file, which needs neither PyTorch nor this package to be run.

ONNX is a file format for a model as a graph of standard operations; ONNX Runtime runs such a graph, in
which a whole recurrent layer is one operation. The graph is what a trace of one batch leaves, so a number
that Python read from that batch would stand in it as a constant: hence each export is compared.
Needs the packages ``onnx`` and ``onnxruntime``, which the extra ``onnx`` brings.
"""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rnnbook.batches import check_lengths, pad_sequences
from rnnbook.classifier import TextClassifier
from rnnbook.files import write_whole
from rnnbook.text import Vocab, check_ids

TOLERANCE = 1e-5  # of float32 logits around 1: sums are taken in another order
_TRACED = pad_sequences([torch.full((n,), Vocab.unknown_index) for n in (3, 1)])
_EXPECTED = (
    # the exporter that we need is the older one, and says so
    "You are using the legacy",
    "The feature will be removed",
    # constants, here in checks of what comes in; any other is found by the comparison
    "Converting a tensor to a Python|Using len to get tensor shape",
    "Exporting a model to ONNX with a batch_size",
)


def _module(name: str) -> Any:
    """Import a module of the two packages when it is used: nothing else needs them."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(
            f"rnnbook.export needs the package {name.partition('.')[0]}; "
            f"what helps: python -m pip install onnx onnxruntime"
        ) from error


class _Traceable(nn.Module):
    """A classifier without the check of its tokens, and with the recurrent layers of ``torch.nn``.

    ONNX has no operation for a backward pass by hand; the layers of ``torch.nn`` are the same function.
    """

    def __init__(self, model: TextClassifier) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).cpu()
        for layers in (self.model.rnn.forwards, self.model.rnn.backwards):
            for depth, layer in enumerate(layers):
                kind = getattr(nn, type(layer).__name__)
                layers[depth] = kind(layer.input_size, layer.hidden_size, batch_first=True)
                layers[depth].load_state_dict(layer.state_dict())

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        return self.model.from_vectors(self.model.embedding(tokens), lengths)


def _trace(model: TextClassifier, path: Path) -> None:
    """Write the graph of one small batch, in which B and T are free."""
    onnx = _module("onnx")
    with warnings.catch_warnings():
        for message in _EXPECTED:
            warnings.filterwarnings("ignore", message)
        torch.onnx.export(
            _Traceable(model).eval(),
            _TRACED,
            path,
            dynamo=False,
            input_names=["tokens", "lengths"],
            output_names=["logits"],
            dynamic_axes={"tokens": {0: "B", 1: "T"}, "lengths": {0: "B"}, "logits": {0: "B"}},
        )
    graph = onnx.load(path)
    onnx.helper.set_model_props(graph, {"vocab_size": str(model.config.vocab_size)})
    onnx.save(graph, path)


def _difference(found: Tensor, expected: Tensor) -> str:
    """Say in words how far logits are from the expected ones; nothing when they are equal."""
    if found.shape != expected.shape:
        return f"logits {tuple(found.shape)} in the place of {tuple(expected.shape)}"
    off = (found - expected).abs().max().item()
    equal = off <= TOLERANCE * max(1.0, expected.abs().max().item())  # never true for NaN
    return "" if equal else f"a logit is off by {off:.1e}"


def _compare(model: TextClassifier, exported: OnnxClassifier, examples: Iterable[Sequence[Tensor]]) -> None:
    sizes: tuple[set[int], set[int]] = (set(), set())
    for number, (tokens, lengths, *_) in enumerate(examples):
        with torch.inference_mode():
            expected = model(*(part.to(model.readout.weight.device) for part in (tokens, lengths))).cpu()
        try:
            wrong = _difference(exported(tokens, lengths), expected)
        except RuntimeError as error:
            wrong = str(error)
        if wrong:
            raise ValueError(
                f"an export whose outputs differ from the model's: example batch {number}, tokens of shape "
                f"{tuple(tokens.shape)}: {wrong}; no file was written"
            )
        for seen, size in zip(sizes, tokens.shape, strict=True):
            seen.add(size)
    if not all(seen - {traced} for seen, traced in zip(sizes, _TRACED[0].shape, strict=True)):
        raise ValueError(
            f"expected examples of another B and another T than the traced {tuple(_TRACED[0].shape)}, got B in "
            f"{sizes[0]} and T in {sizes[1]}: a size that became a constant would not be found"
        )


def export_onnx(model: TextClassifier, path: str | Path, examples: Iterable[Sequence[Tensor]]) -> None:
    """Write a classifier as an ONNX file for batches of any size, and compare the two.

    ``examples`` are batches ``(tokens (B, T), lengths (B,), …)``, such as :class:`rnnbook.batches.Batches`
    gives. On each, the logits of ONNX Runtime must equal the model's within ``TOLERANCE``, times the
    largest logit where that is above 1; else no file is written. Of PyTorch's two exporters this takes
    the older, by tracing: in PyTorch 2.13 the newer one (``dynamo=True``) keeps B and T free for LSTM
    and GRU, but unrolls the simple RNN over the T of its example, needs ``onnxscript``, and takes seconds.

    Raises ``ImportError`` without the packages, and ``ValueError`` for a model in training mode, with a
    window (a count in Python, which a trace makes a constant) or of another type than float32, for examples
    that are all of one size, and for an export whose outputs differ.
    """
    if model.training:
        raise ValueError("the model is in training mode, in which dropout acts: call model.eval() first")
    if model.config.window is not None:
        raise ValueError(
            f"expected a model without a window, this one starts anew every {model.config.window} tokens: the "
            f"number of windows is counted in Python, so a trace would fix it"
        )
    if (dtype := model.readout.weight.dtype) != torch.float32:
        raise ValueError(f"expected weights of torch.float32, got {dtype}: call model.float() first")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made.onnx"
        _trace(model, made)
        _compare(model, OnnxClassifier(made), examples)
        write_whole(Path(path), made.read_bytes())


def quantize_onnx(path: str | Path, quantized_path: str | Path) -> None:
    """Write a file of :func:`export_onnx` anew with 8-bit integers for weights: a quarter of the bytes.

    Each matrix gets one scale; what it is multiplied with is rounded to 8 bits on the way, by its own
    range (dynamic quantisation). ONNX Runtime does so for LSTM, products and embeddings; layers of GRU and
    RNN stay as they are. Outputs change: measure the accuracy anew. Raises what :class:`OnnxClassifier` does.
    """
    quantization, shapes = (_module(f"onnxruntime.quantization{part}") for part in ("", ".shape_inference"))
    OnnxClassifier(path)
    with tempfile.TemporaryDirectory() as folder:
        prepared, made = Path(folder) / "prepared.onnx", Path(folder) / "made.onnx"
        shapes.quant_pre_process(path, prepared, skip_symbolic_shape=True)
        # 7 of the 8 bits are used: a processor without VNNI adds products by twos in 16 bits, where two of
        # 8 bits each have no room.
        kind = quantization.QuantType.QInt8
        quantization.quantize_dynamic(prepared, made, weight_type=kind, reduce_range=True)
        write_whole(Path(quantized_path), made.read_bytes())


class OnnxClassifier(nn.Module):
    """A file of :func:`export_onnx` or :func:`quantize_onnx`, run by ONNX Runtime on one thread.

    A module without weights, so that it can stand where a trained classifier does.
    """

    def __init__(self, path: str | Path) -> None:
        """Raise ``ImportError`` without the packages, ``FileNotFoundError``, or ``ValueError`` for another file.

        A file that was cut off is found; a changed bit in a weight is not.
        """
        super().__init__()
        runtime = _module("onnxruntime")
        if not Path(path).is_file():
            raise FileNotFoundError(f"there is no file {path}")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # an error is raised, so it need not be printed as well
        try:
            self.session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no other base
            raise ValueError(f"{path} is no whole ONNX file ({error}): export the model again") from error
        known = self.session.get_modelmeta().custom_metadata_map
        if "vocab_size" not in known:
            raise ValueError(f"{path} was not written by export_onnx: export the model again")
        self.vocab_size = int(known["vocab_size"])

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Take tokens (B, T) and lengths (B,), both int64; return logits (B, num_classes), float32.

        Raises ``TypeError`` for another type, ``ValueError`` for ids outside the vocabulary and lengths
        that do not fit, and ``RuntimeError`` where ONNX Runtime fails.
        """
        if {tokens.dtype, lengths.dtype} != {torch.int64}:
            raise TypeError(
                f"expected tokens and lengths of torch.int64, got {tokens.dtype} and {lengths.dtype}"
            )
        if tokens.ndim != 2:
            raise ValueError(f"expected tokens of shape (batch, time), got {tuple(tokens.shape)}")
        check_ids(tokens, self.vocab_size)
        check_lengths(lengths, *tokens.shape)
        try:
            (logits,) = self.session.run(None, {"tokens": tokens.numpy(), "lengths": lengths.numpy()})
        except Exception as error:
            raise RuntimeError(f"ONNX Runtime refuses tokens {tuple(tokens.shape)}: {error}") from error
        return torch.from_numpy(logits)
