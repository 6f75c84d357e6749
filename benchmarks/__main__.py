"""`python -m benchmarks [--save] [ROW …]`: measure the rows, all unless some are named, and print them as tables."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module

from benchmarks.report import as_text, saved

#: Each is a module of this package.
ROWS = (
    "importing",
    "one_update",
    "bulk_latency",
    "bulk_peers",
    "bulk_tiers",
    "bulk_memory",
    "bulk_mapped",
    "bulk_changed",
    "bulk_match",
)


def main() -> int:
    """Measure; 0 unless something is broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--save", action="store_true", help="write docs/benchmarks.md too")
    options = parser.parse_args()
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"there is no row {', '.join(sorted(unknown))}")
    comparisons = []
    with tempfile.TemporaryDirectory(prefix="truto-bench-") as home:
        _leave_the_environment(home)
        for row in options.rows or ROWS:
            made = import_module(f"benchmarks.{row}").compared()
            for comparison in made if isinstance(made, Sequence) else [made]:
                comparisons.append(comparison)
                print(as_text(comparison), end="\n\n", flush=True)
    if options.save:
        print(f"Written: docs/{saved(comparisons).name}")
    return 0


def _leave_the_environment(airflow_home: str) -> None:
    """Measure a fresh Airflow, and loopback without a proxy in between."""
    for name in list(os.environ):
        # Python's variables too: without __pycache__, compiling would be all that an import is measured by.
        if name.startswith(("AIRFLOW", "PYTHON")) or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ["AIRFLOW_HOME"] = airflow_home


if __name__ == "__main__":
    sys.exit(main())
