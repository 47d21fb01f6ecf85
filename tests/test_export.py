"""Exported classifiers: equal to the model at every size, refused when they are not, small as integers."""

from __future__ import annotations

import logging
from itertools import product

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from rnnbook import export
from rnnbook.batches import Batches, pad_sequences
from rnnbook.classifier import ClassifierConfig, TextClassifier
from rnnbook.evaluate import predict
from rnnbook.export import OnnxClassifier, export_onnx, quantize_onnx
from rnnbook.repro import seed_everything
from rnnbook.tasks import order_task
from rnnbook.train import train, validate

VOCAB = 50
SIZES = [(1, 1), (1, 40), (2, 3), (5, 1), (7, 9), (3, 70)]
CASES = [
    {"rnn_type": "lstm", "bidirectional": True, "pooling": "mean+max"},
    {"rnn_type": "lstm", "num_layers": 2, "pooling": "last"},
    {"rnn_type": "lstm", "bidirectional": True, "num_layers": 2, "pooling": "attention"},
    {"rnn_type": "gru", "bidirectional": True, "pooling": "last"},
    {"rnn_type": "gru", "num_layers": 2, "pooling": "attention"},
    {"rnn_type": "gru", "pooling": "max"},
    {"rnn_type": "rnn", "bidirectional": True, "num_layers": 2, "pooling": "mean"},
    {"rnn_type": "rnn", "pooling": "mean+max"},
]


def batch(size: tuple[int, int], generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.randint(1, size[1] + 1, (size[0],), generator=generator)
    lengths[0] = size[1]
    return pad_sequences([torch.randint(1, VOCAB, (n,), generator=generator) for n in lengths.tolist()])


def batches(sizes=SIZES, seed: int = 1) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [batch(size, generator) for size in sizes]


def classifier(**changes) -> TextClassifier:
    seed_everything(0)
    model = TextClassifier(ClassifierConfig(VOCAB, **{"embedding_dim": 8, "hidden_size": 8, **changes}))
    nn.init.normal_(model.embedding.weight)  # so that the logits depend on the tokens by much
    return model.eval()


@pytest.fixture(scope="module")
def model() -> TextClassifier:
    return classifier(rnn_type="gru")


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    file = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx(model, file, batches())
    return file


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.values())))
@torch.no_grad()
def test_an_export_is_the_model_at_sizes_it_was_not_compared_at(case, tmp_path):
    model = classifier(**case)
    export_onnx(model, tmp_path / "model.onnx", batches([(1, 2), (4, 5)]))
    exported = OnnxClassifier(tmp_path / "model.onnx")
    for tokens, lengths in batches():
        torch.testing.assert_close(exported(tokens, lengths), model(tokens, lengths), rtol=0, atol=1e-5)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


@torch.no_grad()
def test_padding_and_neighbours_change_nothing(path):
    exported = OnnxClassifier(path)
    tokens, lengths = batches([(4, 12)])[0]
    together = exported(tokens, lengths)
    wider = exported(nn.functional.pad(tokens, (0, 30)), lengths)
    alone = torch.cat([exported(row[None, :n], n[None]) for row, n in zip(tokens, lengths, strict=True)])
    torch.testing.assert_close(wider, together, rtol=0, atol=1e-6)
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-6)


def test_an_export_stands_where_a_model_does(model, path):
    generator = torch.Generator().manual_seed(3)
    sequences = [torch.randint(1, VOCAB, (n,), generator=generator) for n in (3, 9, 1, 4, 4)]
    data = Batches(sequences, [0, 1, 0, 1, 1], batch_size=2)
    exported = OnnxClassifier(path)
    with torch.no_grad():
        torch.testing.assert_close(predict(exported, data), predict(model, data), rtol=0, atol=1e-5)
    assert validate(exported, data) == pytest.approx(validate(model, data), abs=1e-5)


def test_examples_may_be_batches_with_labels_and_nothing_is_printed(model, tmp_path, capfd, caplog):
    data = Batches([torch.tensor([2, 3]), torch.tensor([4]), torch.tensor([5])], [0, 1, 0], batch_size=1)
    with caplog.at_level(logging.WARNING):
        export_onnx(model, tmp_path / "a.onnx", data)
        quantize_onnx(tmp_path / "a.onnx", tmp_path / "b.onnx")
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


# --- an export that differs ------------------------------------------------------------------------


class _OneLength(export._Traceable):
    def forward(self, tokens, lengths):
        mask = torch.arange(int(tokens.shape[1])) < lengths[:, None]  # int: the T of the trace
        return super().forward(tokens * mask, lengths)


class _OneBatch(export._Traceable):
    def forward(self, tokens, lengths):
        return super().forward(tokens, lengths).expand(len(tokens), 2)


class _Reversed(export._Traceable):
    def forward(self, tokens, lengths):
        return super().forward(tokens.flip(1), lengths)  # padding first: what a forward layer must not see


class _OtherWeights(export._Traceable):
    def __init__(self, model):
        super().__init__(model)
        self.model.readout.bias.data += 1e-4


@pytest.mark.parametrize("fault", [_OneLength, _OneBatch, _Reversed, _OtherWeights])
def test_an_export_whose_outputs_differ_is_not_written(model, tmp_path, monkeypatch, fault):
    monkeypatch.setattr(export, "_Traceable", fault)
    (tmp_path / "model.onnx").write_text("the one before")
    with pytest.raises(
        ValueError, match=r"outputs differ.*example batch \d, tokens of shape \(\d, \d+\): .+"
    ):
        export_onnx(model, tmp_path / "model.onnx", batches())
    assert [file.read_text() for file in tmp_path.iterdir()] == ["the one before"]


def test_the_difference_is_said(model, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "_Traceable", _OtherWeights)
    with pytest.raises(ValueError, match=r"batch 0, tokens of shape \(1, 1\): a logit is off by 1\.0e-04"):
        export_onnx(model, tmp_path / "model.onnx", batches())


def test_nan_is_a_difference(tmp_path):
    model = classifier()
    model.readout.bias.data[0] = torch.nan
    with pytest.raises(ValueError, match="off by nan"):
        export_onnx(model, tmp_path / "model.onnx", batches())


@pytest.mark.parametrize("sizes", [[], [(2, 3)], [(2, 5), (2, 9)], [(1, 3), (8, 3)]])
def test_examples_of_the_traced_size_prove_nothing(model, tmp_path, sizes):
    with pytest.raises(ValueError, match=r"another B and another T than the traced \(2, 3\)"):
        export_onnx(model, tmp_path / "model.onnx", batches(sizes))
    assert not list(tmp_path.iterdir())


# --- refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (classifier().train(), r"training mode.*model\.eval"),
        (classifier(window=4), "without a window.*4 tokens"),
        (classifier().double(), r"torch\.float32, got torch\.float64"),
    ],
)
def test_a_model_that_cannot_be_exported_is_refused_in_words(model, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        export_onnx(model, tmp_path / "model.onnx", batches())


@pytest.mark.parametrize("use", [OnnxClassifier, lambda path: quantize_onnx(path, path)])
def test_a_file_that_is_none_is_refused_in_words(use, path, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nothing\.onnx"):
        use(tmp_path / "nothing.onnx")
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"cut\.onnx is no whole ONNX file.*export the model again"):
        use(cut)
    other = onnx.load(path)
    del other.metadata_props[:]
    onnx.save(other, cut)
    with pytest.raises(ValueError, match=r"cut\.onnx was not written by export_onnx"):
        use(cut)


def test_a_batch_that_does_not_fit_is_refused_in_words(path):
    exported = OnnxClassifier(path)
    ((tokens, lengths),) = batches([(2, 3)])
    for wrong in ((tokens.int(), lengths), (tokens, lengths.int()), (tokens.float(), lengths)):
        with pytest.raises(TypeError, match=r"expected tokens and lengths of torch\.int64"):
            exported(*wrong)
    for wrong, words in (
        ((tokens[0], lengths), r"\(batch, time\)"),
        ((tokens + VOCAB, lengths), "token ids from 0 to 49"),
        ((tokens - VOCAB, lengths), "token ids from 0 to 49"),
        ((tokens, lengths + 1), "lengths from 1 to T = 3"),
        ((tokens, lengths[:1]), "one length a row"),
    ):
        with pytest.raises(ValueError, match=words):
            exported(*wrong)


def test_a_missing_package_is_named(monkeypatch, model, tmp_path):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(export, "import_module", missing)
    for use, name in (
        (lambda: export_onnx(model, tmp_path / "m.onnx", batches()), "onnx"),
        (lambda: quantize_onnx("a", "b"), "onnxruntime"),
        (lambda: OnnxClassifier("a"), "onnxruntime"),
    ):
        with pytest.raises(ImportError, match=rf"the package {name}; what helps: python -m pip install"):
            use()


# --- integers --------------------------------------------------------------------------------------


def test_integers_cost_little_accuracy_and_a_quarter_of_the_bytes(tmp_path):
    generator = seed_everything(0)
    model = TextClassifier(ClassifierConfig(VOCAB, 32, 48, bidirectional=True))
    tokens, labels = order_task(1000, 10, generator=generator)
    data = Batches(list(tokens + 1), labels, batch_size=25, generator=generator)
    train(model, data, num_epochs=3, learning_rate=1e-2)
    new, wanted = order_task(500, 12, generator=generator)
    data = Batches(list(new + 1), wanted, batch_size=50)
    files = [tmp_path / name for name in ("float.onnx", "int8.onnx")]
    export_onnx(model.eval(), files[0], [*data, (new[:1, :5] + 1, torch.tensor([5]))])
    quantize_onnx(*files)
    quantized = OnnxClassifier(files[1])
    with torch.no_grad():
        exact, rounded = predict(model, data), predict(quantized, data)
    assert validate(model, data)[1] > 0.95  # or there would be nothing to lose
    assert abs(validate(quantized, data)[1] - validate(model, data)[1]) <= 0.005
    off = (rounded - exact).abs().max()
    assert 0 < off < 0.03 * exact.abs().max()
    assert files[1].stat().st_size < 0.4 * files[0].stat().st_size
    kinds = {node.op_type for node in onnx.load(files[1]).graph.node}
    assert {"DynamicQuantizeLSTM", "MatMulInteger"} <= kinds
    assert not {"LSTM", "Gemm", "MatMul"} & kinds


def test_two_integers_fit_together_into_16_bits(tmp_path):
    model = classifier(rnn_type="rnn", hidden_size=64, pooling="max")
    with torch.no_grad():
        model.readout.weight.copy_(torch.ones(2, 64))  # all products at the end of their range
        model.readout.weight[1] *= -1
        for layer in model.rnn.forwards:
            layer.bias_ih_l0.fill_(3.0)
    export_onnx(model, tmp_path / "a.onnx", batches())
    quantize_onnx(tmp_path / "a.onnx", tmp_path / "b.onnx")
    weights = [onnx.numpy_helper.to_array(part) for part in onnx.load(tmp_path / "b.onnx").graph.initializer]
    (integers,) = (weight for weight in weights if weight.dtype == np.int8 and weight.ndim == 2)
    assert integers.shape == (64, 2)  # the read-out; the embedding, which is multiplied by nothing, is uint8
    assert np.abs(integers.astype(int)).max() <= 64
    quantized = OnnxClassifier(tmp_path / "b.onnx")
    for tokens, lengths in batches():
        with torch.no_grad():
            expected = model(tokens, lengths)
        torch.testing.assert_close(quantized(tokens, lengths), expected, rtol=0.02, atol=0.02)


def test_the_cases_hold_every_layer_and_every_pooling():
    kinds = {(case["rnn_type"], case.get("bidirectional", False)) for case in CASES}
    assert kinds == set(product(("lstm", "gru", "rnn"), (False, True)))
    assert {case["pooling"] for case in CASES} == {"last", "mean", "max", "mean+max", "attention"}
