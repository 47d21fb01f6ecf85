"""What PyTorch and Python accept in silence, one row each: here it is an error where it enters."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from rnnbook import layers
from rnnbook.batches import Batches, length_mask, pad_sequences
from rnnbook.cells import GRUCell, unroll
from rnnbook.classifier import ClassifierConfig, TextClassifier, classify, load_classifier, save_classifier
from rnnbook.corpus import Split, check_parts, read_texts, split_texts
from rnnbook.encoders import RecurrentStack
from rnnbook.files import load_tensors, save_tensors
from rnnbook.losses import classification_loss, squared_error
from rnnbook.models import pool
from rnnbook.text import PAD, UNKNOWN, Vocab, characters, tokenize
from rnnbook.train import train, validate

VOCAB = Vocab((PAD, UNKNOWN, "a", "b", "c"))
OTHER_ORDER = Vocab((PAD, UNKNOWN, "b", "a", "c"))
TOKENS, LENGTHS = torch.tensor([[2, 3, 4], [4, 2, 0]]), torch.tensor([3, 2])
X = torch.zeros(2, 3, 4)


def model():
    torch.manual_seed(0)
    return TextClassifier(ClassifierConfig(len(VOCAB), embedding_dim=3, hidden_size=2))


def line():
    return nn.Linear(1, 2)


def points(value=1.0, count=4):
    return torch.full((count, 1), value), torch.zeros(count, dtype=torch.int64)


def part(texts, of=2):
    """Make a part of these texts, of which each one in ``of`` has label 1."""
    return Split(tuple(map(str, texts)), torch.arange(len(texts)).remainder(of).eq(1).long().numpy())


def saved(folder):
    save_classifier(folder / "model.safetensors", model(), VOCAB)
    return folder / "model.safetensors"


def flip_a_bit(folder):
    path = saved(folder)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    return load_classifier(path)


def cut_off(folder):
    path = saved(folder)
    path.write_bytes(path.read_bytes()[:-40])
    return load_classifier(path)


def without_a_weight(folder):
    tensors, metadata = load_tensors(saved(folder), "save it again")
    del tensors["readout.bias"]
    metadata.pop("sha256", None)
    save_tensors(folder / "part.safetensors", tensors, metadata)
    return load_classifier(folder / "part.safetensors")


def a_pickle(folder):
    (folder / "model.pt").write_bytes(pickle.dumps(print))
    return load_classifier(folder / "model.pt")


def other_weights(folder):
    save_file({"weight": torch.zeros(2)}, folder / "other.safetensors")
    return load_classifier(folder / "other.safetensors")


def with_the_other_vocabulary(folder):
    trained, _ = load_classifier(saved(folder))
    return classify(trained, OTHER_ORDER, ["a b"])


def a_file(text, **columns):
    def read(folder):
        (folder / "mine.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_texts(folder / "mine.csv", **columns)

    return read


ROWS = [
    # Shapes
    ("2-D input to a loop over time", lambda _: unroll(GRUCell(4, 2), X[0]), ValueError, "missing axis"),
    ("2-D input to an encoder", lambda _: RecurrentStack("gru", 4, 2)(X[0], LENGTHS), ValueError, "feature"),
    (
        "time and batch exchanged",
        lambda _: RecurrentStack("gru", 4, 2)(X.transpose(0, 1), LENGTHS),
        ValueError,
        r"one length a row, shape \(3,\), got \(2,\)",
    ),
    (
        "batch_first forgotten, with a state",
        lambda _: layers.GRU(4, 2)(X, torch.zeros(1, 2, 2)),
        ValueError,
        r"h_0 of shape \(1, 3, 2\), got \(1, 2, 2\)",
    ),
    (
        "a state kept from another batch size",
        lambda _: unroll(GRUCell(4, 2), X, torch.zeros(5, 2)),
        ValueError,
        "belongs to the batch",
    ),
    # Lengths
    ("a length above T", lambda _: length_mask(torch.tensor([4]), 3), ValueError, "from 1 to T = 3, got 4"),
    ("a length of zero", lambda _: pool(X, torch.tensor([3, 0]), "last"), ValueError, "no last state"),
    ("a negative length", lambda _: pool(X, torch.tensor([3, -1]), "mean"), ValueError, "got -1"),
    ("a length as a float", lambda _: pool(X, torch.tensor([3.0, 2.0]), "max"), TypeError, "as integers"),
    (
        "lengths on the wrong rows after sorting",
        lambda _: model()(TOKENS, LENGTHS.flip(0)),
        ValueError,
        "other rows",
    ),
    # Tokens and vocabulary
    ("an id outside the vocabulary", lambda _: model()(TOKENS + 1, LENGTHS), ValueError, "from 0 to 4"),
    ("vectors in the place of ids", lambda _: model()(TOKENS.float(), LENGTHS), TypeError, "not vectors"),
    ("a vocabulary in another order", with_the_other_vocabulary, ValueError, "order"),
    ("a text as tokens", lambda _: VOCAB.encode("abc"), TypeError, "call tokenize"),
    ("an empty text", lambda _: classify(model(), VOCAB, ["a", " "]), ValueError, "text 1 is empty"),
    ("only unknown words", lambda _: classify(model(), VOCAB, ["x y"]), ValueError, "none of its 2 tokens"),
    (
        "an empty sequence",
        lambda _: pad_sequences([TOKENS[0], TOKENS[0, :0]]),
        ValueError,
        "sequence 1 is empty",
    ),
    (
        "a text longer than any limit",
        lambda _: classify(model(), VOCAB, ["a " * 20_000]),
        ValueError,
        "20,000 tokens.*max_len",
    ),
    # Labels
    (
        "labels (B,) against predictions (B, 1)",
        lambda _: squared_error(torch.zeros(4, 1), torch.zeros(4)),
        ValueError,
        r"\(4, 1\).*\(4,\)",
    ),
    (
        "logits for each token, one label a text",
        lambda _: classification_loss(torch.zeros(2, 3, 2), torch.tensor([0, 1])),
        ValueError,
        r"\(2, 3, 2\) and \(2,\)",
    ),
    (
        "class labels as floats",
        lambda _: classification_loss(torch.zeros(2, 2), torch.zeros(2)),
        TypeError,
        "class numbers",
    ),
    (
        "labels as floats in batches",
        lambda _: Batches(list(TOKENS), [0.0, 1.0], batch_size=2),
        TypeError,
        "class numbers as integers",
    ),
    (
        "a split with one class",
        lambda _: split_texts([f"text {i}" for i in range(30)], [1] * 30),
        ValueError,
        "at least two classes",
    ),
    # Parts
    (
        "an empty part",
        lambda _: check_parts({"train": part("abcd"), "test": part("")}, "np"),
        ValueError,
        "test is empty",
    ),
    (
        "a part without a class",
        lambda _: check_parts({"train": part("abcd"), "test": part("e")}, "np"),
        ValueError,
        "test lacks class p",
    ),
    (
        "a label of no class",
        lambda _: check_parts({"train": part("abcd")}, "n"),
        ValueError,
        "train holds label 1, expected 0 to 0",
    ),
    (
        "a test text in the training part",
        lambda _: check_parts({"train": part("abcd"), "test": part("eC")}, "np"),
        ValueError,
        "1 texts of the part test stand in train",
    ),
    (
        "parts of a sorted file",
        lambda _: check_parts({"train": part(range(99)), "test": part(range(99, 160), 5)}, "np"),
        ValueError,
        "(n is 51%|p is 49%) in the part train and (8|2)0% in test",
    ),
    # Training
    ("a loss of NaN", lambda _: train(line(), [points(float("nan"))]), FloatingPointError, "loss nan"),
    (
        "an infinite gradient",
        lambda _: train(line(), [points(1e38), points(-1e38)], learning_rate=1e30),
        FloatingPointError,
        "gradient norm (inf|nan)",
    ),
    (
        "a loss of NaN on validation",
        lambda _: validate(line(), [points(float("nan"))]),
        FloatingPointError,
        "is nan",
    ),
    (
        "a generator that is empty after one epoch",
        lambda _: train(line(), (points() for _ in range(3)), num_epochs=2),
        ValueError,
        "is a generator",
    ),
    ("no batch at all", lambda _: train(line(), []), ValueError, "no batches to train on"),
    # Files
    ("a flipped bit", flip_a_bit, ValueError, "model.safetensors was changed"),
    ("a file that is cut off", cut_off, ValueError, "model.safetensors is no whole safetensors file"),
    ("a file without one of the weights", without_a_weight, RuntimeError, "Missing key.*readout.bias"),
    ("a pickle, which would run code", a_pickle, ValueError, "model.pt is no whole safetensors file"),
    ("weights of something else", other_weights, ValueError, "other.safetensors"),
    (
        "a weight that is left out",
        lambda _: layers.GRU(2, 2).load_state_dict({}),
        RuntimeError,
        "Missing key",
    ),
    # A reader's own file
    ("an unclosed quote", a_file('text,label\n"good,1\nbad,0\n'), ValueError, r"mine.csv, line 2: .*quote"),
    (
        "a column too many",
        a_file("text,label\nwell, then,1\n"),
        ValueError,
        "line 2: expected 2 columns, got 3",
    ),
    ("a label that is no number", a_file("text,label\ngood,yes\n"), ValueError, "line 2.*'yes'"),
    ("an empty text in a file", a_file("text,label\ngood,1\n,0\n"), ValueError, "line 3: the text is empty"),
    (
        "numbers of rows as labels",
        a_file("id,text,label\n1,a,0\n2,b,1\n3,c,1\n", label_column="id"),
        ValueError,
        "'id' is no label column: 3 of 3 rows have one for themselves; the columns are .*'label'",
    ),
    (
        "a column of texts as labels",
        a_file("id,text,label\n1,a,0\n", label_column="text", text_column="id"),
        ValueError,
        "line 2: expected a class number from 0 as label, got 'a' .columns: .*'label'",
    ),
    ("one label for all", a_file("text,label\na,1\nb,1\n"), ValueError, "1 in all 2 rows"),
    ("no column names", a_file("good,1\nbad,0\n"), ValueError, "column names text and label"),
    ("bytes that are not UTF-8", a_file(b"text,label\ncaf\xe9,1\n"), ValueError, "line 2|UTF-8"),
]


@pytest.mark.parametrize(("run", "error", "words"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_it_is_refused_in_words(run, error, words, tmp_path):
    with pytest.raises(error, match=words):
        run(tmp_path)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("\ufefftext,label\ngood,1\n", "good"),
        ("text,label\none\u2028line,1\n", "one\u2028line"),
        ("text,label\nNA,1\n", "NA"),
        ("text,label\nnull,1\n", "null"),
        ('text,label\n"two\nlines",1\n', "two\nlines"),
    ],
    ids=["byte-order mark", "line separator", "NA", "null", "line break in quotes"],
)
def test_these_traps_lose_nothing(content, text, tmp_path):
    texts, labels = a_file(content)(tmp_path)
    assert (texts, labels.tolist()) == ((text,), [1])


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("caf\u00e9", "cafe\u0301"),
        ("\ufeffgood", "good"),
        ("go\u200bod", "good"),
        ("\uff47\uff4f\uff4f\uff44", "good"),
        ("don\u2019t", "don't"),
    ],
    ids=["composed accents", "byte-order mark", "invisible space", "full width", "apostrophe"],
)
@pytest.mark.parametrize("cut", [tokenize, characters])
def test_spellings_that_look_alike_are_alike(cut, one, two):
    assert cut(one) == cut(two)
