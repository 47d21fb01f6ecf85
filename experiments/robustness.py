"""What attacks take from a text classifier, and what defences give back: film sentences, from 80/20.

::

    python -m experiments.robustness --seeds 5

The model is a small bidirectional GRU, trained on four fifths of the film sentences in five ways:

- ``plain``;
- ``embedded adversaries``: the plain model, trained further, each step also with the embedded words moved
  along the gradient (Miyato, Dai and Goodfellow, 2017, but for the normalising of the vectors);
- ``swapped words``: each step also with a word swapped by HotFlip against the weights of the moment, out
  of 2,000 words drawn for the batch; the label stays, right or not;
- ``swapped neutral words``: the same within the mask of neutral words;
- ``random words``: the control of both, a random word in a random place.

Each attack goes against 500 of the test sentences, always the same ones, with a label known to the
attacker. He has the weights of the very model that he attacks, defence and all, except in the rows
*transferred*: there the examples were made for the plain model of the same seed. *Neutral* attacks take
out and put in only words that speak for neither class (``rnnbook.attack.neutral_words``, and no
negations); the others may put "bad" for "good", so a lower accuracy there is in part right answers to
other texts.

An attack by the gradient fails where the gradient misleads, which training against such an attack may
bring about. So two attacks rest on answers as well: *tried*, where the true loss decides among the ten
best places, and *telling words*, which uses no gradient: the 100 words that by their counts speak most
for the other label, each in every place, on the first 100 of the texts.

Attacks on characters change every word that they can, or three, and are read in three ways: without
normalisation, by ``tokenize``, and by ``tokenize_folded``. *Beyond* attackers know the last two and use
look-alikes of a third script, or an invisible character that ``normalize`` leaves in.

What there was to choose, was chosen with one seed on up to 500 sentences held out from the training
part. There, adversaries of norm 0.3 and more from the first weights on left a model that had learned
nothing, and those of norm 0.2 gave back little; so they come after plain training. A finished seed is
kept in ``results/robustness.runs/``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from experiments import arguments, command_line
from rnnbook.attack import hotflip, neutral_words, pgd, random_direction, random_words
from rnnbook.attack_text import homoglyphs, invisible, typos
from rnnbook.batches import Batches, pad_sequences
from rnnbook.classifier import ClassifierConfig, TextClassifier
from rnnbook.corpus import Split, split_by_hash, text_hash
from rnnbook.datasets import load
from rnnbook.repro import count_parameters, cpu_seconds, pick_device, seed_everything
from rnnbook.results import Row, save_results, score_row
from rnnbook.text import TOKEN, Vocab, log_count_ratios, tokenize, tokenize_folded
from rnnbook.train import train

RESULTS = Path(__file__).parents[1] / "results"
TASK = "film sentences"
SHORTEST = 3  # words: as many as an attack may change
NUM_TEXTS = 500
NUM_TELLING = NUM_TRIED = 100  # words, and texts on which they are tried
EMBEDDED, RANDOM = "embedded adversaries", "random words"
SWAPPED, NEUTRAL = "swapped words", "swapped neutral words"
WAYS = ("plain", EMBEDDED, SWAPPED, NEUTRAL, RANDOM)
EPSILONS = (0.5, 1.0)
NEGATIONS = {"not", "no", "never", "nor", "neither", "nothing", "without", "hardly", "but", "cannot"}
THIRD_SCRIPT = dict(zip("ogunh", "օցսոհ", strict=True))  # Armenian
SEPARATOR = "\u2063"


def raw(text: str) -> list[str]:
    """Cut a text as ``tokenize`` does, in lower case and not normalised."""
    return TOKEN.findall(text.lower())


READINGS = {"not normalised": raw, "normalised": tokenize, "folded": tokenize_folded}


@dataclass(frozen=True)
class Settings:
    """What was chosen in the trials, and sizes that a test makes smaller."""

    embedding_dim: int = 32
    hidden_size: int = 32
    dropout: float = 0.5
    word_dropout: float = 0.2
    batch_size: int = 32
    num_epochs: int = 5
    learning_rate: float = 5e-3
    limit: float = 0.5  # of a neutral word's log-count ratio, nats
    epsilon: float = 1.0  # of the embedded adversaries in training
    more_epochs: int = 3  # with them, at half the rate
    num_words: int = 2000  # from which the swaps of a batch are taken


@dataclass(frozen=True)
class Outcome:
    """One model of one seed: accuracy under each attack, words changed and queries a text."""

    model: str
    seed: int
    train_cpu_seconds: float
    num_parameters: int
    accuracy: dict[str, float] = field(default_factory=dict)
    words_changed: dict[str, float] = field(default_factory=dict)
    queries: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Data:
    """Training sequences, what their words speak for, and the texts under attack."""

    vocab: Vocab
    sequences: list[Tensor]
    labels: Tensor
    neutral: Tensor
    ratios: Tensor
    texts: list[str]
    tokens: Tensor
    lengths: Tensor
    truth: Tensor


def parts() -> tuple[Split, Split]:
    """Cut the film sentences: training texts, and the 500 test texts that are attacked."""
    rest, test = split_by_hash(load("film_sentences").train, 0.2)
    return rest, attacked_part(test)


def attacked_part(split: Split, num_texts: int = NUM_TEXTS) -> Split:
    """Take the texts of the lowest hashes, among those with enough words."""
    long_enough = [i for i, text in enumerate(split.texts) if len(tokenize(text)) >= SHORTEST]
    return split.take(sorted(long_enough, key=lambda i: text_hash(split.texts[i]))[:num_texts])


def prepare(rest: Split, attacked: Split, settings: Settings) -> Data:
    """Make ids of all texts, and the mask of words that an attack may touch."""
    token_lists = [tokenize(text) for text in rest.texts]
    vocab = Vocab.build(token_lists)
    sequences = [vocab.encode(tokens) for tokens in token_lists]
    labels = torch.from_numpy(rest.labels)
    neutral = neutral_words(sequences, labels, len(vocab), settings.limit)
    negations = [i for i, word in enumerate(vocab.tokens) if word in NEGATIONS or word.endswith("n't")]
    neutral[negations] = False
    tokens, lengths = pad_sequences([vocab.encode(tokenize(text)) for text in attacked.texts])
    truth = torch.from_numpy(attacked.labels)
    ratios = log_count_ratios(sequences, labels, len(vocab))
    return Data(vocab, sequences, labels, neutral, ratios, list(attacked.texts), tokens, lengths, truth)


class WithSwaps:
    """Batches in which each text stands twice: as it is, and with a word swapped, the label unchanged."""

    def __init__(self, batches: Batches, swap: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        self.batches, self.swap, self.generator = batches, swap, batches.generator

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for tokens, lengths, labels in self.batches:
            swapped = self.swap(tokens, lengths, labels)
            yield torch.cat([tokens, swapped]), lengths.repeat(2), labels.repeat(2)


def trained(way: str, data: Data, seed: int, settings: Settings) -> tuple[TextClassifier, float]:
    """Train one model; return it and the CPU seconds."""
    generator = seed_everything(seed)
    size = len(data.vocab)
    config = ClassifierConfig(
        size,
        embedding_dim=settings.embedding_dim,
        hidden_size=settings.hidden_size,
        rnn_type="gru",
        bidirectional=True,
        dropout=settings.dropout,
        word_dropout=settings.word_dropout,
    )
    model = TextClassifier(config).to(pick_device())
    batches = Batches(data.sequences, data.labels, batch_size=settings.batch_size, generator=generator)

    def by_gradient(tokens: Tensor, lengths: Tensor, labels: Tensor) -> Tensor:
        mask = data.neutral if way == NEUTRAL else torch.ones(size, dtype=torch.bool)
        some = mask & (torch.rand(size, generator=generator) < settings.num_words / mask.sum())
        some[tokens] = mask[tokens]  # what may be taken out, may be taken out
        return hotflip(model, tokens, lengths, labels, allowed=some).examples

    def by_chance(tokens: Tensor, lengths: Tensor, _: Tensor) -> Tensor:
        return random_words(tokens, lengths, size, generator=generator).examples

    swap = {SWAPPED: by_gradient, NEUTRAL: by_gradient, RANDOM: by_chance}.get(way)
    examples = batches if swap is None else WithSwaps(batches, swap)
    with cpu_seconds() as watch:
        train(model, examples, num_epochs=settings.num_epochs, learning_rate=settings.learning_rate)
        if way == EMBEDDED:  # from the start it learns nothing: the first weights have too weak a signal
            train(
                model,
                batches,
                num_epochs=settings.more_epochs,
                learning_rate=settings.learning_rate / 2,
                adversarial_epsilon=settings.epsilon,
            )
    return model.eval(), watch.seconds


@torch.no_grad()
def still_right(
    model: TextClassifier, tokens: Tensor, lengths: Tensor, labels: Tensor, *, mask: Tensor, ratios: Tensor
) -> tuple[Tensor, Tensor]:
    """Try the most telling words of the mask in each of its places; stop at the first wrong answer.

    Returns, text by text (N,), whether no such swap changed a right answer, and the queries.
    """
    kept = mask.nonzero().squeeze(1)
    order = kept[ratios[kept].argsort()]
    telling = {1: order[:NUM_TELLING], 0: order.flip(0)[:NUM_TELLING]}
    right, queries = torch.zeros(len(tokens), dtype=torch.bool), torch.ones_like(lengths)
    for i, row in enumerate(tokens):
        row, label = row[: lengths[i]], int(labels[i])
        places = mask[row].nonzero()
        variants = row.repeat(len(places), 1)
        right[i] = model(row[None], lengths[i : i + 1]).argmax() == label
        for words in telling[label].split(10):
            if not right[i] or not len(places):
                break
            tries = torch.cat([variants.scatter(1, places, int(word)) for word in words])
            right[i] = (model(tries, lengths[i].repeat(len(tries))).argmax(dim=1) == label).all()
            queries[i] += len(tries)
    return right, queries


class Bench:
    """One model under all attacks: each adds its accuracy and its cost to an outcome."""

    def __init__(self, model: TextClassifier, data: Data, outcome: Outcome) -> None:
        self.model, self.data, self.outcome = model, data, outcome

    @torch.no_grad()
    def score(self, name: str, logits: Tensor) -> None:
        """Note the accuracy of logits (N, 2)."""
        self.outcome.accuracy[name] = (logits.argmax(dim=1) == self.data.truth).double().mean().item()

    def cost(self, name: str, words_changed: Tensor, queries: Tensor) -> None:
        """Note the means of what an attack cost, text by text (N,)."""
        self.outcome.words_changed[name] = words_changed.double().mean().item()
        self.outcome.queries[name] = queries.double().mean().item()

    @torch.no_grad()
    def words(self, transferred: dict[str, Tensor]) -> dict[str, Tensor]:
        """Swap words; return the examples (N, T) that another model is to be tried on."""
        model, data = self.model, self.data
        tokens, lengths, truth, size = data.tokens, data.lengths, data.truth, len(data.vocab)
        made = {}
        self.score("clean", model(tokens, lengths))
        for kind, mask in (("", None), (", neutral", data.neutral)):
            for n in range(1, SHORTEST + 1):
                generator = torch.Generator().manual_seed(n)
                attacks = {
                    f"random words{kind}, {n}": random_words(
                        tokens, lengths, size, n, allowed=mask, generator=generator
                    ),
                    f"HotFlip{kind}, {n}": hotflip(model, tokens, lengths, truth, n, allowed=mask),
                }
                if n == 1:
                    attacks[f"HotFlip{kind}, {n}, tried"] = hotflip(
                        model, tokens, lengths, truth, n, allowed=mask, candidates=10
                    )
                for name, attacked in attacks.items():
                    self.score(name, model(attacked.examples, lengths))
                    self.cost(name, attacked.words_changed, attacked.queries)
                made[f"HotFlip{kind}, {n}, transferred"] = attacks[f"HotFlip{kind}, {n}"].examples
            mask = torch.arange(size) > Vocab.unknown_index if mask is None else mask
            some = (part[:NUM_TRIED] for part in (tokens, lengths, truth))
            right, queries = still_right(model, *some, mask=mask, ratios=data.ratios)
            self.outcome.accuracy[f"telling words{kind}, 1"] = right.double().mean().item()
            self.cost(f"telling words{kind}, 1", torch.ones_like(queries), queries)
        for name, examples in (transferred or made).items():
            self.score(name, model(examples, lengths))
        return made

    @torch.no_grad()
    def vectors(self) -> None:
        """Move the embedded words, along the gradient and at random."""
        model, data = self.model, self.data
        given = (model, data.tokens, data.lengths)
        for epsilon in EPSILONS:
            generator = torch.Generator().manual_seed(0)
            for name, attacked in {
                "random direction": random_direction(*given, epsilon, generator=generator),
                "FGM": pgd(*given, data.truth, epsilon),
                "PGD, 10 steps": pgd(*given, data.truth, epsilon, num_steps=10),
            }.items():
                self.score(f"{name}, {epsilon:g}", model.from_vectors(attacked.examples, data.lengths))
                self.cost(f"{name}, {epsilon:g}", attacked.words_changed, attacked.queries)

    @torch.no_grad()
    def characters(self) -> None:
        """Change characters, and read the texts with and without normalisation."""
        for n in (SHORTEST, None):
            attacks = {
                name: attack(self.data.texts, n, generator=torch.Generator().manual_seed(0), **own)
                for name, attack, own in (
                    ("typos", typos, {}),
                    ("homoglyphs", homoglyphs, {}),
                    ("homoglyphs beyond", homoglyphs, {"letters": THIRD_SCRIPT}),
                    ("invisible", invisible, {}),
                    ("invisible beyond", invisible, {"characters": SEPARATOR}),
                )
            }
            for name, attacked in attacks.items():
                name = f"{name}, {n or 'all'}"
                self.cost(name, attacked.words_changed, attacked.queries)
                for reading, cut in READINGS.items():
                    self.score(f"{name}, {reading}", self.read(attacked.examples, cut))

    def read(self, texts: list[str], cut: Callable[[str], list[str]]) -> Tensor:
        """Classify texts cut in one way: logits (N, 2)."""
        rows = pad_sequences([self.data.vocab.encode(cut(text)) for text in texts])
        logits: Tensor = self.model(*rows)
        return logits


def run(seed: int, data: Data, settings: Settings) -> list[Outcome]:
    """Train the models of one seed and attack them; the plain one first, for the transferred examples."""
    found: list[Outcome] = []
    transferred: dict[str, Tensor] = {}
    for way in WAYS:
        model, seconds = trained(way, data, seed, settings)
        found.append(Outcome(way, seed, seconds, count_parameters(model)))
        bench = Bench(model.cpu(), data, found[-1])
        made = bench.words(transferred)
        transferred = transferred or made
        bench.vectors()
        bench.characters()
    return found


def rows_of(runs: list[Outcome]) -> list[Row]:
    """Make one row of each attack and model."""
    rows = []
    for attack in runs[0].accuracy:
        for model in dict.fromkeys(run.model for run in runs):
            same = [run for run in runs if run.model == model]
            rows.append(
                score_row(
                    f"{TASK}: {attack}",
                    model,
                    [run.seed for run in same],
                    [run.accuracy[attack] for run in same],
                    num_items=NUM_TRIED if attack.startswith("telling words") else NUM_TEXTS,
                    num_parameters=same[0].num_parameters,
                    train_cpu_seconds=[run.train_cpu_seconds for run in same],
                )
            )
    return rows


def main() -> None:
    """Run what is not yet recorded, then write ``results/robustness.json``."""
    given = arguments(__doc__)
    settings = Settings()
    data = prepare(*parts(), settings)
    folder = RESULTS / "robustness.runs"
    folder.mkdir(parents=True, exist_ok=True)
    runs: list[Outcome] = []
    for seed in range(given.seeds):
        path = folder / f"{seed}.json"
        if not path.exists():
            lines = [asdict(outcome) for outcome in run(seed, data, settings)]
            path.write_text(json.dumps(lines), encoding="utf-8")
        runs += [Outcome(**line) for line in json.loads(path.read_text(encoding="utf-8"))]
        for outcome in runs[-len(WAYS) :]:
            print(outcome, flush=True)
    plain = next(outcome for outcome in runs if outcome.model == "plain")
    save_results(
        RESULTS / "robustness.json",
        rows_of(runs),
        command=command_line("robustness", given),
        settings=asdict(settings),
        num_texts=len(data.texts),
        num_neutral_words=int(data.neutral.sum()),
        vocab_size=len(data.vocab),
        words_changed=plain.words_changed,
        queries=plain.queries,
    )
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
