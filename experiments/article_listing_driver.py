"""The part of ``experiments.article_listing`` that runs under an interpreter with TensorFlow.

It reads a job as JSON from its input and prints what happened as one line of JSON. It needs nothing of
this book and imports TensorFlow only when it has a job. A listing is run as it stands; where it stops,
the stop is recognised by its message, the repair that belongs to it is made, and it is run again: the
order of the failures is found, not written down. A repair never adds or removes a line.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import platform
import re
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

LOOK_UP = "texts = tokenizer.texts_to_sequences(texts)"
# claim: (how its stop is recognised, [(what is replaced, by what)]).
REPAIRS: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "C34": (
        r"^ImportError: cannot import name 'text'",
        [(r"preprocessing\.text import", "preprocessing import")],
    ),
    "C35": (r"^NameError: name 'tf'", [(r"^import numpy as np$", "import numpy as np, tensorflow as tf")]),
    "C37": (
        r"^AttributeError: .*'texts_to_sequences'",
        [
            (
                r"^texts = (\S+\.)texts_to_sequences\(texts\)",
                rf"tokenizer = \1Tokenizer(); tokenizer.fit_on_texts(texts); {LOOK_UP}",
            )
        ],
    ),
    "C33": (
        r"^AttributeError: 'ellipsis' object",
        [(r"^(text\w*) = \[\.\.\.\]", r"\1 = TEXTS"), (r"^(label\w*) = \[\.\.\.\]", r"\1 = LABELS")],
    ),
    "C38": (
        r"^AttributeError: .*'label_token_sequence_length'",
        [(r"^labels = .*label_token_sequence_length\(labels\)", "labels = labels.astype('float32')")],
    ),
    "C40": (
        r"^ValueError: (Failed to find data adapter|Unrecognized data type|.*inhomogeneous)",
        [
            (
                re.escape(LOOK_UP),
                "texts = tf.keras.preprocessing.sequence.pad_sequences(tokenizer.texts_to_sequences(texts))",
            )
        ],
    ),
    "C42": (r"^ValueError: .*expected ndim=3, found ndim=4", [(r"^model\.add\(Embedding\(32, 16.*", "pass")]),
    "C43": (r"^ValueError: .*must have the same (rank|shape)", [(r", return_sequences=True", "")]),
    "C41": (
        r"^InvalidArgumentError: .*is not in \[0, 64\)",
        [(r"Embedding\(64,", "Embedding(len(tokenizer.word_index) + 1,")],
    ),
}


def clean(message: str, limit: int = 240) -> str:
    """Take folders, colours, frames of the trace and counters out of a message, and shorten it."""
    message = re.sub(r"\x1b\[[0-9;]*m", "", message)
    message = re.sub(r'^ +File ".*\n.*\n', "", message, flags=re.MULTILINE)
    message = re.sub(r"(?:/[\w.+@-]+)+/(?:site-packages|lib/python[\d.]+)/", "…/", message)
    message = re.sub(r"(?<![\w.…/:])(?:/[\w.+@-]+){2,}", "…", message)
    message = re.sub(r"\[\[\{\{node .*", "", message, flags=re.DOTALL)
    message = re.sub(r"\s+", " ", message).strip()
    return message if len(message) <= limit else message[:limit].rstrip() + " …"


def stop_of(source: str, name: str, namespace: dict[str, Any]) -> dict[str, Any] | None:
    """Run a listing; return where and how it stopped, or ``None`` when it came to its end."""
    try:
        exec(compile(source, name, "exec"), namespace)  # noqa: S102 (to run it is what this file is for)
    except Exception as error:  # noqa: BLE001 (whatever stops it)
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == name]
        line = frames[-1].lineno or 0
        statements = [node.lineno for node in ast.parse(source).body]
        return {
            "line": line,
            "statement": sum(first <= line for first in statements),
            "exception": type(error).__name__,
            "message": str(error),
        }
    return None


def code(line: str) -> str:
    """Return a line without its comment."""
    return line.split("#")[0].strip()


def mend(source: str, claim: str) -> tuple[str, list[dict[str, Any]]]:
    """Make the repairs of a claim: ``(source, changed lines)``."""
    lines = source.split("\n")
    mended = list(lines)
    for i, line in enumerate(lines):
        for wrong, right in REPAIRS[claim][1]:
            mended[i] = re.sub(wrong, right, mended[i])
        assert "\n" not in mended[i], line
    changed = [
        {"line": i + 1, "before": code(old), "after": code(new)}
        for i, (old, new) in enumerate(zip(lines, mended, strict=True))
        if old != new
    ]
    if not changed:
        raise RuntimeError(f"{claim}: the listing has no line that its repair could change")
    return "\n".join(mended), changed


def climb(
    source: str, name: str, given: dict[str, Any], before: Callable[[], None] = lambda: None
) -> tuple[list[dict[str, Any]], str, dict[str, Any]]:
    """Run and mend a listing until it comes to its end: ``(stops, last source, last namespace)``.

    ``before`` is called ahead of each run. Raises ``RuntimeError`` for a stop that no repair is for.
    """
    stops: list[dict[str, Any]] = []
    while True:
        before()
        namespace = dict(given)
        stop = stop_of(source, name, namespace)
        if stop is None:
            return stops, source, namespace
        whole = f"{stop['exception']}: " + re.sub(r"\s+", " ", stop["message"])
        claims = [claim for claim, (pattern, _) in REPAIRS.items() if re.search(pattern, whole)]
        if len(claims) != 1 or claims[0] in [done["claim"] for done in stops]:
            raise RuntimeError(f"{name}, line {stop['line']}: no repair for {clean(whole, 2000)}")
        stop |= {"claim": claims[0], "code": code(source.split("\n")[stop["line"] - 1])}
        stop["message"] = clean(stop["message"])
        source, stop["changed"] = mend(source, claims[0])
        stops.append(stop)


# --- what no message tells --------------------------------------------------------------------------


def network(tf: Any, num_words: int, mask: bool) -> Any:
    """Build the article's network with one embedding and one output a text."""
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [
            layers.Embedding(num_words, 32, mask_zero=mask),
            layers.LSTM(32),
            layers.Dense(16, activation="relu"),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    return model


def second_embedding(tf: Any, ids: Any) -> dict[str, Any]:
    """Look up the output of one embedding in another one, and differentiate through both."""
    first, second = tf.keras.layers.Embedding(64, 32), tf.keras.layers.Embedding(32, 16)
    with tf.GradientTape() as tape:
        inner = first(tf.constant(ids % 64))
        outer = second(inner)
        loss = tf.reduce_sum(outer**2)
    gradients = tape.gradient(loss, [first.trainable_weights[0], second.trainable_weights[0]])
    return {
        "largest_activation": float(tf.reduce_max(tf.abs(inner))),
        "output_shape": list(outer.shape),
        "distinct_rows": len(np.unique(outer.numpy().reshape(-1, 16), axis=0)),
        "distinct_ids": len(np.unique(ids % 64)),
        "gradient_of_first_is_none": gradients[0] is None,
        "gradient_of_second_is_none": gradients[1] is None,
    }


def output_per_token(tf: Any, ids: Any, labels: Any) -> dict[str, Any]:
    """Train with an output for each token, labels of shape (B,) and of shape (B, 1)."""
    found: dict[str, Any] = {}
    for shape in ("(B,)", "(B, 1)"):
        layers = tf.keras.layers
        model = tf.keras.Sequential(
            [
                layers.Embedding(int(ids.max()) + 1, 32),
                layers.LSTM(32, return_sequences=True),
                layers.Dense(1, activation="sigmoid"),
            ]
        )
        model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
        found["output_shape"] = list(model(ids).shape)
        try:
            model.fit(ids, labels if shape == "(B,)" else labels[:, None], epochs=1)
            found[shape] = "silent"
        except ValueError as error:
            found[shape] = f"{type(error).__name__}: {clean(str(error).split('ValueError: ')[-1])}"
    found["labels_shape"] = list(labels.shape)
    return found


def too_few_rows(tf: Any) -> dict[str, Any]:
    """Look up the ids 63, 64 and 230 in a table of 64 rows, in a program that XLA has compiled."""
    table = tf.keras.layers.Embedding(64, 32)
    table(tf.constant([[0]]))
    looked_up = tf.function(table, jit_compile=True)(tf.constant([[63, 64, 230]])).numpy()[0]
    rows = table.weights[0].numpy()
    found = [np.flatnonzero((rows == row).all(axis=1)).tolist() for row in looked_up]
    return {"ids": [63, 64, 230], "rows_when_compiled": [row[0] if row else None for row in found]}


def padding_is_read(tf: Any, model: Any, ids: Any) -> dict[str, Any]:
    """Pad the same texts further; return how far their probabilities move, without a mask and with one."""
    masked = network(tf, model.layers[0].input_dim, mask=True)
    masked(ids)
    masked.set_weights(model.get_weights())
    found = {}
    for side in ("pre", "post"):
        texts = [row[row > 0] for row in ids]
        for name, net in (("no_mask", model), ("mask", masked)):
            once, twice = (
                net.predict(
                    tf.keras.preprocessing.sequence.pad_sequences(texts, k * ids.shape[1], padding=side),
                    verbose=0,
                )
                for k in (1, 2)
            )
            found[f"{side}_{name}"] = float(np.abs(once - twice).max())
    return found


def control(tf: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Train the mended network on labels of a coin; score the same texts, and others."""
    tokenizer = tf.keras.preprocessing.text.Tokenizer(oov_token="<unk>")
    tokenizer.fit_on_texts(job["train"])
    train, fresh = (
        tf.keras.preprocessing.sequence.pad_sequences(tokenizer.texts_to_sequences(job[part]), 40)
        for part in ("train", "fresh")
    )
    found: dict[str, Any] = {"seen": [], "fresh": [], "seconds": []}
    for seed in job["seeds"]:
        tf.keras.utils.set_random_seed(seed)
        coin = np.random.default_rng(seed)
        labels, others = (coin.integers(0, 2, len(part)).astype("float32") for part in (train, fresh))
        start = time.process_time()
        model = network(tf, len(tokenizer.word_index) + 1, mask=True)
        model.fit(train, labels, epochs=job["epochs"], verbose=0)
        found["seconds"].append(time.process_time() - start)
        for name, ids, truth in (("seen", train, labels), ("fresh", fresh, others)):
            found[name].append(float(((model.predict(ids, verbose=0)[:, 0] > 0.5) == truth).mean()))
    return found | {"num_parameters": int(model.count_params())}


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Run both listings, then measure what they pass over in silence."""
    import tensorflow as tf
    from tensorflow.keras.preprocessing import text

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    given = {"TEXTS": job["texts"], "LABELS": job["labels"]}
    climbed = [
        climb(source, f"listing {k}", given, lambda: tf.keras.utils.set_random_seed(0))
        for k, source in enumerate(job["listings"], 1)
    ]
    _, source, space = climbed[1]
    ids, labels, model = space["texts"], space["labels"], space["model"]
    again = {**given}
    stop_of(source, "listing 2", again)
    scores = [s["model"].evaluate(s["texts"], s["labels"], verbose=0) for s in (space, again)]
    placeholder = np.array([...])
    return {
        "versions": {"python": platform.python_version()}
        | {"tensorflow": tf.__version__, "keras": version("keras"), "numpy": np.__version__},
        "stops": [stops for stops, _, _ in climbed],
        "measured": {
            "C33": {"dtype": str(placeholder.dtype), "shape": list(placeholder.shape)},
            "C41": too_few_rows(tf),
            "C42": second_embedding(tf, ids),
            "C43": output_per_token(tf, ids, labels),
            "C44": padding_is_read(tf, model, ids),
            "C45": control(tf, job["control"]),
        },
        "remarks": {
            "C36": {"before": type(text).__name__, "after": type(space["text"]).__name__},
            "C39": {"type": type(space["tokenizer"].texts_to_sequences(job["texts"])).__name__},
            "C46": {"two_runs": scores},
            "C47": {"numbers_returned_by_evaluate": len(scores[0]), "texts": len(ids)},
        },
    }


def main() -> None:
    """Read the job, run it with all chatter put aside, and print the answer."""
    job, heard = json.load(sys.stdin), io.StringIO()
    with contextlib.redirect_stdout(heard), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        answer = run(job)
    about = {clean(str(w.message)) for w in caught if "input_length" in str(w.message)}
    print(json.dumps(answer | {"warnings": sorted(about)}))


if __name__ == "__main__":
    main()
