from __future__ import annotations

import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import ErrorType

from airflow_provider_whitebit.client.errors import WhiteBitConfigurationError
from airflow_provider_whitebit.hooks import airflow_compat, journals
from airflow_provider_whitebit.moves.journal import JournalError, MemoryJournal


class Store:
    def __init__(self):
        self.kept = {}
        self.broken = False

    def get(self, key, default=None):
        if self.broken:
            raise RuntimeError("no answer")
        return self.kept.get(key, default)

    def set(self, key, value, *, retention=None):
        if self.broken:
            raise RuntimeError("404")
        self.kept[key] = value
        self.retention = retention


def test_task_state(monkeypatch):
    monkeypatch.setattr(journals, "never_expire", lambda: "never")
    store = Store()
    journal = journals.TaskStateJournal(store, "dag|run", "flex_invest.USDT")
    assert journal.read() == []
    journal.write({"version": 1})
    assert store.retention == "never"
    assert journal.read() == [{"version": 1}]
    assert [f"task state {key}" for key in store.kept] == [journal.entry]
    assert journal.entry == "task state whitebit_move.flex_invest.USDT"
    store.broken = True
    with pytest.raises(JournalError):
        journal.read()
    with pytest.raises(JournalError):
        journal.write({"version": 1})


def test_task_state_of_another_shape_is_not_guessed_at():
    store = Store()
    journal = journals.TaskStateJournal(store, "dag|run", "k")
    store.kept["whitebit_move.k"] = "text"
    with pytest.raises(JournalError, match="not a move"):
        journal.read()


class Variables:
    """Stands in for airflow.sdk.Variable, and for what answers a task's questions."""

    def __init__(self):
        self.kept = {}
        self.deaf = False
        self.error = None

    def set(self, key, value, description=None):
        if not self.deaf:
            self.kept[key] = value

    def send(self, message):
        from airflow.sdk.execution_time.comms import ErrorResponse, VariableResult

        if self.error is not None:
            return ErrorResponse(error=self.error)
        if message.key not in self.kept:
            return ErrorResponse(error=ErrorType.VARIABLE_NOT_FOUND)
        return VariableResult(key=message.key, value=self.kept[message.key])


@pytest.fixture
def variables(monkeypatch):
    import airflow.sdk
    from airflow.sdk.execution_time import task_runner

    kept = Variables()
    monkeypatch.setattr(airflow.sdk, "Variable", kept, raising=False)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", kept, raising=False)
    return kept


def test_what_was_written_before_the_upgrade_to_3_3_is_read(variables, monkeypatch):
    """Airflow 3.0 to 3.2 kept Variables: a task that was in the middle must not begin anew."""
    monkeypatch.setattr(journals, "never_expire", lambda: None)
    store = None

    def place(number, **options):
        ids = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "max_tries": 2}
        instance = SimpleNamespace(**ids, try_number=number, task=SimpleNamespace(retries=2))
        monkeypatch.setattr(journals, "current_context", lambda: {"ti": instance, "task_state_store": store})
        return journals.place_for("k", otherwise=MemoryJournal(), **options)

    before = place(1)
    assert not before.journal.fenced
    before.journal.write({"by": 1})
    store = Store()
    for after in (place(2), place(1, resumed=True)):
        assert (after.journal.fenced, after.generation) == (True, before.generation)
        assert after.journal.read() == [{"by": 1}]
    assert place(1).journal.read() == []
    assert place(2).journal.entry == f"task state whitebit_move.k and {before.journal.entry}"
    place(2).journal.write({"by": 2})
    assert place(3).journal.read() == [{"by": 2}]
    assert len(variables.kept) == 1


def test_a_journal_before_the_upgrade_that_cannot_be_read_is_no_empty_one(variables):
    journal = journals.TaskStateJournal(Store(), "i", "k", before=journals.VariableJournal("i", "r", 2, 3))
    variables.error = ErrorType.API_SERVER_ERROR
    with pytest.raises(JournalError, match="could not be read"):
        journal.read()


def test_each_try_has_its_own_variable(variables):
    first = journals.VariableJournal("dag|run|task|-1|k", "dag.task.k", 1, 3)
    second = journals.VariableJournal("dag|run|task|-1|k", "dag.task.k", 2, 3)
    first.write({"by": 1})
    second.write({"by": 2})
    assert first.read() == second.read() == [{"by": 1}, {"by": 2}]
    assert sorted(variables.kept) == [first.name(1), second.name(2), f"{first._name}__from_2"]
    assert all(len(name) <= 250 and name.startswith("whitebit_move__dag.task.k__") for name in variables.kept)
    # What a person is told to delete is all of this move and nothing else.
    another = journals.VariableJournal("dag|run|task|-1|k.2", "dag.task.k.2", 1, 3)
    another.write({"by": 3})
    beginning = first.entry.removeprefix("the Variables whose names begin with ")
    assert [name for name in variables.kept if not name.startswith(beginning)] == [another.name(1)]


def test_a_variable_that_was_not_kept_is_noticed(variables):
    variables.deaf = True
    with pytest.raises(JournalError, match="not kept"):
        journals.VariableJournal("i", "r", 1, 1).write({"by": 1})


@pytest.mark.parametrize("others", [(2,), (7,), (8,), (3, 9), (64,), (2, 3, 4, 5)])
def test_a_try_that_slept_sees_what_was_written_after_it_was_cleared(variables, others):
    slept = journals.VariableJournal("i", "r", 1, 1)
    for number in others:
        journals.VariableJournal("i", "r", number, number).write({"by": number})
        assert slept.read()[-1] == {"by": number}
    # What it writes itself hides nothing.
    slept.write({"by": 1})
    assert slept.read() == [{"by": 1}, *({"by": number} for number in others)]
    assert slept.name(1) in variables.kept


def test_a_try_is_told_of_before_it_writes(variables, monkeypatch):
    slept, later = journals.VariableJournal("i", "r", 1, 1), journals.VariableJournal("i", "r", 6, 6)
    monkeypatch.setattr(journals.json, "dumps", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        later.write({"by": 6})
    assert slept._reached() >= 6


@pytest.mark.parametrize("error", [ErrorType.API_SERVER_ERROR, ErrorType.GENERIC_ERROR])
def test_an_outage_is_no_empty_journal(variables, error):
    journal = journals.VariableJournal("i", "r", 1, 1)
    journal.write({"by": 1})
    variables.error = error
    with pytest.raises(JournalError, match="could not be read"):
        journal.read()
    with pytest.raises(JournalError, match="could not be read"):
        journals.VariableMarks("a").read("transfer")


def test_two_names_are_two_journals(monkeypatch):
    monkeypatch.setattr(journals, "never_expire", lambda: None)
    store = Store()
    for key in ("idle eth", "idle_eth", "деньги", "платёж", "idle.eth"):
        journal = journals.TaskStateJournal(store, "i", key)
        assert journal.read() == []
        journal.write({"by": key})
    assert len(store.kept) == 5
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", key) for key in store.kept)


def test_long_names_stay_short(variables):
    journal = journals.VariableJournal("x" * 1000, "д" * 1000, 1, 1)
    assert len(journal.name(10)) <= 250
    assert journal.name(1).isascii()


def context(**more):
    ids = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1}
    instance = SimpleNamespace(**ids, try_number=2, max_tries=3, task=SimpleNamespace(retries=1))
    return {"ti": instance, **more}


def test_which_journal(monkeypatch):
    memory = MemoryJournal()
    monkeypatch.setattr(journals, "current_context", lambda: None)
    assert journals.place_for("k", otherwise=memory) == journals.Place(memory, "", "")
    monkeypatch.setattr(journals, "current_context", lambda: context(task_state_store=Store()))
    place = journals.place_for("k", otherwise=memory)
    assert isinstance(place.journal, journals.TaskStateJournal)
    assert (place.journal.identity, place.generation, place.run) == ("d|r|t|-1|k", "3|1", "d|r|t|-1|3|1|2")
    assert place.journal.fenced
    monkeypatch.setattr(journals, "current_context", context)
    place = journals.place_for("k", otherwise=memory)
    assert isinstance(place.journal, journals.VariableJournal)
    assert (place.journal.identity, place.generation) == ("d|r|t|-1|k", "3|1")
    assert not place.journal.fenced


IN_A_PROGRAM = """
from airflow_provider_whitebit.hooks.journals import place_for
from airflow_provider_whitebit.moves.journal import MemoryJournal
place_for("k", otherwise=MemoryJournal())
"""


@pytest.mark.parametrize("started_by_a_task", [True, False])
def test_a_program_that_a_task_starts_has_no_journal_to_move_by(started_by_a_task, tmp_path):
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_CTX")}
    env |= {"AIRFLOW_HOME": str(tmp_path)} | ({"AIRFLOW_CTX_TASK_ID": "invest"} if started_by_a_task else {})
    done = subprocess.run([sys.executable, "-c", IN_A_PROGRAM], env=env, capture_output=True, text=True)
    assert ("was started by an Airflow task" in done.stderr) == started_by_a_task, done.stderr
    assert (done.returncode == 0) != started_by_a_task


def test_a_process_in_which_a_task_ran_is_no_program_of_a_task(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CTX_TASK_ID", "invest")
    assert not airflow_compat.begun_by_a_task()
    monkeypatch.setattr(journals, "current_context", lambda: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journals, "begun_by_a_task", lambda: True)
        with pytest.raises(WhiteBitConfigurationError, match="No money moved"):
            journals.place_for("k", otherwise=MemoryJournal())
