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

from rnnbook.batches import pad_sequences
from rnnbook.classifier import (
    LONGEST,
    ClassifierConfig,
    TextClassifier,
    classify,
    classify_file,
    load_classifier,
    save_classifier,
    unknown_shares,
)
from rnnbook.encoders import LAYERS, reverse_real
from rnnbook.files import save_tensors
from rnnbook.models import Pooling
from rnnbook.text import PAD, UNKNOWN, Vocab, characters, tokenize

VOCAB = Vocab((PAD, UNKNOWN, *"abcdefgh"))
FORMS = [(*form, None) for form in product(LAYERS, Pooling.known, (False, True), (1, 2))]
FORMS += [(*form, 2, 2) for form in product(LAYERS, ("mean", "max", "attention"), (False, True))]
LENGTHS = torch.tensor([3, 6, 1, 4])

every_form = pytest.mark.parametrize(("rnn_type", "pooling", "bidirectional", "num_layers", "window"), FORMS)


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


def of_form(
    rnn_type: str, pooling: str, bidirectional: bool, num_layers: int, window: int | None
) -> TextClassifier:
    options = {"rnn_type": rnn_type, "pooling": pooling, "bidirectional": bidirectional}
    return make(**options, num_layers=num_layers, num_classes=3, window=window).double()


def unchecked(model: TextClassifier, tokens: Tensor, lengths: Tensor) -> Tensor:
    """Do what forward does after its checks."""
    return model.from_vectors(model.embed(tokens), lengths)


def batch() -> tuple[Tensor, Tensor]:
    """Draw token ids (4, 6) with zeros as padding, and their lengths."""
    tokens = torch.randint(2, 10, (4, 6), generator=torch.Generator().manual_seed(1))
    return tokens.masked_fill(torch.arange(6) >= LENGTHS[:, None], 0), LENGTHS


# --- padding, batches ----------------------------------------------------------------------------


@every_form
def test_padding_changes_nothing(rnn_type, pooling, bidirectional, num_layers, window):
    model = of_form(rnn_type, pooling, bidirectional, num_layers, window)
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
def test_a_row_alone_is_the_row_in_its_batch(rnn_type, pooling, bidirectional, num_layers, window):
    model = of_form(rnn_type, pooling, bidirectional, num_layers, window)
    tokens, lengths = batch()
    whole = model(tokens, lengths)
    assert whole.shape == (4, 3)
    for i, length in enumerate(lengths.tolist()):
        alone = model(tokens[i : i + 1, :length], lengths[i : i + 1])
        torch.testing.assert_close(alone[0], whole[i], rtol=0, atol=1e-12)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(model(tokens[order], lengths[order]), whole[order], rtol=0, atol=1e-12)
    assert (whole[0] - whole[1]).abs().max() > 1e-4


@pytest.mark.parametrize("pooling", Pooling.known)
def test_every_real_token_matters_and_so_does_the_order(pooling):
    model = of_form("gru", pooling, True, 1, None)
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


# --- windows, attention --------------------------------------------------------------------------


def test_a_text_as_long_as_the_window_is_read_whole():
    tokens, lengths = batch()
    whole, cut, exact = make(), make(window=5), make(window=6)
    for model in (cut, exact):
        model.load_state_dict(whole.state_dict(), strict=True)
    assert torch.equal(exact(tokens, lengths), whole(tokens, lengths))
    torch.testing.assert_close(cut(tokens, lengths)[[0, 2, 3]], whole(tokens, lengths)[[0, 2, 3]])
    assert (cut(tokens, lengths)[1] - whole(tokens, lengths)[1]).abs().max() > 1e-4


def test_pooling_goes_over_all_windows():
    model, tokens = make(window=2, pooling="max").double(), torch.tensor([[2, 3, 4, 5, 6]])
    pieces = tokens.split(2, dim=1)
    outputs = [model.rnn(model.embed(piece), torch.tensor([piece.shape[1]]))[0] for piece in pieces]
    expected = model.readout(torch.cat(outputs).amax(dim=0))
    torch.testing.assert_close(model(tokens, torch.tensor([5]))[0], expected)


@pytest.mark.parametrize("window", [None, 2])
def test_the_weights_of_attention_make_the_pooled_vector(window):
    model, (tokens, lengths) = make(pooling="attention", window=window), batch()
    seen: list[Tensor] = []
    model.readout.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(tokens, lengths)
    weights = model.attention(tokens, lengths)  # (B, T)
    assert torch.equal(weights > 0, tokens != 0)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(4))
    assert weights[1].max() > 1.01 * weights[1].min()
    outputs = model.encode(model.embed(tokens), lengths)
    torch.testing.assert_close(torch.einsum("bt,bth->bh", weights, outputs), seen[0])


def test_attention_is_asked_of_a_model_that_has_it():
    with pytest.raises(ValueError, match=r"expected a model with pooling 'attention', .* 'mean\+max'"):
        make().attention(*batch())
    with pytest.raises(ValueError, match="ids from 0 to 9, got 2 to 10"):
        make(pooling="attention").attention(torch.tensor([[2, 10]]), torch.tensor([2]))


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
    options = {
        "rnn_type": rnn_type,
        "bidirectional": True,
        "num_layers": 2,
        "pooling": "attention",
        "window": 2,
    }
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


def test_many_texts_are_classified_in_their_order():
    texts = [" ".join("abcdefgh"[i % 8] for i in range(j, j + 1 + j % 5)) for j in range(150)]
    model = make()
    alone = torch.cat([classify(model, VOCAB, [text]) for text in texts])
    torch.testing.assert_close(classify(model, VOCAB, texts), alone)


# --- a file of texts -----------------------------------------------------------------------------


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "texts.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_file_has_one_text_a_line(tmp_path, end, mark):
    lines = ["a b, c", "", " h g ", "\u200b \t", 'a "b\u2028c\x85d']
    texts, probabilities = classify_file(make(), VOCAB, str(written(tmp_path, mark + end.join(lines))))
    assert texts == ("a b, c", " h g ", 'a "b\u2028c\x85d')
    torch.testing.assert_close(probabilities, classify(make(), VOCAB, texts))


LONG = "a b " * 25_000  # 100,000 characters


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "a\n\n" + LONG + "\n",
            r"texts\.txt, line 3 has 50,000 tokens: give max_len, or cut texts above 10,000",
        ),
        ("a\n" + "a" * 100_000, "line 2: none of its 1 tokens is in the vocabulary, starting 'aaaaa"),
        ("a\n\n这部电影很好看 !", "line 3: none of its 2 tokens is in the vocabulary, starting '这部"),
        ("a\n___\n", "line 2 is empty: there is nothing to classify in '___'"),
        (b"a\n\nb\n\xff\xfea\n", r"texts\.txt, line 4: byte 0xff is not UTF-8; save the file as UTF-8"),
        ("a\n".encode("utf-16"), "line 1: byte 0xff is not UTF-8"),
        ("", r"texts\.txt: expected one text a line, found none"),
        ("\n \n\n", "expected one text a line, found none"),
    ],
)
def test_a_file_that_cannot_be_classified(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        classify_file(make(), VOCAB, written(tmp_path, content))


def test_a_long_line_is_shortened_when_asked(tmp_path):
    texts, probabilities = classify_file(make(), VOCAB, written(tmp_path, f"{LONG}h"), max_len=3, last=1)
    assert texts == (f"{LONG}h",)
    assert len(LONG.split()) > LONGEST
    torch.testing.assert_close(probabilities, classify(make(), VOCAB, ["a b h"]))


def test_a_file_needs_the_vocabulary_of_its_model_and_a_place(tmp_path):
    with pytest.raises(ValueError, match="the model has 10 tokens, this vocabulary 3"):
        classify_file(make(), Vocab((PAD, UNKNOWN, "a")), written(tmp_path, "a"))
    with pytest.raises(FileNotFoundError):
        classify_file(make(), VOCAB, tmp_path / "nothing.txt")


def test_shares_of_unknown_tokens():
    texts = ["a b", "a x", "x y z a", "", "x", "a, b, c!"]
    torch.testing.assert_close(unknown_shares(VOCAB, texts), torch.tensor([0.0, 0.5, 0.75, 1.0, 1.0, 0.5]))


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rnn_type": "LSTM"}, "unknown rnn_type 'LSTM'; known: rnn, lstm, gru"),
        ({"pooling": "sum"}, r"unknown pooling 'sum'; known: last, mean, max, mean\+max, attention"),
        ({"num_layers": 0}, "num_layers of at least 1, got 0"),
        ({"word_dropout": 1.5}, "word_dropout from 0 to below 1, got 1.5"),
        ({"word_dropout": -0.1}, "word_dropout from 0 to below 1, got -0.1"),
        ({"window": 0}, "a window of at least one token, or None, got 0"),
        ({"window": 5, "pooling": "last"}, "pooling 'last' with a window reads the last window alone"),
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


def test_the_tokens_are_cut_as_in_training(tmp_path):
    words = ("好", "坏", "很")
    vocab = Vocab(("<pad>", "<unk>", *words))
    model = TextClassifier(ClassifierConfig(len(vocab), embedding_dim=4, hidden_size=4)).eval()
    expected = model(torch.tensor([[4, 2]]), torch.tensor([2])).softmax(dim=1)
    assert torch.equal(classify(model, vocab, ["很好"], cut=characters), expected)
    with pytest.raises(ValueError, match="none of its 1 tokens"):
        classify(model, vocab, ["很好"])  # without blanks: one unknown word
    path = tmp_path / "texts.txt"
    path.write_text("很好\n", encoding="utf-8")
    assert torch.equal(classify_file(model, vocab, path, cut=characters)[1], expected)
    assert unknown_shares(vocab, ["很棒"], cut=characters).tolist() == [0.5]
