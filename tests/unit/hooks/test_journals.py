from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_provider_whitebit.hooks import journals
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
    assert list(store.kept) == ["whitebit_move.flex_invest.USDT"]
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
    """Stands in for airflow.sdk.Variable."""

    def __init__(self):
        self.kept = {}
        self.deaf = False

    def get(self, key, default=None):
        return self.kept.get(key, default)

    def set(self, key, value, description=None):
        if not self.deaf:
            self.kept[key] = value


@pytest.fixture
def variables(monkeypatch):
    import airflow.sdk

    kept = Variables()
    monkeypatch.setattr(airflow.sdk, "Variable", kept, raising=False)
    return kept


def test_what_was_written_before_the_upgrade_to_3_3_is_read(variables, monkeypatch):
    """Airflow 3.0 to 3.2 kept Variables: a task that was in the middle must not begin anew."""
    monkeypatch.setattr(journals, "never_expire", lambda: None)
    store = None

    def place(number, **options):
        ids = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "max_tries": 2}
        instance = SimpleNamespace(**ids, try_number=number)
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
    place(2).journal.write({"by": 2})
    assert place(3).journal.read() == [{"by": 2}]
    assert len(variables.kept) == 1


def test_each_try_has_its_own_variable(variables):
    first = journals.VariableJournal("dag|run|task|-1|k", "dag.task.k", 1, 3)
    second = journals.VariableJournal("dag|run|task|-1|k", "dag.task.k", 2, 3)
    first.write({"by": 1})
    second.write({"by": 2})
    assert first.read() == second.read() == [{"by": 1}, {"by": 2}]
    assert len(variables.kept) == 2
    assert all(len(name) <= 250 and name.startswith("whitebit_move__dag.task.k__") for name in variables.kept)


def test_a_variable_that_was_not_kept_is_noticed(variables):
    variables.deaf = True
    with pytest.raises(JournalError, match="not kept"):
        journals.VariableJournal("i", "r", 1, 1).write({"by": 1})


def test_long_names_stay_short(variables):
    journal = journals.VariableJournal("x" * 1000, "д" * 1000, 1, 1)
    assert len(journal.name(10)) <= 250
    assert journal.name(1).isascii()


def context(**more):
    instance = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=2, max_tries=3)
    return {"ti": instance, **more}


def test_which_journal(monkeypatch):
    memory = MemoryJournal()
    monkeypatch.setattr(journals, "current_context", lambda: None)
    assert journals.place_for("k", otherwise=memory) == journals.Place(memory, "", "")
    monkeypatch.setattr(journals, "current_context", lambda: context(task_state_store=Store()))
    place = journals.place_for("k", otherwise=memory)
    assert isinstance(place.journal, journals.TaskStateJournal)
    assert (place.journal.identity, place.generation, place.run) == ("d|r|t|-1|k", "3", "d|r|t|-1|k|3|2")
    assert place.journal.fenced
    monkeypatch.setattr(journals, "current_context", context)
    place = journals.place_for("k", otherwise=memory)
    assert isinstance(place.journal, journals.VariableJournal)
    assert (place.journal.identity, place.generation) == ("d|r|t|-1|k", "3")
    assert not place.journal.fenced
