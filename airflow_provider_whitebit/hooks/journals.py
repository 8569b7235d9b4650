"""Journals of moves that Airflow keeps: one document for each try of a task that has written."""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from airflow_provider_whitebit.client.errors import (
    WhiteBitConfigurationError,
    WhiteBitJournalError,
)
from airflow_provider_whitebit.hooks.airflow_compat import (
    begun_by_a_task,
    begun_by_hand,
    boolean_option,
    continues_a_try,
    current_context,
    forked_by_a_task,
    is_in_loop,
    runs_for_airflow,
    runs_in_executor,
    started_runs,
)
from airflow_provider_whitebit.hooks.mapped_tasks import MappedTask
from airflow_provider_whitebit.hooks.stores import (
    Store,
    Variables,
    VariableStore,
    count_instances,
    plain_name,
    task_in_words,
    variable_name,
)
from airflow_provider_whitebit.moves.journal import (
    PAGES_KEPT,
    Journal,
    LogReading,
    MemoryJournal,
    MemoryMarkers,
    MemorySpendingLog,
    MoveMarkers,
    Page,
    SharedJournal,
    SpendingLog,
)
from airflow_provider_whitebit.moves.keys import argument_of, is_idempotent, split_key, with_account

#: Begin the names of Variables: of a task's move, and of an idempotency key's.
PREFIXES = _VARIABLE, _KEYED = "whitebit_move__", "whitebit_key__"
#: The writer of tries that a person started. Airflow may run the same try beside it, which has the try's number.
_BY_HAND = 0
#: Begin the names of the runs that people start. With one date there can be many, each replacing the one before.
_RUNS_BY_HAND = ("manual__", "__airflow_temporary_run_")
#: How many numbers the latest page of a spending log is looked for, if the one that is named as the latest is gone.
_PAGES_SEARCHED = 200
#: Bits of a writer's number in the journal of an idempotency key.
_WRITER_BITS = 12


class Writers(Protocol):
    """Which writers have a document, by signs: names that are only ever added, so no writer can remove another's."""

    def signs(self, writer: int) -> list[str]:
        """The signs that a writer adds before its document."""

    def known(self, exist: Callable[[Collection[str]], Set[str]]) -> Sequence[int]:
        """The writers that may have a document, in order.

        :param exist: looks for signs, and returns all that it has found so far.
        """


class Tries:
    """The tries of one task: each try from 2 on adds a sign for each power of two up to its number.

    :param own: number of this try.
    :param in_teams: whether a try may not see what another try has written, because Airflow runs it with another team.
        Then all tries add one sign that they share. A try can neither see nor keep the sign of another team.
    """

    def __init__(self, own: int, *, in_teams: bool) -> None:
        self._own, self._in_teams = own, in_teams

    def signs(self, writer: int) -> list[str]:
        powers = range(0, max(writer.bit_length(), 1)) if self._in_teams else range(1, writer.bit_length())
        return [f"from_{2**power}" for power in powers]

    def known(self, exist: Callable[[Collection[str]], Set[str]]) -> Sequence[int]:
        power = 1
        while (sign := f"from_{2**power}") in exist([sign]):
            power += 1
        return range(_BY_HAND, max(self._own + 1, 2**power))


class AnyTask:
    """Tries of any tasks, by the beginning of their hash: a sign for each prefix of its bits."""

    def signs(self, writer: int) -> list[str]:
        bits = f"{writer:0{_WRITER_BITS}b}"
        return [f"b{bits[:length]}" for length in range(_WRITER_BITS)]

    def known(self, exist: Callable[[Collection[str]], Set[str]]) -> Sequence[int]:
        longer, signs = {"b"}, set[str]()
        # Those beside all signs that were found before are looked for at once.
        while len(found := exist(longer)) > len(signs):
            signs = {*found}
            longer = {sign + bit for sign in signs if len(sign) < _WRITER_BITS for bit in "01"}
        return sorted(int(sign[1:] + bit, 2) for sign in signs if len(sign) == _WRITER_BITS for bit in "01")


@dataclass(slots=True)
class StoredJournal:
    """The journal of one move, as one writer sees it.

    :param identity: names the move.
    :param store: where its documents are.
    :param name: begins the names of its documents and signs.
    :param writer: number of this writer.
    :param writers: who else may have written.
    :param task: names the task instance that writes.
    :param sibling: the journal of another move of the task.
    """

    identity: str
    store: Store
    name: str
    writer: int
    writers: Writers
    task: str
    sibling: Callable[[str], Journal]
    _seen: set[str] = field(default_factory=set)

    @property
    def by_tries(self) -> bool:
        return isinstance(self.writers, Tries)

    @property
    def entry(self) -> str:
        return f"the Variables whose names begin with {self.name}__"

    def read(self) -> list[dict[str, Any]]:
        names = [f"{self.name}__{writer}" for writer in self.writers.known(self._signs)]
        texts = self.store.read_all(names)
        found = [_document(f"The journal of {self.identity}", texts[name]) for name in names if name in texts]
        # A dag run that was deleted and made again under its name begins with try 1, after all tries of the old one.
        return sorted(found, key=_started)

    def prepare(self) -> None:
        for sign in self.writers.signs(self.writer):
            if sign not in self._seen:
                self.store.keep(f"{self.name}__{sign}", '"begun"', f"Sign of {self.task}")
                self._seen.add(sign)

    def write(self, document: dict[str, Any]) -> None:
        # The signs come first: a run that does not find the document cannot have missed a sign.
        self.prepare()
        self.store.keep(f"{self.name}__{self.writer}", json.dumps(document, sort_keys=True), f"Move of {self.task}")

    def _signs(self, wanted: Collection[str]) -> Set[str]:
        names = {f"{self.name}__{sign}": sign for sign in sorted(wanted) if sign not in self._seen}
        self._seen.update(names[name] for name in self.store.read_all(names))
        return self._seen


@dataclass(frozen=True, slots=True)
class TaskJournals:
    """The journals of the moves of one task instance, as one of its tries sees them.

    :param task: dag, run, task and map index.
    :param try_number: of the try.
    :param variables: where they are kept.
    :param accounts: fingerprints of the connection's API keys: its own, then perhaps the previous one.
    :param instance: Airflow's own id of this try, if it is known.
    :param by_hand: whether a person started this try.
    :param in_teams: whether Airflow shows Variables to the team that wrote them only (multi-team mode).
    """

    task: tuple[str, str, str, str]
    try_number: int = 1
    variables: Store = field(default_factory=VariableStore)
    accounts: tuple[str, ...] = ()
    instance: str = ""
    by_hand: bool = False
    in_teams: bool = False

    @property
    def writer(self) -> int:
        """The number of this try's documents."""
        return _BY_HAND if self.by_hand else self.try_number

    def journal(self, key: str) -> Journal:
        """The journal of one move.

        :param key: of the move.
        """
        if is_idempotent(key):
            return _shared(key, self.accounts, self._of_any_task, self.journal)
        return StoredJournal(
            identity=self.identity(key),
            store=self.variables,
            name=variable_name(_VARIABLE, f"{self.task[0]}.{self.task[2]}.{key}", self.identity(key)),
            writer=self.writer,
            writers=Tries(self.try_number, in_teams=self.in_teams),
            task=self.identity(key),
            sibling=self.journal,
        )

    def identity(self, key: str) -> str:
        """The name of one move."""
        return argument_of(key) if is_idempotent(key) else "|".join((*self.task, key))

    def _of_any_task(self, key: str) -> StoredJournal:
        """A journal in Variables that tasks of all DAGs share."""
        _, name, number = split_key(key)
        readable = f"{name}{number}"
        # A run that was made again under its name is another writer.
        writer = "|".join((*self.task, str(self.writer), self.instance))
        return StoredJournal(
            identity=self.identity(key),
            store=self.variables,
            name=variable_name(_KEYED, readable, key),
            writer=int.from_bytes(hashlib.sha256(writer.encode()).digest()[:2]) >> 16 - _WRITER_BITS,
            writers=AnyTask(),
            task="|".join((*self.task, readable)),
            sibling=self.journal,
        )


class VariableMarkers:
    """Markers of moves in Airflow Variables, for all tasks that use an API key.

    :param account: fingerprint of the API key.
    """

    def __init__(self, account: str) -> None:
        self._account = account
        self._variables = VariableStore()

    def name(self, conflict_key: str) -> str:
        """The name of the Variable of one conflict key."""
        return f"whitebit_marker__{self._account}__{plain_name(conflict_key)}"

    def read(self, conflict_key: str) -> str | None:
        return self._variables.read(self.name(conflict_key))

    def write(self, conflict_key: str, marker: str) -> None:
        description = f"The latest {conflict_key} with one API key: intent and nonce"
        self._variables.keep(self.name(conflict_key), marker, description)


class VariableSpendingLog:
    """Spending logs in Airflow Variables, for all tasks that use an API key: one Variable for each page.

    :param account: fingerprint of the API key.
    :param variables: where they are kept; by default where tasks keep them.
    """

    def __init__(self, account: str, variables: Variables | None = None) -> None:
        self._account = account
        self._variables = variables or VariableStore()

    def name(self, lock: str, part: int | str) -> str:
        """The name of the Variable of one page, or of the number of the latest one."""
        return f"whitebit_spent__{self._account}__{plain_name(lock)}__{part}"

    def read(self, name: str) -> LogReading:
        found: dict[int, str] = {}
        # Twice: another process may have named a later page meanwhile, and deleted those that are looked at.
        for _ in range(2):
            found.clear()
            named = self._named(name)
            if self._is_kept(name, self._walk(name, named, found)):
                break
        else:
            # A process that stood still has named a page that was deleted since.
            for number in range(named, named + _PAGES_SEARCHED + 1):
                self._find(name, number, found)
            if not found:
                raise WhiteBitJournalError(
                    f"The spending log of {name!r} is gone from page {named} on.",
                    next_step="If it was deleted: wait for 24 hours without moves, then delete the other Variables "
                    f"whose names begin with {self.name(name, '')}.",
                )
        documents = [_document(self.name(name, number), text) for number, text in found.items()]
        return LogReading(documents, (Page(max(found, default=0), named),))

    def write(self, name: str, document: dict[str, Any], pages: tuple[Page, ...]) -> None:
        description = "Moves of the last 24 hours with one API key, for limits over time"
        text = json.dumps(document, sort_keys=True)
        self._variables.keep(self.name(name, pages[0].number), text, description)

    def finish(self, name: str, pages: tuple[Page, ...]) -> None:
        page = pages[0]
        self._variables.keep(self.name(name, "latest"), str(page.number), "Number of the latest page")
        for number in range(max(1, page.named - PAGES_KEPT + 1), page.number - PAGES_KEPT + 1):
            self._variables.delete(self.name(name, number))

    def _named(self, name: str) -> int:
        text = self._variables.read(self.name(name, "latest")) or "0"
        if not text.isdecimal():
            raise WhiteBitJournalError(f"{self.name(name, 'latest')} is no number.")
        return int(text)

    def _find(self, name: str, number: int, found: dict[int, str]) -> bool:
        """Whether there is a page. Its text is found then."""
        if (text := self._variables.read(self.name(name, number))) is not None:
            found[number] = text
        return text is not None

    def _walk(self, name: str, named: int, found: dict[int, str]) -> int:
        """Find the last page that follows the named one without a gap. :returns: its number; 0 if there is none."""
        if named and not self._find(name, named, found):
            return 0
        number = named
        while number < named + PAGES_KEPT:
            if not self._find(name, number + 1, found):
                return number
            number += 1
        # Many moves have not named their pages: their answers were lost, or they came too late to be sent.
        step = 1
        while self._find(name, number + step, found):
            number += step
            step *= 2
        while step > 1:
            step //= 2
            number += step if self._find(name, number + step, found) else 0
        return number

    def _is_kept(self, name: str, number: int) -> bool:
        """Whether the page after this one is not there yet, rather than deleted: pages are deleted in their order."""
        if number == 0:
            return self._named(name) == 0
        return self._variables.read(self.name(name, max(1, number - PAGES_KEPT + 1))) is not None


def _document(name: str, text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise WhiteBitJournalError(f"{name} is not valid JSON ({error}).") from None
    if not isinstance(document, dict):
        raise WhiteBitJournalError(f"{name} holds {type(document).__name__}, not a move.")
    return document


def _started(document: Mapping[str, Any]) -> str:
    """When the dag run started whose try wrote a document; empty if it does not say."""
    parts = str(document.get("run", "")).split("|")
    return "" if len(parts) < 2 or parts[-2] == "None" else parts[-2]


def _shared(
    key: str, accounts: Sequence[str], journal_of: Callable[[str], Journal], sibling: Callable[[str], Journal]
) -> SharedJournal:
    """The journal of an idempotency key: while one API key of the account replaces another, that of both."""
    keys = [with_account(key, account) for account in accounts] if split_key(key)[0] in accounts else [key]
    return SharedJournal(list(map(journal_of, keys)), sibling)


@dataclass(frozen=True, slots=True)
class RunsOfDate:
    """The runs of Airflow's own that a test of a DAG replaces, because they have its date.

    ``airflow dags test`` with the date of an existing dag run deletes that run.

    :param task: the journals of the test's task.
    :param logical_date: of its dag run.
    :param moments: what the names of Airflow's runs of this date may contain.
    """

    task: TaskJournals
    logical_date: datetime
    moments: tuple[datetime, ...]

    def started(self) -> list[str]:
        """The deleted runs in which the task has started, as far as Airflow shows them (3.2 and later).

        :raises WhiteBitJournalError: Airflow's database cannot be read.
        """
        dag_id, own, task_id, _ = self.task.task
        if not self.task.by_hand:
            # Airflow shows them to a try by hand only.
            return []
        try:
            runs = started_runs(dag_id, task_id, self.logical_date)
        except Exception as error:
            raise WhiteBitJournalError(
                f"Airflow's audit log could not be read ({type(error).__name__}).", money_moved=False
            ) from error
        return [run for run in runs if run != own and not run.startswith(_RUNS_BY_HAND)]

    def journals(self, key: str) -> Iterator[tuple[str, Journal]]:
        """The journals of one move in the deleted runs that have Airflow's usual names."""
        dag_id, _, *names = self.task.task
        for run in (f"{kind}__{moment.isoformat()}" for kind in ("scheduled", "backfill") for moment in self.moments):
            yield run, replace(self.task, task=(dag_id, run, names[0], names[1])).journal(key)


@dataclass(frozen=True, slots=True)
class JournalSlot:
    """Where one move of the current task is kept.

    :param journal: of the move.
    :param generation: changes when a person clears the task, not when Airflow retries it.
    :param run: names this try of the task; empty outside a task.
    :param process_run: like ``run``, but different for another dag run of the same name in this process.
    :param begun_before: whether an earlier run of the task may have written something.
    :param task: names the task instance in words; empty outside a task.
    :param mapped: the task, if it is mapped.
    :param in_loop: whether the task is part of a loop: dag, run, task and map index do not tell its iterations apart.
    :param of_date: the runs that this one may have replaced, if it is a test of the DAG for a date.
    :param lock: held while a thread executes the move.
    :param instance: dag, run, task and map index; empty outside a task.
    """

    journal: Journal
    generation: str = ""
    run: str = ""
    process_run: str = ""
    begun_before: bool = False
    task: str = ""
    mapped: MappedTask | None = None
    in_loop: bool = False
    of_date: RunsOfDate | None = None
    lock: threading.RLock = field(default_factory=threading.RLock, compare=False)
    instance: tuple[str, str, str, str] | tuple[()] = ()


#: Outside a task, by account: the markers of moves and the spending logs; and the journals of idempotency keys, with
#: their lock.
_MEMORY_MARKERS: dict[str, MemoryMarkers] = {}
_MEMORY_SPENDING: dict[str, MemorySpendingLog] = {}
_MEMORY_JOURNALS = MemoryJournal()
_MEMORY_LOCK = threading.RLock()


def markers_for(account: str) -> MoveMarkers:
    """The markers that all tasks with this API key share; outside a task, those of this process.

    :param account: fingerprint of the API key.
    """
    if current_context() is not None:
        return VariableMarkers(account)
    return _MEMORY_MARKERS.setdefault(account, MemoryMarkers())


def spending_log_for(account: str) -> SpendingLog:
    """The spending log that all tasks with this API key share; outside a task, that of this process.

    :param account: fingerprint of the API key.
    """
    if current_context() is not None:
        return VariableSpendingLog(account)
    return _MEMORY_SPENDING.setdefault(account, MemorySpendingLog())


def slot_for(key: str, *, resumed: bool = False, accounts: tuple[str, ...] = ()) -> JournalSlot:
    """Where a move of the current task is kept; outside a task, in memory.

    :param key: of the move.
    :param resumed: whether this try of the task was deferred before.
    :param accounts: fingerprints of the connection's API keys: its own, then perhaps the previous one.
    :raises WhiteBitConfigurationError: Airflow or a task has started this process, but it has no journal.
    """
    context = current_context()
    if context is None:
        _require_no_airflow()
        if is_idempotent(key):
            # Each call is a task of its own: it is no retry of the one before.
            return JournalSlot(_in_memory(key, accounts), uuid.uuid4().hex, begun_before=True, lock=_MEMORY_LOCK)
        return JournalSlot(MemoryJournal())
    if forked_by_a_task():
        raise _begun_by_a_task()
    return _slot_in(context, key, resumed=resumed, accounts=accounts)


def _in_memory(key: str, accounts: tuple[str, ...]) -> SharedJournal:
    return _shared(key, accounts, _MEMORY_JOURNALS.sibling, lambda other: _in_memory(other, accounts))


def _slot_in(context: Mapping[str, Any], key: str, *, resumed: bool, accounts: tuple[str, ...]) -> JournalSlot:
    instance = context["ti"]
    # "airflow tasks test" counts no tries: it starts try 0, or the latest try once more.
    try_number, by_hand = max(instance.try_number, 1), begun_by_hand()
    begun_before = resumed or try_number > 1 or by_hand or continues_a_try(instance)
    task = TaskJournals(
        (instance.dag_id, instance.run_id, instance.task_id, str(instance.map_index)),
        try_number=try_number,
        accounts=accounts,
        instance=str(getattr(instance, "id", "")),
        by_hand=by_hand,
        in_teams=boolean_option("core", "multi_team"),
    )
    # A clear raises max_tries to the tries so far plus the task's retries. The retries themselves are part of the
    # generation because they may be changed before the clear. A run that was deleted and made again starts at another
    # time.
    dag_run = context.get("dag_run")
    started = getattr(dag_run, "start_date", None)
    generation = f"{instance.max_tries}|{instance.task.retries}|{started}"
    run = "|".join((*task.task, generation, str(try_number)))
    mapped, of_date = None, None
    if is_idempotent(key):
        # Another task is not a retry of this one.
        generation = "|".join((*task.task, generation))
        begun_before = True
    else:
        if instance.map_index >= 0:
            clears = getattr(dag_run, "clear_number", None)
            mapped = MappedTask(
                task.task,
                f"{started}|{clears}",
                task.variables,
                max_tries=instance.max_tries,
                cleared=not clears and instance.max_tries != instance.task.retries,
                count=partial(count_instances, instance),
            )
        if (date := _date_of_test(dag_run, by_hand)) is not None:
            moments = (date, getattr(dag_run, "data_interval_end", None) or date)
            of_date = RunsOfDate(task, date, tuple(dict.fromkeys(moments)))
    process_run = f"{run}|{getattr(instance, 'id', '')}"
    return JournalSlot(
        task.journal(key),
        generation,
        run,
        process_run,
        begun_before,
        task_in_words(instance.dag_id, instance.run_id, instance.task_id, instance.map_index),
        mapped,
        is_in_loop(instance),
        of_date,
        instance=task.task,
    )


def _date_of_test(dag_run: Any, by_hand: bool) -> datetime | None:
    """The date for which a person tests a DAG; ``None`` for other dag runs, and if the date is the present moment.

    If the DAG is not paused, Airflow's scheduler may start the tasks of a test before the test does.
    """
    date: datetime | None = getattr(dag_run, "logical_date", None)
    # Airflow lets the run of a test begin at its date, and names the user from 3.1 on.
    begins = (getattr(dag_run, "start_date", None), getattr(dag_run, "triggering_user_name", None))
    if date is None or not (by_hand or begins[0] == date or begins[1] == "dag_test"):
        return None
    run_after = getattr(dag_run, "run_after", None)
    return None if run_after is not None and abs(run_after - date) < timedelta(minutes=1) else date


def _require_no_airflow() -> None:
    """:raises WhiteBitConfigurationError: the process belongs to Airflow or to a task, so it has to have a journal."""
    if begun_by_a_task():
        raise _begun_by_a_task()
    if runs_for_airflow() or runs_in_executor():
        raise WhiteBitConfigurationError(
            "Airflow runs this code outside of a task (a callback, or a DAG file while it is parsed). There is no "
            "journal, and Airflow runs the code again and again.",
            next_step="Move money in a task, with an operator or with the hook in a @task. A task that follows a "
            "failure needs a trigger_rule.",
        )


def _begun_by_a_task() -> WhiteBitConfigurationError:
    return WhiteBitConfigurationError(
        "An Airflow task started this process, which has no access to the task's journal: a retry could move the "
        "money again.",
        next_step="Move money in the task itself, with an operator or with the hook in a @task. A "
        "@task.virtualenv, a @task.external_python, a script or a process of a pool can compute what to move and "
        "return it.",
    )
