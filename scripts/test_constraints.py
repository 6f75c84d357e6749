"""`make test-constraints`: the wheel under the pins that Airflow itself recommends, one environment a version.

The pins of `constraints/` are those of Airflow's own constraint files for Python 3.12, cut down to the packages
that come into play. Each environment is built in two steps, so that installing this provider is seen to move
nothing: Airflow alone, then the wheel.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from pythons import find_python

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ["2.11.2", "3.0.6", "3.2.1", "3.3.1"]
#: The version of Python that the pins were made for.
PYTHON = "3.12"


def main(versions: list[str]) -> int:
    """Test every version; 0 where all of them pass."""
    python = find_python(PYTHON) or sys.executable
    if python == sys.executable:
        print(f"Testing with Python {sys.version.split()[0]}; the pins were made for {PYTHON}.", flush=True)
    with tempfile.TemporaryDirectory(prefix="truto-wheel-") as folder:
        run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, str(ROOT)])
        (wheel,) = Path(folder).glob("*.whl")
        for version in versions or VERSIONS:
            print(f"=== Airflow {version}", flush=True)
            test_version(version, python, wheel)
    print("Installed and tested under the pins of Airflow " + ", ".join(versions or VERSIONS))
    return 0


def test_version(version: str, python: str, wheel: Path) -> None:
    """Build one environment and run the tests in it; raises where anything fails."""
    venv = ROOT / f".venv-{version}"
    shutil.rmtree(venv, ignore_errors=True)
    run([python, "-m", "venv", str(venv)])
    bin_folder = venv / "bin"
    pins = ROOT / "constraints" / f"airflow-{version}.txt"
    pip = [str(bin_folder / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile"]
    run([*pip, "-c", str(pins), f"apache-airflow=={version}"])
    before = installed(bin_folder)
    run([*pip, "-c", str(pins), str(wheel)])
    moved = {name: (old, installed(bin_folder).get(name)) for name, old in before.items()}
    moved = {name: change for name, change in moved.items() if change[0] != change[1]}
    if moved:
        raise SystemExit(f"installing the provider moved packages of Airflow {version}: {moved}")
    run([*pip, "-c", str(pins), f"{wheel}[emulator]", "pytest", "hypothesis"])
    run([str(bin_folder / "airflow"), "version"])
    # `pytest`, not `python -m pytest`: the latter would import the source tree instead of the wheel.
    run([str(bin_folder / "pytest"), "-q", "-m", "not airflow and not browser"])
    run([str(bin_folder / "python"), "scripts/demo.py"])


def installed(bin_folder: Path) -> dict[str, str]:
    """List what is installed, by name."""
    command = [str(bin_folder / "python"), "-m", "pip", "list", "--disable-pip-version-check", "--format", "json"]
    listed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {package["name"]: package["version"] for package in listed}


def run(command: list[str]) -> None:
    """Run a command in the project's folder; end here with its exit code where it fails."""
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode != 0:
        raise SystemExit(f"failed ({done.returncode}): {' '.join(command)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
