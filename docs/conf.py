"""How Sphinx builds the site: `make docs`.

The pages are plain Markdown, so that they can be read in the repository as well. What the site has beyond them: the
README as its first page, the changelog, CONTRIBUTING, the text of the example DAGs, and a reference from docstrings.
"""

from __future__ import annotations

import inspect
import re
import sys
import urllib.request
from pathlib import Path
from typing import Any

from pygments.lexers.special import TextLexer

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from airflow_provider_truto import __version__  # noqa: E402

project = "airflow-provider-truto"
author = "The maintainers of airflow-provider-truto"
project_copyright = "The maintainers of airflow-provider-truto. Apache License 2.0"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.intersphinx", "sphinx_copybutton"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"airflow-provider-truto {__version__}"
html_copy_source = False

# -------------------------------------------------------------------------------------------------------------- pages

myst_heading_anchors = 4
#: Files beside `docs/` that have a page on the site.
_PAGES_OF_ROOT = {"README": "index", "CHANGELOG": "CHANGELOG", "CONTRIBUTING": "CONTRIBUTING"}


def _rewrite_source(_app: Any, docname: str, source: list[str]) -> None:
    """Have links that leave `docs/` lead to the page that the site has instead, and show the example DAGs."""
    text = source[0]
    for name, page in _PAGES_OF_ROOT.items():
        text = re.sub(rf"\]\(\.\./{name}\.md", f"]({page}.md", text)
    if docname == "examples":
        text = re.sub(r"^\[.*\]\((\.\./example_dags/\w+\.py)\)$", r"```{literalinclude} \1\n```", text, flags=re.M)
    source[0] = re.sub(r"\]\(\.\./example_dags/(\w+)\.py\)", r"](examples.md#\1)", text)


# ---------------------------------------------------------------------------------------------------------- reference

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_class_signature = "mixed"
autodoc_inherit_docstrings = False


def _add_arguments(_app: Any, what: str, _name: str, obj: Any, _options: Any, lines: list[str]) -> None:
    """Show what a base class that is private, and so is not shown, says of a class's arguments."""
    if what == "class" and not any(line.startswith(":param ") for line in lines):
        for base in obj.__bases__:
            if base.__name__.startswith("_"):
                lines += ["", *(inspect.getdoc(base) or "").splitlines()]


# ---------------------------------------------------------------------------------------------- other projects' sites

_OTHERS = {
    "python": "https://docs.python.org/3/",
    "airflow": "https://airflow.apache.org/docs/apache-airflow/stable/",
    "requests": "https://requests.readthedocs.io/en/latest/",
}
_INVENTORIES = Path(__file__).parent / "_build" / "inventories"


def _find_inventory(name: str, url: str) -> str | None:
    """Fetch what can be linked to on another site, once; `None` where it cannot be reached.

    Sphinx would warn, and `-W` fail: without a network, names of other projects are just no links.
    """
    kept = _INVENTORIES / f"{name}.inv"
    if not kept.exists():
        try:
            with urllib.request.urlopen(f"{url}objects.inv", timeout=5) as answer:  # noqa: S310
                inventory = answer.read()
        except OSError as error:
            print(f"intersphinx: no links to {url}: {error}")
            return None
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(inventory)
    return str(kept)


intersphinx_mapping = {
    name: (url, inventory) for name, url in _OTHERS.items() if (inventory := _find_inventory(name, url)) is not None
}


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _rewrite_source)
    app.connect("autodoc-process-docstring", _add_arguments)
    for language in ("csv", "jsonl"):
        app.add_lexer(language, TextLexer)
