"""What it costs to import an operator, which the DAG processor does for every DAG file again."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from benchmarks.comparison import Comparison, Target, in_turn

_ROUNDS = 9
_NOTHING = "nothing more"
_OURS = "import airflow_provider_truto.operators.accounts"
_HTTP = "from airflow.providers.http.operators.http import HttpOperator"
#: BaseOperator leaves so much behind that a collection of garbage is due; it is not the next import's.
_PROGRAM = """
import gc, time
from airflow.sdk import BaseOperator
gc.collect()
began = time.process_time()
{statement}
print((time.process_time() - began) * 1000)
"""


def compared() -> Comparison:
    """Import each in fresh processes, after BaseOperator."""
    statements = {_NOTHING: "pass", _OURS: _OURS, _HTTP: _HTTP}
    contenders = {name: partial(_cpu_of, statement) for name, statement in statements.items()}
    return Comparison(
        title="CPU of importing an operator, over `from airflow.sdk import BaseOperator`",
        unit="ms",
        samples=in_turn(contenders, rounds=_ROUNDS),
        by="difference",
        targets={_OURS: Target("at most", 50)},
    )


def _cpu_of(statement: str) -> float:
    """Milliseconds of CPU of a statement in a fresh process."""
    command = [sys.executable, "-c", _PROGRAM.format(statement=statement)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])
