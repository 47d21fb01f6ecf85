"""The article's listings: cut out of its text, mended one stop at a time, and a record that settles each claim."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import article_listing as experiment
from experiments import article_listing_driver as driver
from rnnbook.datasets import load
from rnnbook.results import find_results, load_record, load_results

CLAIMS = [f"C{n}" for n in range(33, 48)] + ["C47b", "C47c"]
FENCED = "Words.\n```python\nfirst = 1\n```\nMore `words`.\n\n```python\nsecond = 2\n```\n```sh\nls\n```\n"


# --- the text ----------------------------------------------------------------------------------------


def test_two_listings_are_cut_out_of_a_text():
    assert experiment.listings(FENCED) == ["first = 1\n", "second = 2\n"]


@pytest.mark.parametrize(("text", "number"), [("", 0), (FENCED.replace("first", "x```"), 2), (FENCED * 2, 4)])
def test_a_text_with_other_listings_is_refused(text, number):
    if number == 2:  # a fence inside a line is no fence
        assert experiment.listings(text)[0] == "x``` = 1\n"
        return
    with pytest.raises(ValueError, match=f"two listings .* got {number}"):
        experiment.listings(text)


def test_lines_that_two_listings_share_and_names_imported_twice_are_counted():
    one = "import os\nfrom os import path, sep, path\nx = 1  # one\n\ny = 2\n"
    two = "from os import path, sep, path\nx = 1  # two\ny = 2\nz = 3\nw = 4\n"
    assert experiment.about_the_text([one, two]) == {
        "C47b": {"shared": 3, "only_in_1": 1, "only_in_2": 2},
        "C47c": {"imported_twice": ["path"]},
    }


# --- the ladder, on a program of our own ---------------------------------------------------------------

PROGRAM = """\
import math
half = one / 2  # a remark
def root(x):
    return math.square_root(x)

found = [
    root(half),
]
"""
MENDS = {
    "A": (r"^NameError: name 'one'", [(r"one /", "1.0 /")]),
    "B": (r"^AttributeError: .*'square_root'", [("square_root", "sqrt"), ("half,", "half, ")]),
}


def test_a_program_is_mended_where_it_stops_and_nowhere_else(monkeypatch):
    monkeypatch.setattr(driver, "REPAIRS", MENDS)
    calls = []
    stops, source, namespace = driver.climb(PROGRAM, "a program", {}, lambda: calls.append(1))
    assert [(s["claim"], s["line"], s["statement"], s["exception"]) for s in stops] == [
        ("A", 2, 2, "NameError"),
        ("B", 4, 3, "AttributeError"),
    ]
    assert stops[0]["message"] == "name 'one' is not defined"
    assert stops[0]["code"] == "half = one / 2"
    assert stops[0]["changed"] == [{"line": 2, "before": "half = one / 2", "after": "half = 1.0 / 2"}]
    assert source == PROGRAM.replace("one /", "1.0 /").replace("square_root", "sqrt")
    assert namespace["found"] == [0.5**0.5]
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("mends", "words"),
    [
        ({"B": MENDS["B"]}, "line 2: no repair for NameError: name 'one'"),
        (MENDS | {"C": MENDS["A"]}, "no repair"),  # two would do: it is not known which
        (MENDS | {"A": (MENDS["A"][0], [("one /", "one  /")])}, "no repair"),  # stops there again
        (MENDS | {"A": (MENDS["A"][0], [("two", "2")])}, "A: the listing has no line"),
    ],
)
def test_a_stop_that_cannot_be_mended_is_an_error(monkeypatch, mends, words):
    monkeypatch.setattr(driver, "REPAIRS", mends)
    with pytest.raises(RuntimeError, match=re.escape(words)):
        driver.climb(PROGRAM, "a program", {})


def test_each_repair_belongs_to_a_failure_and_each_failure_to_a_repair_or_a_measurement():
    claims = [claim for _, claims, _, _ in experiment.FAILURES for claim in claims]
    assert len(experiment.FAILURES) == 8
    assert sorted([*claims, *experiment.REMARKS]) == sorted(CLAIMS)
    assert set(claims) == driver.REPAIRS.keys() | experiment.SILENT.keys()


def test_messages_lose_folders_colours_and_length_and_nothing_else():
    home = "/" + "home/ada/env/lib/python3.11"
    message = f"\x1b[1mno name\x1b[0m ({home}/site-packages/keras/text.py)\n\tand/or {home}/os.py, {home}"
    assert driver.clean(message) == "no name (…/keras/text.py) and/or …/os.py, …"
    assert driver.clean("at https://a.org/b/c") == "at https://a.org/b/c"
    assert driver.clean("x = 1 [[{{node a/b}}]] [Op:__f_12]") == "x = 1"
    assert driver.clean("y" * 300) == "y" * 240 + " …"


# --- other interpreters --------------------------------------------------------------------------------


def test_an_interpreter_without_tensorflow_says_so():
    with pytest.raises(RuntimeError, match="No module named 'tensorflow'"):
        experiment.drive(sys.executable, {})


def test_an_environment_is_made_in_its_folder_and_nothing_else_is_installed(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(subprocess, "run", lambda command, **how: calls.append((command, how)))
    monkeypatch.setattr(experiment.venv.EnvBuilder, "create", lambda self, folder: calls.append(folder))
    python = experiment.install(tmp_path / "env", "tensorflow-cpu==2")
    assert python.is_relative_to(tmp_path / "env")
    assert calls[0] == tmp_path / "env"
    assert calls[1] == ([python, "-m", "pip", "install", "--quiet", "tensorflow-cpu==2"], {"check": True})


def test_the_script_asks_for_an_interpreter(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["article_listing", "--article", str(tmp_path / "none.txt")])
    with pytest.raises(SystemExit):
        experiment.main()
    assert "--python or --install" in capsys.readouterr().err


def test_the_control_is_scored_on_sentences_that_it_has_not_seen():
    job = experiment.make_job(["a", "b"], range(3))
    data = load("film_sentences").train
    label = dict(zip(data.texts, data.labels.tolist(), strict=True))
    assert [label[text] for text in job["texts"]] == job["labels"]
    assert set(job["labels"]) == {0, 1}
    control = job["control"]
    assert not set(control["train"]) & set(control["fresh"])
    assert (len(control["train"]), len(control["fresh"])) == (experiment.NUM_TRAIN, experiment.NUM_FRESH)
    assert control["seeds"] == [0, 1, 2]
    assert json.loads(json.dumps(job)) == job


# --- failures from stops and measurements --------------------------------------------------------------

QUIET = {
    "C33": {"dtype": "object"},
    "C41": {"rows_when_compiled": [63, 63, 63]},
    "C42": {"distinct_rows": 1, "distinct_ids": 9, "gradient_of_first_is_none": True},
    "C43": {"(B, 1)": "silent"},
    "C44": {"post_no_mask": 0.1, "post_mask": 0.0},
    "C45": {"seen": [1.0, 0.95], "fresh": [0.5, 0.45]},
}
NOISY = [  # each shows that its failure is not passed over
    ("C33", {"dtype": "int64"}),
    ("C41", {"rows_when_compiled": [63, None, None]}),
    ("C42", {"distinct_rows": 2, "distinct_ids": 9, "gradient_of_first_is_none": True}),
    ("C42", {"distinct_rows": 1, "distinct_ids": 1, "gradient_of_first_is_none": True}),
    ("C42", {"distinct_rows": 1, "distinct_ids": 9, "gradient_of_first_is_none": False}),
    ("C43", {"(B, 1)": "ValueError: shapes"}),
    ("C44", {"post_no_mask": 0.0, "post_mask": 0.0}),
    ("C44", {"post_no_mask": 0.1, "post_mask": 0.1}),
    ("C45", {"seen": [1.0, 0.6], "fresh": [0.5, 0.5]}),
    ("C45", {"seen": [1.0, 1.0], "fresh": [0.5, 0.9]}),
]


def answer(version: str = "9.1", order: str = "C34 C35 C37 C33 C38 C40 C42 C43 C41") -> dict:
    stops = [
        {"claim": c, "line": i, "statement": i, "exception": "E", "message": "m", "code": "x", "changed": [i]}
        for i, c in enumerate(order.split())
    ]
    return {"versions": {"tensorflow": version}, "stops": [[], stops], "measured": copy.deepcopy(QUIET)}


def test_failures_are_in_the_order_of_the_first_interpreter():
    answers = [answer(), answer("8.0", "C34 C35 C37 C33 C38 C42 C40 C41 C43")]
    for pair in (answers, answers[::-1]):
        failures = experiment.tell(pair)
        assert [failure["number"] for failure in failures] == list(range(1, 9))
        swapped = pair[0]["versions"]["tensorflow"] == "8.0"
        middle = ["C42", "C40", "C41", "C43"] if swapped else ["C40", "C42", "C43", "C41"]
        assert [f["claims"][0] for f in failures] == ["C34", "C33", *middle, "C44", "C45"]
    assert len(experiment.tell(answers)[0]["stops"]) == 8
    assert experiment.tell(answers)[0]["changed"] == [0, 1, 2, 4]


@pytest.mark.parametrize(("claim", "measured"), NOISY)
def test_a_failure_is_silent_only_where_a_measurement_shows_it(claim, measured):
    made = answer()
    kind = {f["claims"][0]: f["kind"] for f in experiment.tell([made])}
    loud = claim not in ("C44", "C45")
    assert kind["C34"] == kind["C40"] == "loud"
    assert kind[claim] == ("both" if loud else "silent")
    made["measured"][claim] = measured
    if loud:
        assert {f["claims"][0]: f["kind"] for f in experiment.tell([made])}[claim] == "loud"
    else:
        with pytest.raises(RuntimeError, match="neither a message nor a measurement"):
            experiment.tell([made])


# --- what is recorded ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def record() -> dict:
    return load_record("article_listing")


def test_the_record_has_eight_failures_of_three_kinds(record):
    failures = record["failures"]
    assert [failure["number"] for failure in failures] == list(range(1, 9))
    assert [(f["name"], f["kind"]) for f in failures] == [
        ("names that do not exist", "loud"),
        ("no data", "both"),
        ("sequences of many lengths", "loud"),
        ("a second embedding", "both"),
        ("an output for each token", "both"),
        ("a table of 64 words", "both"),
        ("padding read as text", "silent"),
        ("tested on the training data", "silent"),
    ]
    today = {name: (list(claims), repair, silence) for name, claims, repair, silence in experiment.FAILURES}
    assert {f["name"]: (f["claims"], f["repair"], f["silence"]) for f in failures} == today


def test_every_claim_is_in_the_record_once_and_every_loud_failure_has_its_message(record):
    told = [claim for failure in record["failures"] for claim in failure["claims"]]
    told += [remark["claim"] for remark in record["remarks"]]
    assert sorted(told) == sorted(CLAIMS)
    assert all(remark["measured"] for remark in record["remarks"])
    versions = [environment["tensorflow"] for environment in record["environments"]]
    for failure in record["failures"]:
        assert (failure["kind"] == "silent") == (not failure["stops"]) == (not failure["changed"])
        assert bool(failure["measured"]) == (failure["claims"][0] in experiment.SILENT)
        assert (failure["kind"] == "loud") == (not any(failure["silent"].values()))
        for stop in failure["stops"]:
            assert stop["tensorflow"] in versions
            assert stop["message"]
            assert stop["code"]
            assert stop["claim"] in failure["claims"]
        if failure["stops"]:
            assert {(s["tensorflow"], s["claim"]) for s in failure["stops"]} == {
                (version, claim) for version in versions for claim in failure["claims"]
            }


def test_the_listings_stop_where_the_claims_say(record):
    for stop in record["verbatim"]:
        expected = ("C37", 20, 12, "AttributeError") if stop["listing"] == 1 else ("C34", 3, 2, "ImportError")
        assert (stop["claim"], stop["line"], stop["statement"], stop["exception"]) == expected
    for first, second in zip(record["runs"][::2], record["runs"][1::2], strict=True):
        assert (first["listing"], second["listing"]) == (1, 2)
        claims = [[stop["claim"] for stop in run["stops"]] for run in (first, second)]
        assert claims[1] == ["C34", "C35", *claims[0]]
        assert len(claims[1]) == 9


def test_versions_differ_in_what_they_pass_over(record):
    (per_token,) = [f for f in record["failures"] if f["claims"] == ["C43"]]
    old, new = sorted(per_token["silent"], key=lambda v: [int(n) for n in v.split(".")])
    assert per_token["silent"] == {old: True, new: False}
    assert record["environments"][0]["tensorflow"] == new  # which gives the order


def test_the_record_holds_no_path_and_no_sentence_and_few_lines_of_the_article(record):
    text = find_results("article_listing").read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w…<:/.])/\w+/\w+|site-packages|[A-Z]:\\\\|[\u4e00-\u9fff]", text)
    assert not [sentence for sentence in load("film_sentences").train.texts[:16] if sentence in text]
    stops = [stop for failure in record["failures"] for stop in failure["stops"]]
    changed = [line for failure in record["failures"] for line in failure["changed"]]
    assert len({stop["code"] for stop in stops} | {line["before"] for line in changed}) <= 14


def test_labels_of_a_coin_are_learnt_by_heart_and_predict_nothing(record):
    rows = load_results("article_listing")
    assert len(rows) == 2 * len(record["environments"]) == 4
    for row in rows:
        assert len(row.values) == 5
        assert row.mean > 0.95 if "trained on" in row.model else 0.45 < row.mean < 0.55


@pytest.mark.skipif(
    not {"RNNBOOK_TENSORFLOW", "RNNBOOK_ARTICLE"} <= os.environ.keys(),
    reason="needs $RNNBOOK_TENSORFLOW, an interpreter that has it, and $RNNBOOK_ARTICLE, the article's text",
)
def test_a_new_run_stops_where_the_recorded_one_did(record):
    sources = experiment.listings(Path(os.environ["RNNBOOK_ARTICLE"]).read_text(encoding="utf-8"))
    job = experiment.make_job(sources, [0])
    made = experiment.drive(os.environ["RNNBOOK_TENSORFLOW"], job)
    version = made["versions"]["tensorflow"]
    fresh = experiment.extras([made], sources)
    assert fresh["listings_sha256"] == record["listings_sha256"]
    assert fresh["runs"] == [run for run in record["runs"] if run["tensorflow"] == version]
    for failure in fresh["failures"]:
        (old,) = [f for f in record["failures"] if f["name"] == failure["name"]]
        assert failure["loud"][version] == old["loud"][version]
        assert failure["silent"][version] == old["silent"][version]
