"""The task instances that moves belong to."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import quote


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
