"""The repository's address, read from ``pyproject.toml``, for the buttons of each page and for commands."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import SphinxDirective

from tools.address import repository


def add_address(_app: Sphinx, config: Config) -> None:
    """Give the theme what its buttons need: source, issues, and Colab on the pages of notebooks."""
    config.html_theme_options |= {
        "repository_url": repository(),
        "repository_branch": "main",
        "path_to_docs": "",
        "use_repository_button": True,
        "use_issues_button": True,
        "launch_buttons": {"colab_url": "https://colab.research.google.com"},
    }


class AddressCode(SphinxDirective):
    """``address-code``: commands for a shell, with the repository's address in the place of ``ADDRESS``."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the commands."""
        code = "\n".join(self.content).replace("ADDRESS", repository())
        return [nodes.literal_block(code, code, language="sh")]


def setup(app: Sphinx) -> dict[str, Any]:
    """Set the theme's options before the theme reads them, and offer the directive."""
    app.add_directive("address-code", AddressCode)
    app.connect("config-inited", add_address, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
