"""The classifier reads what is there and nothing else, and its file gives the same model back."""

from __future__ import annotations

import pickle
from dataclasses import asdict, replace
from functools import partial
from itertools import product
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnbook.batches import pad_sequences
from rnnbook.encoders import LAYERS, RecurrentStack, reverse_real
from rnnbook.files import save_tensors
from rnnbook.models import (
    POOLINGS,
    ClassifierConfig,
    TextClassifier,
    classify,
    load_classifier,
    pool,
    save_classifier,
)
from rnnbook.text import PAD, UNKNOWN, Vocab, tokenize

VOCAB = Vocab((PAD, UNKNOWN, *"abcdefgh"))
FORMS = list(product(LAYERS, POOLINGS, (False, True), (1, 2)))
LENGTHS = torch.tensor([3, 6, 1, 4])

every_form = pytest.mark.parametrize(("rnn_type", "pooling", "bidirectional", "num_layers"), FORMS)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make(**options: object) -> TextClassifier:
    """Make a small classifier whose outputs are far from equal."""
    torch.manual_seed(0)
    model = TextClassifier(
        ClassifierConfig(**{"vocab_size": 10, "embedding_dim": 3, "hidden_size": 4} | options)
    )
    nn.init.normal_(model.embedding.weight)
    with torch.no_grad():
        model.embedding.weight[0] = 0.0
    return model


def of_form(rnn_type: str, pooling: str, bidirectional: bool, num_layers: int) -> TextClassifier:
    options = {"rnn_type": rnn_type, "pooling": pooling, "bidirectional": bidirectional}
    return make(**options, num_layers=num_layers, num_classes=3).double()


def unchecked(model: TextClassifier, tokens: Tensor, lengths: Tensor) -> Tensor:
    """Do what forward does after its checks."""
    outputs = model.rnn(model.embed(tokens), lengths)
    how, bidirectional = model.config.pooling, model.config.bidirectional
    return model.readout(pool(outputs, lengths, how, bidirectional=bidirectional))


def batch() -> tuple[Tensor, Tensor]:
    """Draw token ids (4, 6) with zeros as padding, and their lengths."""
    tokens = torch.randint(2, 10, (4, 6), generator=torch.Generator().manual_seed(1))
    return tokens.masked_fill(torch.arange(6) >= LENGTHS[:, None], 0), LENGTHS


# --- padding, batches ----------------------------------------------------------------------------


@every_form
def test_padding_changes_nothing(rnn_type, pooling, bidirectional, num_layers):
    model = of_form(rnn_type, pooling, bidirectional, num_layers)
    tokens, lengths = batch()
    clean = model(tokens, lengths)
    clean.square().sum().backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    assert torch.equal(model.embedding.weight.grad[0], torch.zeros(3)), "padding is not trained"
    with torch.no_grad():
        for value in (torch.nan, torch.inf, -torch.inf, 1e300):
            model.embedding.weight[0] = value
            assert torch.equal(model(tokens, lengths), clean), f"padding of {value}"
        model.embedding.weight[0] = 0.0
    # A longer row, and past the check of forward other tokens behind the end: also for the gradient.
    wider = nn.functional.pad(tokens, (0, 3))
    other = torch.where(wider == 0, 7, wider)
    for rows, read in ((wider, model), (other, partial(unchecked, model))):
        model.zero_grad()
        logits = read(rows, lengths)
        torch.testing.assert_close(logits, clean, rtol=0, atol=1e-12)
        logits.square().sum().backward()
        for parameter, expected in zip(model.parameters(), gradients, strict=True):
            torch.testing.assert_close(parameter.grad, expected, rtol=0, atol=1e-12)


@every_form
def test_a_row_alone_is_the_row_in_its_batch(rnn_type, pooling, bidirectional, num_layers):
    model = of_form(rnn_type, pooling, bidirectional, num_layers)
    tokens, lengths = batch()
    whole = model(tokens, lengths)
    assert whole.shape == (4, 3)
    for i, length in enumerate(lengths.tolist()):
        alone = model(tokens[i : i + 1, :length], lengths[i : i + 1])
        torch.testing.assert_close(alone[0], whole[i], rtol=0, atol=1e-12)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(model(tokens[order], lengths[order]), whole[order], rtol=0, atol=1e-12)
    assert (whole[0] - whole[1]).abs().max() > 1e-4


@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_real_token_matters_and_so_does_the_order(pooling):
    model = of_form("gru", pooling, True, 1)
    tokens, lengths = batch()
    whole = model(tokens, lengths)
    for row, length in enumerate(lengths.tolist()):
        for step in range(length):
            other = tokens.clone()
            other[row, step] = 2 + (tokens[row, step] - 1) % 8
            changed = (model(other, lengths) - whole).abs().amax(dim=1) > 0
            assert changed.nonzero().flatten().tolist() == [row]
    turned = reverse_real(tokens[:, :, None], lengths)[:, :, 0]
    assert not torch.allclose(model(turned, lengths)[1], whole[1])


# --- pooling -------------------------------------------------------------------------------------


def test_pooling_equals_a_loop():
    outputs = random(4, 6, 5)
    rows = [outputs[i, :length] for i, length in enumerate(LENGTHS.tolist())]
    expected = {
        "last": torch.stack([row[-1] for row in rows]),
        "mean": torch.stack([row.mean(dim=0) for row in rows]),
        "max": torch.stack([row.amax(dim=0) for row in rows]),
    }
    expected["mean+max"] = torch.cat([expected["mean"], expected["max"]], dim=1)
    assert set(expected) == set(POOLINGS)
    for how, values in expected.items():
        torch.testing.assert_close(pool(outputs, LENGTHS, how), values)
    for row, length in zip(outputs, LENGTHS.tolist(), strict=True):
        row[length:] = torch.nan
    for how, values in expected.items():
        torch.testing.assert_close(pool(outputs, LENGTHS, how), values)


def test_the_largest_may_be_negative():
    assert pool(-torch.ones(1, 3, 2), torch.tensor([2]), "max").tolist() == [[-1.0, -1.0]]


# --- the layers ----------------------------------------------------------------------------------


def torchs(
    stack: RecurrentStack, rnn_type: str, hidden: int, num_layers: int, bidirectional: bool
) -> nn.Module:
    """Make PyTorch's layer with the weights of ours."""
    layer = LAYERS[rnn_type](
        3, hidden, num_layers=num_layers, bidirectional=bidirectional, batch_first=True
    ).double()
    weights = {}
    for suffix, layers in (("", stack.forwards), ("_reverse", stack.backwards)):
        for depth, own in enumerate(layers):
            for name, value in own.state_dict().items():
                weights[name.replace("_l0", f"_l{depth}{suffix}")] = value
    layer.load_state_dict(weights, strict=True)
    return layer


@pytest.mark.parametrize("rnn_type", LAYERS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_stack_equals_torch_on_packed_sequences(rnn_type, bidirectional, num_layers):
    torch.manual_seed(0)
    stack = RecurrentStack(rnn_type, 3, 4, num_layers=num_layers, bidirectional=bidirectional).double()
    layer = torchs(stack, rnn_type, 4, num_layers, bidirectional)
    assert stack.output_size == 4 * (1 + bidirectional)
    inputs = [random(4, 6, 3).requires_grad_() for _ in range(2)]
    ours = stack(inputs[0], LENGTHS)
    packed = pack_padded_sequence(inputs[1], LENGTHS, batch_first=True, enforce_sorted=False)
    theirs = pad_packed_sequence(layer(packed)[0], batch_first=True)[0]
    real = torch.arange(6) < LENGTHS[:, None]
    torch.testing.assert_close(ours[real], theirs[real], rtol=1e-10, atol=1e-10)
    weight = random(*ours.shape, seed=2) * real[:, :, None]
    for outputs in (ours, theirs):
        (outputs * weight).sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-10, atol=1e-10)
    theirs_of = dict(layer.named_parameters())
    for suffix, layers in (("", stack.forwards), ("_reverse", stack.backwards)):
        for depth, own in enumerate(layers):
            for name, parameter in own.named_parameters():
                twin = theirs_of[name.replace("_l0", f"_l{depth}{suffix}")]
                torch.testing.assert_close(parameter.grad, twin.grad, rtol=1e-10, atol=1e-10)


def test_reversing_by_hand_and_twice():
    x = torch.arange(8.0).reshape(2, 4, 1)
    assert reverse_real(x, torch.tensor([3, 1]))[:, :, 0].tolist() == [[2, 1, 0, 3], [4, 5, 6, 7]]
    x = random(4, 6, 3)
    assert torch.equal(reverse_real(reverse_real(x, LENGTHS), LENGTHS), x)
    assert torch.equal(reverse_real(x, torch.full((4,), 6)), x.flip(1))


# --- dropout -------------------------------------------------------------------------------------


def test_dropout_acts_in_training_alone():
    tokens, lengths = batch()
    plain, dropping = make(), make(dropout=0.5, word_dropout=0.5)
    dropping.load_state_dict(plain.state_dict())
    assert torch.equal(dropping.eval()(tokens, lengths), plain.eval()(tokens, lengths))
    assert torch.equal(dropping(tokens, lengths), dropping(tokens, lengths))
    dropping.train()
    assert not torch.equal(dropping(tokens, lengths), dropping(tokens, lengths))
    plain.train()
    assert torch.equal(plain(tokens, lengths), plain(tokens, lengths))


def test_dropout_is_one_mask_for_all_time_steps_and_keeps_the_mean():
    model = make(embedding_dim=400, dropout=0.25).train()
    vectors = model.embed(torch.full((3, 5), 4))  # (B, T, E), the same token everywhere
    assert torch.equal(vectors, vectors[:, :1].expand_as(vectors)), "the mask changed from step to step"
    assert not torch.equal(vectors[0], vectors[1]), "each text has a mask of its own"
    ratio = vectors[:, 0] / model.embedding.weight[4]
    assert (ratio == 0).float().mean().item() == pytest.approx(0.25, abs=0.06)
    assert ratio.max().item() == pytest.approx(1 / 0.75)


def test_dropout_reaches_the_pooled_vector():
    model = make(dropout=0.5, hidden_size=200).train()
    seen = []
    model.readout.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(*batch())
    assert (seen[0] == 0).float().mean().item() == pytest.approx(0.5, abs=0.1)


def test_word_dropout_never_touches_padding():
    model = make(word_dropout=0.5)
    seen: list[Tensor] = []
    model.embedding.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    torch.manual_seed(0)
    tokens = torch.randint(2, 10, (50, 40))
    tokens[:, 20:] = Vocab.padding_index
    before = tokens.clone()
    model.train().embed(tokens)
    model.eval().embed(tokens)
    dropped, kept = seen
    assert torch.equal(tokens, before), "the caller's tokens were changed"
    assert torch.equal(kept, before)
    assert torch.equal(dropped[:, 20:], before[:, 20:])
    changed = dropped[:, :20] != before[:, :20]
    assert (dropped[:, :20][changed] == Vocab.unknown_index).all()
    assert changed.float().mean().item() == pytest.approx(0.5, abs=0.05)


# --- the file ------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_classifier(path, make(), VOCAB)
    return path


@pytest.mark.parametrize("rnn_type", LAYERS)
def test_round_trip(tmp_path, rnn_type):
    path = tmp_path / "model.safetensors"
    options = {"rnn_type": rnn_type, "bidirectional": True, "num_layers": 2, "pooling": "max"}
    model = make(**options, dropout=0.5, word_dropout=0.3, num_classes=5)
    save_classifier(path, model, VOCAB)
    assert model.training, "saving changed the mode"
    loaded, vocab = load_classifier(path)
    assert not loaded.training
    assert loaded.config == replace(model.config, vocab_hash=VOCAB.fingerprint())
    assert vocab == VOCAB
    assert vocab.ids == VOCAB.ids
    assert torch.equal(loaded(*batch()), model.eval()(*batch()))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    save_classifier(str(path), loaded, vocab)  # a path may be a str
    assert torch.equal(load_classifier(str(path))[0](*batch()), loaded(*batch()))


def test_words_of_any_script_come_back(tmp_path):
    vocab = Vocab((PAD, UNKNOWN, "é", "日本", "it's", '"', "\\", "\u2028", "g", "h"))
    save_classifier(tmp_path / "m", make(), vocab)
    assert load_classifier(tmp_path / "m")[1].tokens == vocab.tokens


def test_a_flipped_bit_anywhere_is_noticed(saved):
    save_classifier(saved, make(embedding_dim=1, hidden_size=1, rnn_type="rnn"), VOCAB)
    raw = saved.read_bytes()
    for place in [*range(0, len(raw), 5), len(raw) - 1]:
        changed = bytearray(raw)
        changed[place] ^= 1 << place % 8
        saved.write_bytes(changed)
        with pytest.raises(ValueError, match=r"model\.safetensors"):
            load_classifier(saved)


def test_a_file_that_is_cut_off(saved):
    raw = saved.read_bytes()
    for length in (0, 1, 7, 8, 9, 100, len(raw) // 2, len(raw) - 4, len(raw) - 1):
        saved.write_bytes(raw[:length])
        with pytest.raises(ValueError, match=r"no whole safetensors file.*save the model again"):
            load_classifier(saved)
    saved.write_bytes(raw + b"\0")
    with pytest.raises(ValueError, match="no whole safetensors file"):
        load_classifier(saved)


class Trap:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_a_file_of_another_kind(tmp_path):
    path, sprung = tmp_path / "model", tmp_path / "sprung"
    torch.save(make().state_dict(), path)
    with pytest.raises(ValueError, match="no whole safetensors file"):
        load_classifier(path)
    path.write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(ValueError, match="no whole safetensors file"):
        load_classifier(path)
    assert not sprung.exists(), "code inside the file was run"
    save_file(make().state_dict(), path)
    with pytest.raises(ValueError, match=r"was not written by rnnbook.*save the model again"):
        load_classifier(path)
    save_tensors(path, make().state_dict(), {"config": "{}"})
    with pytest.raises(ValueError, match="was not written by save_classifier"):
        load_classifier(path)
    for missing in (tmp_path / "nothing", tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no file"):
            load_classifier(missing)


def test_another_vocabulary_is_refused(saved):
    before = saved.read_bytes()
    with pytest.raises(ValueError, match="the model has 10 tokens, this vocabulary 3"):
        save_classifier(saved, make(), Vocab((PAD, UNKNOWN, "a")))
    assert saved.read_bytes() == before


@pytest.mark.parametrize("letters", ["abcdefhg", "abcdefgi"])
def test_another_vocabulary_of_the_same_size_is_refused_once_its_hash_is_known(saved, letters):
    other, before = Vocab((PAD, UNKNOWN, *letters)), saved.read_bytes()
    classify(make(), other, ["a"])  # a new model has met no vocabulary yet
    model, vocab = load_classifier(saved)
    message = "not the model's vocabulary: the same size, but another order or other tokens"
    with pytest.raises(ValueError, match=message):
        classify(model, other, ["a"])
    with pytest.raises(ValueError, match=message):
        save_classifier(saved, model, other)
    assert saved.read_bytes() == before
    save_classifier(saved, model, Vocab(vocab.tokens))
    assert classify(load_classifier(saved)[0], VOCAB, ["a"]).shape == (1, 2)


@pytest.mark.parametrize("method", ["write_bytes", "replace"])
def test_a_failure_while_writing_leaves_the_old_file_and_no_half_one(saved, monkeypatch, method):
    before, whole = saved.read_bytes(), Path.write_bytes

    def full_disk(self: Path, content: object) -> None:
        if method == "write_bytes":
            whole(self, content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, method, full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_classifier(saved, make(num_layers=2), VOCAB)
    monkeypatch.undo()
    assert saved.read_bytes() == before
    assert [file.name for file in saved.parent.iterdir()] == [saved.name]


# --- classify ------------------------------------------------------------------------------------


def test_classify_gives_the_probabilities_of_each_text():
    model = make(dropout=0.5, word_dropout=0.5, num_classes=3).train()
    texts = ["A b, c!", "h g f e d c b a", "never a"]
    probabilities = classify(model, VOCAB, texts)
    assert model.training, "the mode was not put back"
    assert not probabilities.requires_grad
    assert probabilities.shape == (3, 3)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(3))
    model.eval()
    for text, row in zip(texts, probabilities, strict=True):
        ids = VOCAB.encode(tokenize(text))
        torch.testing.assert_close(row, model(*pad_sequences([ids])).softmax(dim=1)[0])
        torch.testing.assert_close(row, classify(model, VOCAB, [text])[0])
    assert not model.training


def test_classify_shortens():
    model = make().eval()
    short = classify(model, VOCAB, ["a b c", "g a", "a h"])
    torch.testing.assert_close(classify(model, VOCAB, ["a b c d e"], max_len=3)[0], short[0])
    torch.testing.assert_close(classify(model, VOCAB, ["a b c h"], max_len=2, last=1)[0], short[2])


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        ("a bare text", TypeError, r"a list of texts, got one str: write \[text\]"),
        (["a", ""], ValueError, "text 1 is empty"),
        ([" \u200b<br />"], ValueError, "text 0 is empty"),
        (
            ["a", "xyzzy plugh"],
            ValueError,
            "text 1: none of its 2 tokens is in the vocabulary, starting 'xyzzy",
        ),
        ([], ValueError, "at least one sequence, got none"),
        ([None], TypeError, "one str, got NoneType"),
    ],
)
def test_classify_refuses(texts, error, message):
    with pytest.raises(error, match=message):
        classify(make(), VOCAB, texts)


def test_classify_refuses_a_vocabulary_of_another_size():
    with pytest.raises(ValueError, match="the model has 10 tokens, this vocabulary 3"):
        classify(make(), Vocab((PAD, UNKNOWN, "a")), ["a"])


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rnn_type": "LSTM"}, "unknown rnn_type 'LSTM'; known: rnn, lstm, gru"),
        ({"pooling": "sum"}, r"unknown pooling 'sum'; known: last, mean, max, mean\+max"),
        ({"num_layers": 0}, "num_layers of at least 1, got 0"),
        ({"word_dropout": 1.5}, "word_dropout from 0 to below 1, got 1.5"),
        ({"word_dropout": -0.1}, "word_dropout from 0 to below 1, got -0.1"),
        ({"dropout": 1.5}, "dropout probability has to be between 0 and 1"),
    ],
)
def test_configurations_that_are_none(options, message):
    with pytest.raises(ValueError, match=message):
        TextClassifier(ClassifierConfig(**asdict(ClassifierConfig(10)) | options))


@pytest.mark.parametrize(
    ("tokens", "lengths", "error", "message"),
    [
        ([2, 3], [2], ValueError, r"tokens of shape \(batch, time\), got \(2,\)"),
        ([[2, 10]], [2], ValueError, "ids from 0 to 9, got 2 to 10"),
        ([[2, -1]], [2], ValueError, "ids from 0 to 9, got -1 to 2"),
        ([[2.0, 3.0]], [2], TypeError, r"ids as integers, got torch\.float32"),
        ([[2, 3]], [3], ValueError, "lengths from 1 to T = 2, got 3 to 3"),
        ([[2, 3]], [0], ValueError, "lengths from 1 to T = 2, got 0 to 0"),
        ([[2, 3]], [2.0], TypeError, r"lengths as integers, got torch\.float32"),
        ([[2, 3]], [2, 2], ValueError, r"shape \(1,\), got \(2,\)"),
        ([[2, 3], [4, 5], [6, 7]], [3, 3], ValueError, r"shape \(3,\), got \(2,\)"),  # time before batch
    ],
)
def test_input_that_does_not_fit(tokens, lengths, error, message):
    with pytest.raises(error, match=message):
        make()(torch.tensor(tokens), torch.tensor(lengths))


@pytest.mark.parametrize(
    ("tokens", "lengths", "row"),
    [
        ([[2, 3, 4], [5, 0, 0]], [1, 3], 0),  # lengths of the other row
        ([[2, 3, 4], [5, 6, 0]], [3, 1], 1),  # a token behind the end
        ([[2, 3, 4], [5, 0, 0]], [3, 2], 1),  # padding before the end
        ([[2, 0, 4]], [3], 0),
    ],
)
def test_lengths_of_other_rows(tokens, lengths, row):
    message = rf"row {row}: its length is {lengths[row]}, .*lengths seem to belong to other rows"
    with pytest.raises(ValueError, match=message):
        make()(torch.tensor(tokens), torch.tensor(lengths))


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3, 1), (4,)])
def test_only_batch_time_feature_is_a_padded_batch(shape):
    x, message = torch.zeros(shape), r"expected shape \(batch, time, feature\), got \(4,"
    with pytest.raises(ValueError, match=message):
        pool(x, LENGTHS, "last")
    with pytest.raises(ValueError, match=message):
        reverse_real(x, LENGTHS)
    with pytest.raises(ValueError, match=message):
        RecurrentStack("gru", 6, 4)(x, LENGTHS)


def test_lengths_are_checked_wherever_they_enter():
    x, lengths = torch.zeros(4, 5, 3), LENGTHS
    message = "lengths from 1 to T = 5, got 1 to 6"
    for how in POOLINGS:
        with pytest.raises(ValueError, match=message):
            pool(x, lengths, how)
    with pytest.raises(ValueError, match=message):
        reverse_real(x, lengths)
    with pytest.raises(ValueError, match=message):
        RecurrentStack("gru", 3, 4)(x, lengths)
    with pytest.raises(ValueError, match="unknown pooling 'first'"):
        pool(x, lengths, "first")
