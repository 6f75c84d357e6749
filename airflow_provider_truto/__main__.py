"""`python -m airflow_provider_truto`."""

from __future__ import annotations

import sys

from airflow_provider_truto.command_line.run import main

if __name__ == "__main__":
    sys.exit(main())
