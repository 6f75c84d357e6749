"""Apache Airflow provider for Truto (truto.one)."""

__version__ = "0.1.0"
