"""One bulk in a process of its own: `python -m benchmarks.bulk_process FILE OUTPUT OPTIONS`, the last as JSON.

The last line that it prints is what was measured: ``records`` that were updated, those that were ``unchanged``, the
``requests``, ``seconds``, ``cpu`` in seconds, ``peak`` in MiB.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import bulk_load


def measured(source: Path, output: Path, *, url: str, **options: Any) -> dict[str, float]:
    """Run a bulk against a URL; raises ``CalledProcessError`` where not every record was updated."""
    bulk_load.connect(url)
    command = [sys.executable, "-m", "benchmarks.bulk_process", str(source), str(output), json.dumps(options)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ})
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure from the first line of the source to the end of the ledger; importing Airflow comes before."""
    source, output, options = sys.argv[1:]
    import airflow_provider_truto.client.aio
    import airflow_provider_truto.operators._bulk_job
    import airflow_provider_truto.operators.accounts  # noqa: F401

    began, cpu = time.perf_counter(), time.process_time()
    counts: Mapping[str, Any] = bulk_load.bulk(Path(source), Path(output), **json.loads(options))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    measured = {"records": counts["updated"], "seconds": seconds, "cpu": cpu, "peak": _peak()}
    print(json.dumps({**measured, "unchanged": counts["unchanged"], "requests": counts["requests"]}))


def _peak() -> float:
    """MiB that the process has held at most. `ru_maxrss` may be that of the process that started this one."""
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"VmHWM:\s*(\d+) kB", status.read_text())):
        return int(found[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1024**2


if __name__ == "__main__":
    main()
