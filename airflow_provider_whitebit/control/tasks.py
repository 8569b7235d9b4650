"""The task instances that moves belong to."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import quote

from airflow_provider_whitebit.client.errors import clean
from airflow_provider_whitebit.hooks.stores import task_in_words


class Task(NamedTuple):
    """A task instance."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON, with the address of the task's page relative to Airflow's own."""
        parts = ("dags", self.dag_id, "runs", self.run_id, "tasks", self.task_id)
        mapped = ("mapped", str(self.map_index)) if self.map_index >= 0 else ()
        return {**self._asdict(), "page": "/".join(quote(part, safe="") for part in (*parts, *mapped))}


def in_words(task: Task) -> str:
    """Return a task instance in words."""
    return clean(task_in_words(*task))
