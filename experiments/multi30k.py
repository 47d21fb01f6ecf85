"""Multi30k, German to English: sub-words, attention, and the BLEU of a recurrent translator.

Run with ``RNNBOOK_DATA`` set to a folder that holds ``multi30k/{train,val,test_2016_flickr}.{de,en}.gz``::

    python -m experiments.multi30k --seeds 3

Captions of photographs (Elliott et al., 2016): 29,000 pairs to train on, 1,014 for choices, 1,000 for the
test. One vocabulary of sub-words for both languages is learnt from the training texts by byte-pair
encoding (Sennrich, Haddow and Birch, 2016); each epoch reads one of several random cuts of every word
(BPE-dropout: Provilkov, Emelianenko and Voita, 2020), the test the usual one. The length penalty of the
beam is chosen on the validation pairs, and each trained model translates the test once. The model and its
training were chosen in trials with one seed on the validation pairs.

Each run keeps its state in ``results/multi30k.runs/``, so an interrupted command goes on.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import sys
import time
from functools import cache, partial
from pathlib import Path

import sacrebleu
import sentencepiece
import torch
from torch import Tensor, nn

from experiments import arguments
from rnnbook.batches import PairBatches, pad_sequences
from rnnbook.checkpoint import History
from rnnbook.generate import beam_search, generate
from rnnbook.repro import count_parameters, cpu_seconds, pick_device, seed_everything
from rnnbook.seq2seq import Decoder, Encoder, Seq2Seq
from rnnbook.train import train as fit
from rnnbook.train import validate

RESULTS = Path(__file__).parents[1] / "results"
NUM_PIECES, NUM_CUTS, BPE_DROPOUT = 6_000, 10, 0.1
EMBEDDING_DIM, HIDDEN_SIZE, DROPOUT = 256, 512, 0.4
BATCH_SIZE, NUM_EPOCHS, LEARNING_RATE, SMOOTHING = 64, 24, 2e-3, 0.1
EVERY = 3  # epochs, the BLEU of the validation pairs is taken
MAX_LEN = 80  # sub-words of a translation


@cache
def texts(part: str) -> tuple[list[str], list[str]]:
    """Read German and English sentences, one pair a line."""
    folder = Path(os.environ["RNNBOOK_DATA"]) / "multi30k"
    both = [
        gzip.decompress((folder / f"{part}.{language}.gz").read_bytes()).decode("utf-8").splitlines()
        for language in ("de", "en")
    ]
    return both[0], both[1]


@cache
def pieces() -> sentencepiece.SentencePieceProcessor:
    """Learn sub-words from both languages of the training texts."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*texts("train")[0], *texts("train")[1]]),
        model_writer=model,
        vocab_size=NUM_PIECES,
        model_type="bpe",
        character_coverage=1.0,
        pad_id=0,
        unk_id=1,
        bos_id=2,
        eos_id=3,
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def encode(sentences: list[str], dropout: float = 0.0) -> list[Tensor]:
    """Cut sentences into sub-words; with ``dropout`` each merge is left out with this probability."""
    ids = pieces().encode(sentences, enable_sampling=dropout > 0, alpha=dropout, num_threads=1)
    return [torch.tensor(row) for row in ids]


def pairs(part: str) -> tuple[list[Tensor], list[Tensor]]:
    """Encode a part as it is read without dropout."""
    german, english = texts(part)
    return encode(german), encode(english)


class VariedBatches:
    """Batches whose every pass reads one of several cuts of the same pairs, drawn by ``generator``."""

    def __init__(self, cuts: list[PairBatches], generator: torch.Generator) -> None:
        self.cuts, self.generator = cuts, generator

    def __len__(self) -> int:
        return len(self.cuts[0])

    def __iter__(self):
        return iter(self.cuts[int(torch.randint(len(self.cuts), (), generator=self.generator))])


def make_model() -> Seq2Seq:
    """Build the translator; both languages share one embedding."""
    encoder = Encoder(NUM_PIECES, EMBEDDING_DIM, HIDDEN_SIZE, dropout=DROPOUT)
    decoder = Decoder(NUM_PIECES, EMBEDDING_DIM, HIDDEN_SIZE, attention="multiplicative", dropout=DROPOUT)
    encoder.embedding = decoder.embedding
    return Seq2Seq(encoder, decoder).to(pick_device())


def translate(model: Seq2Seq, sources: list[Tensor], beam_width: int = 1, length_penalty: float = 1.0) -> list[str]:
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
    """A model whose products are taken in bfloat16 while it trains; weights and sums stay float32."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the model's logits as float32."""
        with torch.autocast(inputs[0].device.type, torch.bfloat16):
            logits: Tensor = self.model(*inputs)
        return logits.float()


def run(seed: int, folder: Path) -> Seq2Seq:
    """Train one translator, and note its progress on the validation pairs."""
    generator = seed_everything(seed)
    sentencepiece.set_random_generator_seed(seed)
    model = make_model()
    german, english = texts("train")
    cuts = [
        PairBatches(
            encode(german, BPE_DROPOUT),
            encode(english, BPE_DROPOUT),
            batch_size=BATCH_SIZE,
            generator=generator,
            max_len=400,
        )
        for _ in range(NUM_CUTS)
    ]
    val = pairs("val")
    val_batches = PairBatches(*val, batch_size=128)
    last = time.process_time()

    def note(epoch: int, history: History) -> None:
        nonlocal last
        row = {"epoch": epoch + 1, "train_loss": history.train_loss[-1], "cpu_seconds": time.process_time() - last}
        row["val_loss"] = validate(model, val_batches, nn.functional.cross_entropy)[0]
        if (epoch + 1) % EVERY == 0:
            row["val_bleu"] = sacrebleu.corpus_bleu(translate(model, val[0]), [texts("val")[1]]).score
        with (folder / f"{seed}.jsonl").open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(row) + "\n")
        print(seed, row, flush=True)
        model.train()
        last = time.process_time()

    fit(
        Mixed(model),
        VariedBatches(cuts, generator),
        nn.CrossEntropyLoss(label_smoothing=SMOOTHING),
        num_epochs=NUM_EPOCHS,
        learning_rate=LEARNING_RATE,
        checkpoint=folder / f"{seed}.safetensors",
        checkpoint_every=500,
        on_epoch=note,
    )
    return model


def main() -> None:
    folder = RESULTS / "multi30k.runs"
    folder.mkdir(exist_ok=True, parents=True)
    for seed in (map(int, sys.argv[1:])):
        run(seed, folder)


if __name__ == "__main__":
    main()
