"""Finding a Python of a version: `python scripts/pythons.py 3.12 3.13` prints the first one that is at hand."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path


def find_python(*versions: str) -> str | None:
    """Find a Python of one of these versions, the first one first; ``None`` where there is none."""
    for version in versions:
        pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
        for candidate in [shutil.which(f"python{version}"), *map(str, pyenv)]:
            if candidate and is_of(candidate, version):
                return candidate
    return None


def is_of(candidate: str, version: str) -> bool:
    """Whether a command really runs the version: a pyenv shim is on PATH for versions that are switched off."""
    probe = [candidate, "-c", "import sys; print('{}.{}'.format(*sys.version_info))"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    return done.stdout.strip() == version


if __name__ == "__main__":
    print(find_python(*sys.argv[1:]) or sys.executable)
