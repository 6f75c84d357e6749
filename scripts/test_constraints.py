"""`make test-constraints`: the wheel under the pins that Airflow itself recommends, one environment a version.

The pins of `constraints/` are those of Airflow's own constraint files for Python 3.12, cut down to the packages
that come into play; the head of a file says where they are not. Each environment is built in two steps, so that
installing this provider is seen to move nothing: Airflow alone, then the wheel. `lowest` is the lowest version of
everything that pyproject.toml declares.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from pythons import find_python

ROOT = Path(__file__).resolve().parent.parent
#: How pytest says that all tests ran, and not all passed.
SOME_FAILED = 1
#: Whatever does not take long, and the connection form in a browser, which each Airflow draws in its own way.
WHOLE = ["-m", "not slow or browser", "tests"]
#: What differs between the versions of Airflow: discovery, rendering, who a task is, deferring, links, assets, the
#: commands, the task runner that the pytest plugin runs, the example DAGs.
DIFFERS = ["-m", "not slow", "tests/test_discovery.py", "tests/test_provider_info.py", "tests/test_example_dags.py"]
DIFFERS += ["tests/sensors", "tests/triggers", "tests/testing", "tests/command_line", "tests/test_assets.py"]
DIFFERS += [
    str(path.relative_to(ROOT))
    for subject in (
        "rendering",
        "provenance",
        "mapped",
        "idempotency",
        "identity",
        "connections",
        "sync_job",
        "hook_keys",
        "decorated",
        "links",
        "outlets",
    )
    for path in sorted((ROOT / "tests" / "operators").glob(f"test_*{subject}*.py"))
]
#: What uses the libraries whose versions have a floor.
LIBRARIES = ["-m", "not slow", "tests/client", "tests/hooks", "tests/bulk/test_bulk_parquet.py"]


class Environment(NamedTuple):
    """What is installed, and what is tested in it."""

    python: str
    pins: str
    tests: list[str]
    #: What is there before the provider comes.
    airflow: tuple[str, ...] = ("apache-airflow",)
    #: Whether another Python would do, where there is none of the version.
    takes_another_python: bool = False
    #: Whether an example DAG is run as well.
    has_demo: bool = False


def _under_airflow_pins(version: str, tests: list[str], *beside: str) -> Environment:
    airflow = (f"apache-airflow=={version}", *beside)
    return Environment("3.12", f"constraints/airflow-{version}.txt", tests, airflow, True, True)


ENVIRONMENTS = {
    "2.11.2": _under_airflow_pins("2.11.2", WHOLE),
    # Without its FAB provider, which most people have, Airflow 3.0 shows no form.
    "3.0.6": _under_airflow_pins("3.0.6", DIFFERS, "apache-airflow-providers-fab"),
    "3.1.8": _under_airflow_pins("3.1.8", DIFFERS),
    "3.2.1": _under_airflow_pins("3.2.1", DIFFERS),
    "3.3.1": _under_airflow_pins("3.3.1", DIFFERS),  # `make test` is whole on 3.3.2
    "lowest": Environment("3.10", "constraints/lowest.txt", LIBRARIES),
}
#: `make test-all` runs them: the newest of everything under each Python but the one that all other tests run under.
PYTHONS = {
    f"python{version}": Environment(version, "constraints.txt", LIBRARIES) for version in ("3.10", "3.13", "3.14")
}


def main(names: list[str]) -> int:
    """Test every environment, or those of ``names``; ``pythons`` stands for all of them. 0 where all pass."""
    names = [one for name in names or ENVIRONMENTS for one in (PYTHONS if name == "pythons" else [name])]
    with tempfile.TemporaryDirectory(prefix="truto-wheel-") as folder:
        run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, str(ROOT)])
        (wheel,) = Path(folder).glob("*.whl")
        tested = {name: test_environment(name, (ENVIRONMENTS | PYTHONS)[name], wheel) for name in names}
    print("Installed and tested: " + ", ".join(name for name, was in tested.items() if was))
    if left_out := [name for name, was in tested.items() if not was]:
        print("NOT TESTED, since there is no such Python here: " + ", ".join(left_out))
    return 0


def test_environment(name: str, environment: Environment, wheel: Path) -> bool:
    """Build one environment and run the tests in it; ends here where anything fails.

    False where nothing was tested, since there is no such Python.
    """
    python = find_python(environment.python)
    if python is None and not environment.takes_another_python:
        return False
    if python is None:
        python = sys.executable
        print(
            f"Testing with Python {sys.version.split()[0]}; the pins were made for {environment.python}.", flush=True
        )
    print(f"=== {name}: {python}, {environment.pins}", flush=True)
    venv = ROOT / f".venv-{name}"
    shutil.rmtree(venv, ignore_errors=True)
    run([python, "-m", "venv", str(venv)])
    bin_folder = venv / "bin"
    pip = [str(bin_folder / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    run([*pip, "pip>=25.1"])  # which knows the dependency groups of a pyproject.toml
    pip += ["--no-compile", "-c", str(ROOT / environment.pins)]
    run([*pip, *environment.airflow])
    before = installed(bin_folder)
    run([*pip, str(wheel)])
    after = installed(bin_folder)
    moved = {one: (old, after.get(one)) for one, old in before.items() if old != after.get(one)}
    if moved:
        raise SystemExit(f"installing the provider moved packages of {environment.pins}: {moved}")
    run([*pip, f"{wheel}[emulator]", "--group", f"{ROOT / 'pyproject.toml'}:test"])
    run([str(bin_folder / "airflow"), "version"])
    # `pytest`, not `python -m pytest`: the latter would import the source tree instead of the wheel.
    tests = [str(bin_folder / "pytest"), "-q", "--durations", "10", *environment.tests]
    at_once = subprocess.run([*tests, "-n", "2", "--dist", "loadfile"], cwd=ROOT, check=False)
    if at_once.returncode == SOME_FAILED:
        # A web server may miss its time on a busy machine: what failed is tried once more, alone.
        run([*tests, "--last-failed", "--last-failed-no-failures", "none"])
    elif at_once.returncode != 0:
        raise SystemExit(f"the tests did not run in {name}")
    if environment.has_demo:
        run([str(bin_folder / "python"), "scripts/demo.py"])
    return True


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
