"""What OpenLineage is told of a task that has written: the resources of customers, and how many records of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class LineageMixin:
    """Answers Airflow's OpenLineage provider, which asks in the process of the task when that has ended."""

    #: What the task is known to have written: the counts of each integrated account.
    written: Mapping[str, Mapping[str, int]] = {}
    model: Any
    resource: Any

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002
        """Return an ``OperatorLineage``: a dataset for each customer of whom anything was written, with a row count.

        Needs the extra ``openlineage``.
        """
        from airflow.providers.common.compat.openlineage.facet import (
            OutputDataset,
            OutputStatisticsOutputDatasetFacet,
        )
        from airflow.providers.openlineage.extractors import OperatorLineage

        rows = {account: count_written(counts) for account, counts in self.written.items() if account}
        return OperatorLineage(
            outputs=[
                OutputDataset(
                    namespace=f"truto://{account.lower()}",
                    name=f"{self.model or 'proxy'}/{self.resource}",
                    outputFacets={"outputStatistics": OutputStatisticsOutputDatasetFacet(rowCount=count)},
                )
                for account, count in rows.items()
                if count
            ]
        )

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> Any:
        """Return the same of a task that has failed: what it had written before."""
        return self.get_openlineage_facets_on_complete(task_instance)


def count_written(counts: Mapping[str, int]) -> int:
    """Return how many records were written."""
    return counts.get("updated", 0) + counts.get("created", 0)
