"""The page of the package's public names, written while the site is built.

``{package-modules}`` gives each module of ``rnnbook`` a heading, in the order of the package's own
docstring, and lets Sphinx's autodoc write below it what the docstrings say.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

PACKAGE = "rnnbook"
NEEDLESS_SPAN = re.compile(r'<span class="(?:default_value|pre|[knopw])">([^<]*)</span>')


def modules(root: Path) -> list[str]:
    """Return the modules of the package in the order in which its docstring tells to read them."""
    docstring = ast.get_docstring(ast.parse((root / PACKAGE / "__init__.py").read_text(encoding="utf-8")))
    order = re.search(r"^\s*(\w+(?: → \w+)+)\s*$", docstring or "", re.MULTILINE)
    if order is None:
        raise ExtensionError(f"{PACKAGE}/__init__.py: its docstring has no line 'module → module → …'")
    return order[1].split(" → ")


@cache
def public_names(path: Path) -> tuple[list[str], list[str]]:
    """Return the classes and functions that a module defines, and its constants, without the private ones."""
    defined: list[str] = []
    constants: list[str] = []
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef):
            defined.append(statement.name)
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            constants += [target.id for target in targets if isinstance(target, ast.Name)]
    return tuple([name for name in names if not name.startswith("_")] for names in (defined, constants))


def purpose(path: Path) -> str:
    """Return the first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def modules_text(root: Path) -> str:
    """Return a table of the modules, and a section for each, in MyST."""
    rows, sections = ["| module | what it is for |", "| --- | --- |"], []
    for module in modules(root):
        path = root / PACKAGE / f"{module}.py"
        rows.append(f"| {{ref}}`{module} <api-{module}>` | {purpose(path)} |")
        constants = ", ".join(f"`{name}`" for name in public_names(path)[1])
        sections += [
            f"(api-{module})=\n## {module}\n",
            f"```{{eval-rst}}\n.. automodule:: {PACKAGE}.{module}\n   :members:\n   :exclude-members: extra_repr\n```\n",
            f"Constants and names of types: {constants}.\n" if constants else "",
        ]
    return "\n".join([*rows, "", *sections])


class PackageModules(SphinxDirective):
    """``package-modules``: all modules of the package, with their public names."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        root = Path(self.env.srcdir)
        for path in (root / PACKAGE).glob("*.py"):
            self.env.note_dependency(str(path))
        return self.parse_text_to_nodes(modules_text(root), allow_section_headings=True)


def lean_signatures(body: str) -> str:
    """Return HTML without the spans that Sphinx puts around each word and mark of a signature."""
    for _ in range(2):  # one in another
        body = NEEDLESS_SPAN.sub(r"\1", body)
    return body


def lean_page(_app: Sphinx, _name: str, _template: str, context: dict[str, Any], _tree: Any) -> None:
    """Make a page that has signatures lighter."""
    if 'class="sig ' in context.get("body", ""):
        context["body"] = lean_signatures(context["body"])


def leave_others(
    app: Sphinx, _env: BuildEnvironment, node: addnodes.pending_xref, text: nodes.TextElement
) -> nodes.TextElement | None:
    """Show a name of another library as a word, since its page lies elsewhere; our own must be found.

    Names of types are our own and have no entry: they stand below the module that defines them.
    """
    if node.get("refdomain") != "py":
        return None
    package, _, name = node["reftarget"].partition(".")
    if package != PACKAGE:
        return text
    module, _, name = name.partition(".")
    path = Path(app.confdir) / PACKAGE / f"{module}.py"
    return text if path.is_file() and name in public_names(path)[1] else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Let autodoc tell of what the modules define, in the order of their lines."""
    app.setup_extension("sphinx.ext.autodoc")
    app.add_directive("package-modules", PackageModules)
    app.connect("missing-reference", leave_others)
    app.connect("html-page-context", lean_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
