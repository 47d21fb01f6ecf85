"""The repository agrees with itself: what is said in two places is the same in both."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MODULES = sorted((ROOT / "rnnbook").glob("*.py"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
OWNER, REPO = PROJECT["project"]["urls"]["Repository"].split("/")[-2:]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def text_files() -> dict[str, str]:
    """Return the files that are in git, or will be, and hold text."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    names = listed.stdout.split("\0")
    if listed.returncode:  # a copy without history: leave out what .gitignore names
        ignored = {line.rstrip("/") for line in read(".gitignore").splitlines() if line.endswith("/")} | {
            ".git"
        }
        paths = (path.relative_to(ROOT) for path in ROOT.rglob("*"))
        names = [path.as_posix() for path in paths if not ignored.intersection(path.parts)]
    found = {}
    for name in sorted(filter(None, names)):
        if (ROOT / name).is_file():
            try:
                found[name] = read(name)
            except UnicodeDecodeError:
                continue
    assert len(found) > 20, "hardly any file: these tests would pass on nothing"
    return found


FILES = text_files()


def requirements(*extras: str) -> list[Requirement]:
    """Return what the package needs, with the named extras, or with all."""
    optional = PROJECT["project"]["optional-dependencies"]
    lines = list(PROJECT["project"]["dependencies"])
    for extra in extras or optional:
        lines += optional[extra]
    return [Requirement(line) for line in lines]


def package_version() -> str:
    found = re.search(r'^__version__ = "(.+)"$', read("rnnbook/__init__.py"), re.MULTILINE)
    assert found
    return found[1]


# --- versions and dependencies -------------------------------------------------------------------


def lock_entries() -> list[tuple[str, Version, Marker | None, str]]:
    """Return ``(name, version, marker, all lines)`` of each entry of the lock."""
    entries = re.split(r"^(?=[A-Za-z0-9])", read("requirements.lock"), flags=re.MULTILINE)[1:]
    found = []
    for entry in entries:
        head = entry.partition("\\\n")[0].strip()
        requirement = Requirement(head)
        pins = list(requirement.specifier)
        assert len(pins) == 1, f"{head}: expected one version"
        assert pins[0].operator == "==", f"{head}: expected =="
        found.append(
            (canonicalize_name(requirement.name), Version(pins[0].version), requirement.marker, entry)
        )
    return found


def test_lock_has_a_hash_for_every_package():
    entries = lock_entries()
    assert len(entries) > 100
    assert [
        name for name, *_, entry in entries if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry)
    ] == []


def test_lock_holds_no_torch_and_no_address():
    names = {name for name, *_ in lock_entries()}
    assert not {name for name in names if name in {"torch", "triton"} or name.startswith(("nvidia", "cuda"))}
    assert not re.findall(r"\w+://\S+|^-.*| @ .*", read("requirements.lock"), flags=re.MULTILINE)


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_lock_satisfies_pyproject(python, platform):
    environment = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": platform}
    locked = {}
    for name, version, marker, _ in lock_entries():
        if marker is None or marker.evaluate(environment):
            assert name not in locked, f"{name} is locked twice for Python {python}"
            locked[name] = version
    needed = [Requirement(line) for line in PROJECT["build-system"]["requires"]] + requirements()
    for requirement in needed:
        name = canonicalize_name(requirement.name)
        if name != "torch":
            assert name in locked, f"{requirement} is not in requirements.lock: run `make lock`"
            assert requirement.specifier.contains(locked[name]), (
                f"{requirement}, but {locked[name]} is locked"
            )


def torch_version() -> str:
    lines = [line for line in read("requirements-torch.txt").splitlines() if not line.startswith("#")]
    assert len(lines) == 1
    assert lines[0].startswith("torch==")
    return lines[0].removeprefix("torch==")


def test_torch_version_satisfies_pyproject_and_is_named_in_the_readme():
    needed = next(r for r in requirements() if r.name == "torch")
    assert needed.specifier.contains(torch_version())
    assert f"torch {torch_version()}" in read("README.md")


def test_workflows_and_readme_name_the_supported_pythons():
    supported = SpecifierSet(PROJECT["project"]["requires-python"])
    minors = [f"3.{minor}" for minor in range(30) if f"3.{minor}" in supported]
    check = yaml.safe_load(read(".github/workflows/check.yml"))
    assert check["jobs"]["check"]["strategy"]["matrix"]["python"] == [minors[0], minors[-1]]
    assert f"Python {', '.join(minors[:-1])} or {minors[-1]}" in read("README.md")


def test_conda_environment_has_the_bounds_of_pyproject():
    listed = yaml.safe_load(read("environment.yml"))["dependencies"]
    conda = [Requirement(line) for line in listed if isinstance(line, str)]
    [pip] = [entry["pip"] for entry in listed if isinstance(entry, dict)]
    wanted = {r.name: r.specifier for r in requirements("lab")}
    wanted["python"] = SpecifierSet(PROJECT["project"]["requires-python"])
    found = {r.name.replace("pytorch-cpu", "torch"): r.specifier for r in conda if r.name != "pip"}
    editable = [line for line in pip if line.startswith("-e ")]
    found |= {r.name: r.specifier for r in (Requirement(line) for line in pip if line not in editable)}
    assert found == wanted
    assert editable == ["-e .[book,test]"]


def test_citation_agrees_with_the_package():
    citation = yaml.safe_load(read("CITATION.cff"))
    assert str(citation["version"]) == package_version()
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["license"] == PROJECT["project"]["license"]
    assert citation["authors"] == PROJECT["project"]["authors"]
    book = citation["preferred-citation"]
    assert book["type"] == "book"
    assert book["authors"] == citation["authors"]
    assert f"# {book['title']}\n" in read("README.md")
    assert book["license"] == "CC-BY-4.0"


def test_licences():
    holder = f"Copyright (c) 2026 {PROJECT['project']['authors'][0]['name']}"
    assert read("LICENSE").startswith(f"MIT License\n\n{holder}\n")
    assert PROJECT["project"]["license"] == "MIT"
    assert holder in read("LICENSE-TEXT.md")
    assert "CC-BY-4.0" in read("LICENSE-TEXT.md")
    assert "https://creativecommons.org/licenses/by/4.0/legalcode" in read("LICENSE-TEXT.md")


def test_changelog_has_the_agreed_headings():
    text = read("CHANGELOG.md")
    assert "\n## [Unreleased]\n" in text
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) <= {
        "Chapters",
        "Package",
        "Fixed errors",
        "Build",
    }


# --- the public address --------------------------------------------------------------------------

_spec = importlib.util.spec_from_file_location("address", ROOT / "tools" / "address.py")
assert _spec
assert _spec.loader
address = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(address)


def address_tool(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tools/address.py", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_generated_lines_are_up_to_date():
    done = address_tool(ROOT, "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def strip_generated(name: str, text: str) -> str:
    """Take out of a file what ``tools/address.py`` has put there."""
    if name == "pyproject.toml":
        return re.sub(r'^Repository = ".*"$', "", text, count=1, flags=re.MULTILINE)
    if name == "README.md":
        return re.sub(r"<!-- (\w+):begin -->.*?<!-- \1:end -->", "", text, flags=re.DOTALL)
    if name == "CITATION.cff":
        return re.sub(r"^ *(repository-code|url):.*$", "", text, flags=re.MULTILINE)
    if name.endswith(".ipynb"):
        return text.replace(
            json.dumps(address.install_cell(text.replace('\\"', '"')).splitlines()[-1]), "", 1
        )
    return text


def test_the_address_is_typed_in_pyproject_alone():
    own = re.compile(
        rf"github(?:\.com|usercontent\.com)?[/:][\w.-]+/{REPO}\b|\b[\w-]+\.github\.io/{REPO}\b|\b{OWNER}\.github\.io\b",
        re.IGNORECASE,
    )
    assert own.search(PROJECT["project"]["urls"]["Repository"])
    typed = {name: own.findall(strip_generated(name, text)) for name, text in FILES.items()}
    assert {name: hits for name, hits in typed.items() if hits} == {}


def test_a_new_address_reaches_every_place(tmp_path):
    names = ["pyproject.toml", "README.md", "CITATION.cff", "_toc.yml", "tools/address.py"]
    names += [name for name in FILES if name.startswith("chapters/")]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text(
        read("pyproject.toml").replace(f"/{OWNER}/{REPO}", "/Someone/else-book"), encoding="utf-8"
    )
    stale = address_tool(tmp_path, "--check")
    assert stale.returncode == 1
    assert "README.md" in stale.stdout
    assert "CITATION.cff" in stale.stdout
    assert address_tool(tmp_path).returncode == 0
    assert address_tool(tmp_path, "--check").returncode == 0
    for name in ("README.md", "CITATION.cff"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert f"/{OWNER}/{REPO}" not in text
        assert "someone.github.io/else-book/" in text
        assert "github.com/Someone/else-book" in text


# --- README, contributing guide, the way in ------------------------------------------------------


def toc_pages(entry: object, part: str = "") -> list[tuple[str, str]]:
    """Return ``(part, file)`` of all pages below an entry of ``_toc.yml``, in order."""
    if isinstance(entry, list):
        return [page for item in entry for page in toc_pages(item, part)]
    assert isinstance(entry, dict)
    pages = [(part, entry["file"])] if "file" in entry else []
    for key in ("parts", "chapters", "sections", "subtrees", "entries"):
        pages += toc_pages(entry.get(key, []), entry.get("caption", part))
    return pages


def test_readme_table_is_the_table_of_contents():
    rows = re.findall(
        r"^\| ([^|]*?) \| \[.+?\]\((\S+?)\.(ipynb|md)\) \|(.*)\|$", read("README.md"), re.MULTILINE
    )
    pages = toc_pages(yaml.safe_load(read("_toc.yml")))
    assert pages
    assert [(part, file) for part, file, *_ in rows] == pages
    assert [suffix == "ipynb" for *_, suffix, _ in rows] == ["Colab" in last for *_, last in rows]
    for _, file, suffix, _ in rows:
        assert f"{file}.{suffix}" in FILES, f"{file} is in the table and not in the repository"


def test_every_chapter_is_in_the_table_of_contents():
    pages = {file for _, file in toc_pages(yaml.safe_load(read("_toc.yml")))}
    chapters = {
        str(Path(name).with_suffix("")) for name in FILES if re.match(r"chapters/.*\.(ipynb|md)$", name)
    }
    assert chapters == {page for page in pages if page.startswith("chapters/")}


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "LICENSE-TEXT.md", "CHANGELOG.md"])
def test_links_between_papers_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)#\s]+)", read(name)):
        assert re.match(r"https://", target) or (ROOT / target).exists(), f"{name}: {target} is not there"


@pytest.mark.parametrize(("name", "limit"), [("README.md", 100), ("CONTRIBUTING.md", 120)])
def test_length(name, limit):
    assert len(read(name).splitlines()) < limit


@pytest.mark.parametrize("has_browser", [True, False])
def test_ci_script_runs_what_the_readme_says(tmp_path, has_browser):
    """Run a copy with stand-ins for make, apt-get and the browser, and see what it calls."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    shutil.copyfile(ROOT / "README.md", tmp_path / "README.md")
    tools, log = tmp_path / "bin", tmp_path / "log"
    tools.mkdir()
    for name in ("sh", "awk", "dirname"):
        found = shutil.which(name)
        assert found
        (tools / name).symlink_to(found)
    stand_ins = {
        "make": f'echo "make $* $RNNBOOK_REQUIRE_CHROMIUM" >> "{log}"',
        "apt-get": f'echo "apt-get $*" >> "{log}"',
        "sudo": f'echo "sudo" >> "{log}"; "$@"',
        "id": "echo 1000",
        "python3": "exit 0",
    }
    if has_browser:
        stand_ins["chromium"] = "exit 0"
    for name, body in stand_ins.items():
        (tools / name).write_text(f"#!{tools / 'sh'}\n{body}\n", encoding="utf-8")
        (tools / name).chmod(0o755)
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    subprocess.run(
        [tools / "sh", tmp_path / ".ci" / "run"], env={"PATH": str(tools)}, check=True, capture_output=True
    )
    lines = log.read_text(encoding="utf-8").splitlines()
    assert lines[-1] == "make test 1"
    installs = [line for line in lines if line.startswith("apt-get install")]
    assert len(installs) == (not has_browser)
    assert has_browser or (" chromium " in installs[0] and lines[0] == "sudo")


# --- workflows -----------------------------------------------------------------------------------


def make_targets() -> set[str]:
    rules = re.findall(r"^([a-z][\w -]*):(?!=)", read("Makefile"), re.MULTILINE)
    return {target for rule in rules for target in rule.split()}


def asked_of_make(text: str) -> set[str]:
    """Return the targets of every ``make …`` in a text of shell lines."""
    calls = re.findall(r"(?:^|[\s;&`])make((?: +(?:-o +\w+|[\w-]+(?:=\S+)?))+)", text)
    words = " ".join(re.sub(r"-o +", "", call) for call in calls).split()
    return {word for word in words if "=" not in word}


def test_there_are_workflows():
    assert [path.name for path in WORKFLOWS] == ["check.yml", "pages.yml", "weekly.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflow(path):
    text = path.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"] is True
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 60, name
        for step in job["steps"]:
            assert asked_of_make(step.get("run", "")) <= make_targets(), step
            program = step.get("run", "").split(" ")[0]
            if program.startswith(".") and not program.startswith(".venv/"):
                assert program in FILES, step
    uses = re.findall(r"uses: *(.*)$", text, re.MULTILINE)
    assert uses
    assert [u for u in uses if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", u)] == []


def test_one_action_has_one_version():
    uses = set(
        re.findall(
            r"uses: *(\S+@.*)$", "\n".join(p.read_text(encoding="utf-8") for p in WORKFLOWS), re.MULTILINE
        )
    )
    assert len(uses) == len({use.partition("@")[0] for use in uses})


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", ".github/pull_request_template.md"])
def test_commands_in_papers_are_targets(name):
    text = read(name)
    commands = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    commands += "\n" + "\n".join(re.findall(r"`([^`\n]+)`", text))
    asked = asked_of_make(commands)
    assert asked
    assert asked <= make_targets()


def test_hooks_call_what_is_installed():
    config = yaml.safe_load(read(".pre-commit-config.yaml"))
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    names = {canonicalize_name(r.name) for r in requirements()} | {"python"}
    for hook in config["repos"][0]["hooks"]:
        program, *arguments = hook["entry"].split()
        assert hook["language"] == "system"
        assert program.removeprefix(".venv/bin/") in names, hook
        assert [a for a in arguments if a.startswith("tests/") and a not in FILES] == [], hook


@pytest.mark.parametrize("name", ["error", "unclear"])
def test_issue_form(name):
    form = yaml.safe_load(read(f".github/ISSUE_TEMPLATE/{name}.yml"))
    assert {"name", "description", "body"} <= set(form)
    identifiers = [item["id"] for item in form["body"]]
    assert len(set(identifiers)) == len(identifiers)
    for item in form["body"]:
        assert item["type"] in {"input", "textarea", "dropdown", "checkboxes"}
        assert item["attributes"]["label"]
    assert any(item.get("validations", {}).get("required") for item in form["body"])


# --- the package's shape -------------------------------------------------------------------------


# A module imports only from those before it. A new module gets its place here and in the docstring.
ORDER = [
    "repro",
    "files",
    "text",
    "segment",
    "corpus",
    "origins",
    "datasets",
    "tasks",
    "dates",
    "batches",
    "cells",
    "kernels",
    "recurrence",
    "layers",
    "scan",
    "encoders",
    "models",
    "seq2seq",
    "generate",
    "classifier",
    "export",
    "losses",
    "checkpoint",
    "parallel",
    "train",
    "evaluate",
    "gradients",
    "explain",
    "attack",
    "attack_text",
    "challenge",
    "article",
    "results",
    "check",
    "check_introduction",
    "check_layers",
    "check_practice",
    "check_application",
    "check_optimization",
    "check_outlook",
    "plot",
    "charts",
    "charts_introduction",
    "charts_text",
    "charts_translation",
    "charts_optimization",
    "charts_outlook",
    "draw",
]


def own_imports(source: str, names: list[str]) -> set[str]:
    """Return the modules of the package that a source imports, in whatever form."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name.split(".")[1:2] for alias in node.names if alias.name.startswith("rnnbook.")]
        elif isinstance(node, ast.ImportFrom):
            parts = (["rnnbook"] if node.level else []) + (node.module or "").split(".")
            parts = [part for part in parts if part]
            if parts[0] == "rnnbook":
                found += [parts[1:2] or [alias.name] for alias in node.names]
    return {module for path in found for module in path if module in names}


def test_every_module_has_its_place():
    assert sorted(ORDER) == [path.stem for path in MODULES if not path.stem.startswith("__")]
    docstring = ast.get_docstring(ast.parse(read("rnnbook/__init__.py"))) or ""
    assert " → ".join(ORDER) in [line.strip() for line in docstring.splitlines()]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_module_imports_only_earlier_ones(path):
    order = ["__init__", *ORDER, "__main__"]
    earlier = order[: order.index(path.stem)]
    assert own_imports(path.read_text(encoding="utf-8"), order) <= set(earlier)


@pytest.mark.parametrize(
    "source",
    [
        "import rnnbook.b as x",
        "from rnnbook.b import c",
        "from rnnbook import b",
        "from . import b",
        "from .b import c",
    ],
)
def test_every_form_of_import_is_seen(source):
    assert own_imports(f"def f():\n    {source}", ["a", "b"]) == {"b"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_modules_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 280
    functions = [
        n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    lengths = {n.name: (n.end_lineno or 0) - n.lineno + 1 for n in functions}
    assert {name: length for name, length in lengths.items() if length > 60} == {}


# --- nothing of one machine ----------------------------------------------------------------------

# In base64, as in a stored picture, a letter stands before the slash.
LOCAL_PATH = re.compile(r"(?<![A-Za-z0-9+.])/(?:work/|tmp/|root/|home/\w|Users/\w)")


def test_no_file_holds_a_local_path():
    found = {name: LOCAL_PATH.findall(text) for name, text in FILES.items()}
    assert {name: hits for name, hits in found.items() if hits} == {}


@pytest.mark.parametrize("before", ["", " ", '"', "=", "file://", "("])
def test_local_paths_are_recognised(before):
    for folder in (["work", "main"], ["tmp", "x"], ["root", "x"], ["home", "ada", "x"], ["Users", "ada"]):
        assert LOCAL_PATH.search(before + "/" + "/".join(folder))
    assert not LOCAL_PATH.search("https://example.org/home/page, a/tmp/b, c" + "/work" + "/d")
