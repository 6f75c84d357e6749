"""Comparisons as tables: for the terminal, and for docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.comparison import Comparison
from benchmarks.plots import drawn

_DOCS = Path(__file__).resolve().parent.parent / "docs"
_SAVED_AS = _DOCS / "benchmarks.md"
_PACKAGES = (
    "apache-airflow",
    "requests",
    "aiohttp",
    "jsonschema",
    "apache-airflow-providers-http",
    "truto-python-sdk",
)
_INTRODUCTION = """\
# Benchmarks

Written by `make bench SAVE=1`; `make bench` only prints. Everything is measured in one run on one machine, in turn
(A B C A B C …) and on loopback, and the medians are shown. What says something is the comparison with the first
line of a table, not the figure. A target that is missed is shown, and fails nothing.
"""


def as_text(comparison: Comparison) -> str:
    """Write a table for the terminal."""
    rows = _rows(comparison)
    name, figure, compared = (max(len(row[column]) for row in rows) for column in range(3))
    lines = [f"{row[0]:<{name}}  {row[1]:>{figure}}  {row[2]:>{compared}}  {row[3]}".rstrip() for row in rows]
    return "\n  ".join([comparison.title, *lines, *comparison.notes])


def saved(comparisons: Iterable[Comparison]) -> Path:
    """Write docs/benchmarks.md and its plots in docs/images."""
    text = "\n".join([_INTRODUCTION, _machine(), *map(_as_markdown, comparisons)])
    _SAVED_AS.write_text(text, "utf-8")
    return _SAVED_AS


def _rows(comparison: Comparison) -> list[tuple[str, str, str, str]]:
    """What, its median, how it compares with the first one, and whether that is what was aimed at."""
    rows = []
    for number, name in enumerate(comparison.samples):
        reached = comparison.reached(name)
        target = comparison.targets.get(name)
        verdict = ""
        if target is not None:
            met = "met" if target.is_met(reached) else "MISSED"
            verdict = f"target {target.side} {_compared(comparison, target.limit)}: {met}"
        figure = comparison.figure(name)
        shown = f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"
        rows.append((name, f"{shown} {comparison.unit}", _compared(comparison, reached) if number else "", verdict))
    return rows


def _compared(comparison: Comparison, value: float) -> str:
    if comparison.by == "ratio":
        return f"{value:,.0f} ×" if value >= 100 else f"{value:.2f} ×"
    return f"{value:+.0f} {comparison.unit}"


def _as_markdown(comparison: Comparison) -> str:
    lines = [f"## {comparison.title}", "", "| | median | compared | target |", "| --- | ---: | ---: | --- |"]
    lines += [f"| `{name}` | {' | '.join(cells)} |" for name, *cells in _rows(comparison)]
    rounds = len(next(iter(comparison.samples.values())))
    told = " ".join([f"{rounds} rounds." if rounds > 1 else "Once.", *comparison.notes])
    images = [f"![{plot.caption}]({drawn(plot, _DOCS / 'images').relative_to(_DOCS)})\n" for plot in comparison.plots]
    return "\n".join([*lines, "", told, "", *images])


def _machine() -> str:
    packages = ", ".join(f"{name} {found}" for name in _PACKAGES if (found := _version(name)))
    system = f"{os.cpu_count()} cores, {platform.system()} on {platform.machine()}"
    return f"{system}, Python {platform.python_version()}, {packages}.\n"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
