"""Airflow hooks for Truto, and reading its connections."""
