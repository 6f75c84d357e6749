"""Imports run downward only, as the table of docs/architecture.md says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "airflow_provider_truto"

#: What each part may import of this package, beside itself and the package's own `__version__`.
ALLOWED = {
    part: set(re.findall(r"`(\w+)`", allowed))
    for part, allowed in re.findall(
        r"^\| `(\w+)` \| ((?:`\w+`(?:, )?)+|nothing) \|$",
        (PACKAGE.parent / "docs" / "architecture.md").read_text(),
        re.MULTILINE,
    )
}
#: Parts that may know Airflow.
KNOW_AIRFLOW = {"_compat", "assets", "hooks", "triggers", "operators", "sensors", "decorators", "retries"}
KNOW_AIRFLOW |= {"testing", "command_line"}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides what is imported"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def parts_imported(path: Path) -> set[str]:
    own = {name for name in imported(path) if name.split(".")[0] == PACKAGE.name}
    parts = {name.split(".")[1] if "." in name else "__init__" for name in own}
    return parts - {part_of(path), "__version__"}


MODULES = sorted(PACKAGE.rglob("*.py"))


def test_a_module_imports_only_what_lies_below_it():
    upward = {str(path.relative_to(PACKAGE)): parts_imported(path) - ALLOWED[part_of(path)] for path in MODULES}
    assert {path: parts for path, parts in upward.items() if parts} == {}


def test_only_compat_and_airflow_s_own_nouns_know_airflow():
    knowing = [path for path in MODULES if "airflow" in {name.split(".")[0] for name in imported(path)}]
    assert {part_of(path) for path in knowing} <= KNOW_AIRFLOW


def test_the_emulator_needs_nothing_of_the_provider_or_its_dependencies():
    names = {name.split(".")[0] for path in (PACKAGE / "emulator").rglob("*.py") for name in imported(path)}
    assert not names & {"airflow", "requests", "aiohttp", "jsonschema"}


def test_every_part_has_a_rule():
    assert {part_of(path) for path in MODULES} == set(ALLOWED)


#: How many lines a file has at most whose path begins like this; the smallest number counts.
MOST_LINES = {"": 400, "operators/": 250}
#: The modules that run a bulk.
RUNNING = ("runner", "turns", "long_waits", "queue", "account", "circuit", "progress")
MOST_LINES |= {f"bulk/{name}.py": 250 for name in RUNNING}


def test_no_file_is_longer_than_one_reads_at_once():
    lines = {path.relative_to(PACKAGE).as_posix(): len(path.read_text().splitlines()) for path in MODULES}
    most = {path: min(most for start, most in MOST_LINES.items() if path.startswith(start)) for path in lines}
    assert {path: count for path, count in lines.items() if count > most[path]} == {}
    assert [start for start in MOST_LINES if not any(path.startswith(start) for path in lines)] == []
