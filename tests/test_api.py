"""The page of the package has every module, every public class and function, in the order of the package."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from inspect import getmembers, getmodule, isclass, isfunction
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from bs4 import BeautifulSoup
from sphinx.errors import ExtensionError

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from _ext.api import lean_signatures, leave_others, modules, modules_text, public_names

MODULES = modules(ROOT)
MOST_BYTES = 650_000


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> BeautifulSoup:
    """Build the page alone, as strictly as in the book."""
    root = tmp_path_factory.mktemp("api")
    settings = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["sphinx"]["config"]
    kept = {
        key: value for key, value in settings.items() if key.startswith(("autodoc", "add_module", "toc_"))
    }
    conf = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nextensions = ['myst_parser', '_ext.api']\n"
    conf += "".join(f"{key} = {value!r}\n" for key, value in kept.items())
    (root / "conf.py").write_text(conf, encoding="utf-8")
    (root / "index.md").write_text("# Package\n\n```{package-modules}\n```\n", encoding="utf-8")
    (root / "rnnbook").symlink_to(ROOT / "rnnbook")
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "--keep-going", "-q", root, root / "site"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 0, done.stderr
    text = (root / "site" / "index.html").read_text(encoding="utf-8")
    assert len(text.encode()) < MOST_BYTES, "too long for one page: make one for each group of modules"
    return BeautifulSoup(text, "html.parser")


def test_every_module_has_its_section_in_the_order_of_the_package(page):
    assert MODULES[:2] == ["repro", "files"]
    assert [a.get_text() for a in page.select("table a")] == MODULES
    assert [heading.get_text().rstrip("¶#") for heading in page.select("h2")] == MODULES
    for heading, module in zip(page.select("h2"), MODULES, strict=True):
        docstring = import_module(f"rnnbook.{module}").__doc__ or ""
        assert heading.find_next("p").get_text()[:20] == docstring.replace("``", "")[:20]


def test_every_public_name_is_there_in_the_order_of_its_module(page):
    found = [tag["id"] for tag in page.select("dt.sig.py[id]") if tag["id"].count(".") == 2]
    wanted = [
        f"rnnbook.{module}.{name}"
        for module in MODULES
        for name in public_names(ROOT / "rnnbook" / f"{module}.py")[0]
    ]
    assert len(wanted) > 250
    assert found == wanted


def test_formulas_of_docstrings_are_formulas(page):
    cell = page.find(id="rnnbook.cells.LSTMCell").find_next("dd")
    assert r"c_t = f_t \odot c_{t-1}" in cell.select_one(".math").get_text()


@pytest.mark.parametrize("module", MODULES)
def test_names_read_from_the_source_are_those_of_the_module(module):
    loaded = import_module(f"rnnbook.{module}")
    own = {
        name
        for name, value in getmembers(loaded, lambda value: isclass(value) or isfunction(value))
        if getmodule(value) is loaded and not name.startswith("_") and value.__name__ == name
    }
    defined, constants = public_names(ROOT / "rnnbook" / f"{module}.py")
    assert own == set(defined)
    assert all(hasattr(loaded, name) for name in constants)


def test_a_new_module_appears_by_itself(tmp_path):
    package = tmp_path / "rnnbook"
    package.mkdir()
    (package / "__init__.py").write_text('"""Order::\n\n    one → two\n"""\n')
    (package / "one.py").write_text('"""The first."""\n\nSIZE = 1\n_HIDDEN = 2\n\n\ndef f():\n    pass\n')
    (package / "two.py").write_text('"""The second.\n\nMore.\n"""\n')
    assert modules(tmp_path) == ["one", "two"]
    assert public_names(package / "one.py") == (["f"], ["SIZE"])
    text = modules_text(tmp_path)
    assert "| {ref}`two <api-two>` | The second. |" in text
    assert (
        text.index("automodule:: rnnbook.one") < text.index("`SIZE`") < text.index("automodule:: rnnbook.two")
    )
    (package / "__init__.py").write_text('"""No order."""\n')
    with pytest.raises(ExtensionError, match="has no line 'module → module"):
        modules(tmp_path)


def test_signatures_keep_their_words_and_their_links():
    spans = '<em><span class="n"><span class="pre">a</span></span><span class="p">:</span> <a><span class="pre">B</span></a></em>'
    assert lean_signatures(spans) == "<em>a: <a>B</a></em>"
    assert lean_signatures('<span class="katex">x</span>') == '<span class="katex">x</span>'


@pytest.mark.parametrize(
    ("target", "stays"),
    [
        ("torch.Tensor", True),
        ("rnnbook.cells.State", True),
        ("rnnbook.cells.NoCell", False),
        ("rnnbook.no.X", False),
    ],
)
def test_only_names_of_others_and_of_types_may_have_no_entry(target, stays):
    app, node = SimpleNamespace(confdir=ROOT), {"refdomain": "py", "reftarget": target}
    assert (leave_others(app, None, node, "word") == "word") is stays
