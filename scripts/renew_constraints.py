"""`make constraints`: resolve the newest Airflow and everything beside it for Python 3.10 to 3.13."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = (
    "# Pins of the development environment, for Python 3.10 to 3.13. Made by `make constraints`;"
    " names and versions only.\n"
)


def main() -> None:
    """Write constraints.txt; uv resolves for several Pythons at once, which pip cannot."""
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "uv"], check=True)
    command = [sys.executable, "-m", "uv", "pip", "compile", "-q", "--universal", "--python-version", "3.10"]
    command += ["--no-header", "--no-annotate", "--extra", "emulator"]
    command += ["--group", "test", "--group", "services", "--group", "docs", "--group", "lint", "pyproject.toml", "-"]
    roots = "apache-airflow>=3\nhatchling\npip\n"
    done = subprocess.run(command, cwd=ROOT, input=roots, check=True, capture_output=True, text=True)
    (ROOT / "constraints.txt").write_text(HEADER + done.stdout)


if __name__ == "__main__":
    main()
