"""The receipts that tasks have announced as asset events, for a task, which has no access to Airflow's database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_whitebit.hooks.airflow_compat import asset_events
from airflow_provider_whitebit.hooks.assets import address
from airflow_provider_whitebit.moves.intent import Receipt

if TYPE_CHECKING:
    from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook

#: Airflow's clock may be behind the exchange's, so the event of a move can be older than the move. For those who need
#: all moves since a moment.
EARLIER = timedelta(days=1)


class Place(NamedTuple):
    """The task instance that made a move. ``map_index`` is -1 if it is not mapped."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int


def announced_moves(hook: WhiteBitHook, since: datetime) -> Iterator[tuple[Receipt, Place]]:
    """Yield the receipts of an account, each with its task, earliest first. Outside a task, there are none.

    :param hook: of the connection. Receipts of its previous connection count too.
    :param since: events from then on, by Airflow's clock; before Airflow 3.3 all.
    """
    found = []
    for one in (hook, hook.previous):
        for event in () if one is None else asset_events(address(one.whitebit_conn_id), since):
            # Anyone who may create asset events could write a receipt that is none. Events of tasks name the task.
            if event.source_task_id:
                index = -1 if event.source_map_index is None else event.source_map_index
                place = Place(str(event.source_dag_id), str(event.source_run_id), event.source_task_id, index)
                with suppress(ValueError, TypeError):
                    found.append((event.timestamp, Receipt.from_json(event.extra), place))
    found.sort(key=lambda one: one[0])
    yield from ((receipt, place) for _, receipt, place in found)
