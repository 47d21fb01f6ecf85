"""Multi30k, German to English: sub-words, attention, and the BLEU of a recurrent translator.

Run with ``RNNBOOK_DATA`` set to a folder that holds ``multi30k/{train,val,test_2016_flickr}.{de,en}.gz``::

    python -m experiments.multi30k --seeds 3

Captions of photographs (Elliott et al., 2016): 29,000 pairs to train on, 1,014 for choices, 1,000 for the
test. One vocabulary of sub-words for both languages is learnt from the training texts by byte-pair
encoding (Sennrich, Haddow and Birch, 2016). The model and its training were chosen on the validation
pairs, as is the length penalty of the beam; then each trained model translates the test.

Seconds are those of training and of validation after each epoch. Each run keeps its state in
``results/multi30k.runs/``, so an interrupted command goes on.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import math
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pooch
import sacrebleu
import sentencepiece
import torch
from sacrebleu.metrics import BLEU
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from torch import Tensor, nn

from experiments import arguments, command_line
from rnnbook.batches import PairBatches, pad_sequences
from rnnbook.checkpoint import History
from rnnbook.evaluate import corpus_bleu
from rnnbook.generate import beam_search, generate
from rnnbook.repro import count_parameters, cpu_seconds, pick_device, seed_everything
from rnnbook.results import Row, save_results, score_row
from rnnbook.seq2seq import Decoder, DecoderState, Encoder, Seq2Seq
from rnnbook.text import tokenize
from rnnbook.train import train as fit
from rnnbook.train import validate

RESULTS = Path(__file__).parents[1] / "results"
TEST, TASK = "test_2016_flickr", "Multi30k de→en, test 2016"
METRICS = {"sacrebleu": False, "sacrebleu_lowercase": True}
FROM = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw/"
SHA256 = {
    "train.de.gz": "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
    "train.en.gz": "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
    "val.de.gz": "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
    "val.en.gz": "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
    "test_2016_flickr.de.gz": "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
    "test_2016_flickr.en.gz": "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
}


@dataclass(frozen=True)
class Plan:
    """The model and how it is trained."""

    num_pieces: int = 6_000  # sub-words of both languages
    embedding_dim: int = 256
    hidden_size: int = 512
    dropout: float = 0.4
    batch_size: int = 32
    num_epochs: int = 30
    learning_rate: float = 2e-3
    label_smoothing: float = 0.1


PLAN = Plan()
EVERY = 3  # epochs, the BLEU of the validation pairs is taken
MAX_LEN = 80  # sub-words of a translation
BEAM, PENALTIES = 5, (0.6, 0.8, 1.0, 1.2)


@cache
def texts(part: str) -> tuple[list[str], list[str]]:
    """Read German and English sentences, one pair a line, from files that are those of the book."""
    both = []
    for name in (f"{part}.de.gz", f"{part}.en.gz"):
        path = Path(os.environ.get("RNNBOOK_DATA", "")) / "multi30k" / name
        if not path.is_file():
            path = Path(pooch.retrieve(FROM + name, SHA256[name], path=pooch.os_cache("rnnbook")))
        content = path.read_bytes()
        if (found := hashlib.sha256(content).hexdigest()) != SHA256[name]:
            raise ValueError(
                f"{path} is not the file of the book: sha256 {found[:12]}…, not {SHA256[name][:12]}…"
            )
        both.append(gzip.decompress(content).decode("utf-8").splitlines())
    return both[0], both[1]


@cache
def pieces() -> sentencepiece.SentencePieceProcessor:
    """Learn sub-words from both languages of the training texts."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*texts("train")[0], *texts("train")[1]]),
        model_writer=model,
        vocab_size=PLAN.num_pieces,
        model_type="bpe",
        character_coverage=1.0,
        pad_id=0,
        unk_id=1,
        bos_id=2,
        eos_id=3,
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def pairs(part: str) -> tuple[list[Tensor], list[Tensor]]:
    """Cut the German and the English sentences of a part into sub-words."""
    german, english = ([torch.tensor(ids) for ids in pieces().encode(side)] for side in texts(part))
    return german, english


def make_model() -> Seq2Seq:
    """Build the translator; both languages share one embedding."""
    encoder = Encoder(PLAN.num_pieces, PLAN.embedding_dim, PLAN.hidden_size, dropout=PLAN.dropout)
    decoder = Decoder(
        PLAN.num_pieces,
        PLAN.embedding_dim,
        PLAN.hidden_size,
        attention="multiplicative",
        dropout=PLAN.dropout,
    )
    encoder.embedding = decoder.embedding
    return Seq2Seq(encoder, decoder).to(pick_device())


def translate(
    model: nn.Module, sources: list[Tensor], beam_width: int = 1, length_penalty: float = 1.0
) -> list[str]:
    """Translate, the sentences of like length together; a width of 1 is greedy search."""
    model.eval()
    order = sorted(range(len(sources)), key=lambda i: len(sources[i]))
    found = [""] * len(sources)
    for start in range(0, len(order), 100):
        chosen = order[start : start + 100]
        source, lengths = pad_sequences([sources[i] for i in chosen])
        if beam_width == 1:
            rows = generate(model, source, lengths, max_len=MAX_LEN)
        else:
            rows, _ = beam_search(
                model, source, lengths, beam_width=beam_width, max_len=MAX_LEN, length_penalty=length_penalty
            )
        for i, text in zip(chosen, pieces().decode([row.tolist() for row in rows]), strict=True):
            found[i] = text
    return found


class Mixed(nn.Module):
    """A model whose products are taken in bfloat16 while it trains, where the processor can; else as it is."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the model's logits as float32."""
        able = inputs[0].is_cuda or torch.ops.mkldnn._is_mkldnn_bf16_supported()
        with torch.autocast(inputs[0].device.type, torch.bfloat16, enabled=able):
            logits: Tensor = self.model(*inputs)
        return logits.float()


def run(seed: int, folder: Path) -> Seq2Seq:
    """Train one translator, and note its progress on the validation pairs."""
    generator = seed_everything(seed)
    model = make_model()
    batches = PairBatches(*pairs("train"), batch_size=PLAN.batch_size, generator=generator)
    val = pairs("val")
    val_batches = PairBatches(*val, batch_size=128)
    last = time.process_time()

    def note(epoch: int, history: History) -> None:
        nonlocal last
        seconds = time.process_time() - last
        row = {"epoch": epoch + 1, "train_loss": history.train_loss[-1], "cpu_seconds": seconds}
        row["val_loss"] = validate(model, val_batches, nn.functional.cross_entropy)[0]
        if (epoch + 1) % EVERY == 0:
            row["val_bleu"] = corpus_bleu(translate(model, val[0]), texts("val")[1])[0]
        with (folder / f"{seed}.jsonl").open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(row) + "\n")
        print(seed, row, flush=True)
        model.train()
        last = time.process_time()

    fit(
        Mixed(model),
        batches,
        nn.CrossEntropyLoss(label_smoothing=PLAN.label_smoothing),
        num_epochs=PLAN.num_epochs,
        learning_rate=PLAN.learning_rate,
        checkpoint=folder / f"{seed}.safetensors",
        checkpoint_every=500,
        on_epoch=note,
    )
    return model


def progress(folder: Path, seed: int) -> list[dict[str, float]]:
    """Read what a run noted, one row an epoch; of an epoch that was gone through twice the last one."""
    lines = (folder / f"{seed}.jsonl").read_text(encoding="utf-8").splitlines()
    return list({row["epoch"]: row for row in map(json.loads, lines)}.values())


# --- baselines ---------------------------------------------------------------------------------------


def nearest_caption() -> list[str]:
    """Answer the English of the training caption whose German words are most like those of the source."""
    vectorizer = TfidfVectorizer(tokenizer=tokenize, token_pattern=None)
    known = vectorizer.fit_transform(texts("train")[0])
    nearest = (vectorizer.transform(texts(TEST)[0]) @ known.T).argmax(axis=1)
    return [texts("train")[1][i] for i in np.asarray(nearest).ravel()]


def word_by_word() -> list[str]:
    """Put for each German word, in its place, the English one that keeps its company (Dice coefficient)."""
    count = partial(CountVectorizer, tokenizer=str.split, token_pattern=None, lowercase=False, binary=True)
    german, english = count(), count()
    d, e = (part.fit_transform(text) for part, text in zip((german, english), texts("train"), strict=True))
    together = (d.T @ e).tocsr().astype(np.float64)
    sizes = np.asarray(d.sum(axis=0)).ravel()[:, None] + np.asarray(e.sum(axis=0)).ravel()[None]
    words = english.get_feature_names_out()
    best = {
        word: words[row.indices[np.argmax(2 * row.data / sizes[i, row.indices])]]
        for i, word in enumerate(german.get_feature_names_out())
        for row in (together[i],)
    }
    return [" ".join(best.get(word, word) for word in text.split()) for text in texts(TEST)[0]]


# --- scores ------------------------------------------------------------------------------------------


class Ensemble(nn.Module):
    """Several translators as one, by the mean of their probabilities; each keeps its own state."""

    class State(tuple[DecoderState, ...]):
        """One state a translator."""

        def rows(self, index: Tensor) -> Ensemble.State:
            """Take rows (N,) of each."""
            return Ensemble.State(state.rows(index) for state in self)

    def __init__(self, models: Sequence[Seq2Seq]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)

    def start(self, source: Tensor, lengths: Tensor) -> State:
        """Read sources (B, S) of these lengths (B,)."""
        return self.State(model.start(source, lengths) for model in self.models)

    def step(self, tokens: Tensor, states: State) -> tuple[Tensor, State]:
        """Read one token a row (B,); return the log-probabilities of the next one (B, V), and the states."""
        found = [model.step(tokens, state) for model, state in zip(self.models, states, strict=True)]
        mean = torch.stack([log_probs for log_probs, _ in found]).logsumexp(dim=0) - math.log(len(found))
        return mean, self.State(state for _, state in found)


def scored(translations: list[str]) -> dict[str, float]:
    """Score translations of the test by both forms of BLEU."""
    references = texts(TEST)[1]
    return {
        name: corpus_bleu(translations, references, lowercase=lower)[0] for name, lower in METRICS.items()
    }


def single_rows(model: str, translations: list[str], num_parameters: int, seconds: float = 0.0) -> list[Row]:
    """Make the rows of a system that is one of its kind: its interval is over test sentences."""
    rows = []
    for metric, lower in METRICS.items():
        found = BLEU(lowercase=lower).corpus_score(translations, [texts(TEST)[1]], n_bootstrap=1000)
        low, high = found.score - found._ci, found.score + found._ci
        note = "one system; 95 % bootstrap interval over 1,000 test sentences"
        rows.append(
            Row(
                TASK,
                model,
                metric,
                [0],
                [found.score],
                found.score,
                low,
                high,
                [round(seconds, 1)],
                num_parameters,
                note,
            )
        )
    return rows


def best_penalty(model: Seq2Seq) -> tuple[float, dict[str, float]]:
    """Choose the length penalty by the BLEU of the validation pairs."""
    german, _ = pairs("val")
    found = {p: corpus_bleu(translate(model, german, BEAM, p), texts("val")[1])[0] for p in PENALTIES}
    return max(found, key=lambda p: found[p]), {str(p): round(score, 2) for p, score in found.items()}


def examples(translations: list[str]) -> list[dict[str, str | float]]:
    """Choose ten translations: those in the middle of each tenth of the test, from worst to best."""
    found = [
        {
            "source": s,
            "reference": r,
            "translation": t,
            "bleu": round(sacrebleu.sentence_bleu(t, [r]).score, 1),
        }
        for s, r, t in zip(*texts(TEST), translations, strict=True)
    ]
    ranked = sorted(found, key=lambda example: (example["bleu"], example["source"]))
    return [ranked[(2 * i + 1) * len(ranked) // 20] for i in range(10)]


def main() -> None:
    """Train, translate the test, score, and write ``results/multi30k.json``."""
    given = arguments(__doc__, seeds=3)
    folder = RESULTS / "multi30k.runs"
    folder.mkdir(parents=True, exist_ok=True)
    models = [run(seed, folder) for seed in range(given.seeds)]
    curves = {seed: progress(folder, seed) for seed in range(given.seeds)}
    seconds = [sum(row["cpu_seconds"] for row in curve) for curve in curves.values()]
    penalty, penalties = best_penalty(models[0])
    german, _ = pairs(TEST)
    rows = []
    for name, baseline in (("nearest training caption", nearest_caption), ("word by word", word_by_word)):
        with cpu_seconds() as watch:
            answers = baseline()
        rows += single_rows(name, answers, 0, watch.seconds)
    size = count_parameters(models[0])
    for name, width in (("LSTM with attention, greedy", 1), (f"LSTM with attention, beam {BEAM}", BEAM)):
        found = [translate(model, german, width, penalty) for model in models]
        scores = [scored(part) for part in found]
        rows += [
            score_row(
                TASK,
                name,
                range(given.seeds),
                [score[metric] for score in scores],
                num_items=len(german),
                num_parameters=size,
                train_cpu_seconds=seconds,
                metric=metric,
            )
            for metric in METRICS
        ]
    together = translate(Ensemble(models), german, BEAM, penalty)
    rows += single_rows(
        f"the {given.seeds} together, beam {BEAM}", together, given.seeds * size, sum(seconds)
    )
    save_results(
        RESULTS / "multi30k.json",
        rows,
        command=command_line("multi30k", given),
        signatures={
            name: corpus_bleu(found[0], texts(TEST)[1], lowercase=lower)[1] for name, lower in METRICS.items()
        },
        plan=asdict(PLAN),
        length_penalty=penalty,
        validation_bleu=penalties,
        curve=curves,
        examples=examples(found[0]),
    )
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
