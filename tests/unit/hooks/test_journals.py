from __future__ import annotations

import logging
import multiprocessing
import os
import re
import subprocess
import sys
from contextlib import nullcontext, suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import comms
from airflow.sdk.execution_time.comms import ErrorResponse, TICount, VariableResult
from airflow.sdk.execution_time.context import set_current_context
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_whitebit.client.errors import WhiteBitConfigurationError, WhiteBitJournalError
from airflow_provider_whitebit.hooks import airflow_compat, journals, stores
from airflow_provider_whitebit.moves import keys
from airflow_provider_whitebit.moves.journal import LogReading, MemoryJournal, Page
from tests.api_server import LISTS
from tests.texts import OneByOne

TASK = ("d", "r", "t", "-1")
KEY = keys.idempotent("beef", "rent 2026-11")


def variable_journal(number, key="k", task=TASK):
    return journals.TaskJournals(task, number).journal(key)


class Variables:
    """Replaces airflow.sdk.Variable, and the supervisor that answers a task's requests."""

    def __init__(self):
        self.kept, self.descriptions = {}, {}
        self.deaf = False
        self.error = None

    def set(self, key, value, description=None):
        if not self.deaf:
            self.kept[key] = value
            self.descriptions[key] = description

    def delete(self, key):
        if self.deaf:
            raise RuntimeError("no answer")
        del self.kept[key]

    def send(self, message):
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


def test_a_try_by_hand_and_airflows_own_try_do_not_overwrite_each_other():
    """``airflow dags test`` beside a scheduler: both may run one and the same try at once."""
    texts = Texts()
    tries = [journals.TaskJournals(TASK, 2, variables=texts, by_hand=by_hand) for by_hand in (True, False)]
    by_hand, own = (one.journal("k") for one in tries)
    own.write({"by": "Airflow"})
    by_hand.write({"by": "hand"})
    own.write({"by": "Airflow again"})
    assert by_hand.read() == own.read() == [{"by": "hand"}, {"by": "Airflow again"}]


class TextsOfTeams(OneByOne):
    """Variables in multi-team mode: each has the team that wrote it first, and shows itself to this team only."""

    def __init__(self, kept, team):
        self._kept, self._team = kept, team

    def read(self, name):
        team, text = self._kept.get(name, (None, None))
        return text if team in (None, self._team) else None

    def keep(self, name, text, description):
        self._kept[name] = (self._kept.get(name, (self._team,))[0], text)
        if self.read(name) is None:
            raise WhiteBitJournalError("it belongs to another team")


@pytest.mark.parametrize(("number", "by_hand"), [(2, False), (1, True)], ids=["next try", "by hand"])
@pytest.mark.parametrize("team", ["beta", None])
def test_a_try_with_another_team_cannot_write(number, by_hand, team):
    """The bundle was given to another team, or Airflow runs ``tasks test`` without a team."""
    kept = {}
    first = journals.TaskJournals(TASK, 1, variables=TextsOfTeams(kept, "alpha"), in_teams=True)
    first.journal("k").write({"version": 1})
    again = journals.TaskJournals(TASK, 2, variables=TextsOfTeams(kept, "alpha"), in_teams=True).journal("k")
    again.write({"version": 2})
    assert [document["version"] for document in again.read()] == [1, 2]
    texts = TextsOfTeams(kept, team)
    other = journals.TaskJournals(TASK, number, variables=texts, by_hand=by_hand, in_teams=True).journal("k")
    assert other.read() == []
    with pytest.raises(WhiteBitJournalError, match="another team"):
        other.write({"version": 3})


@pytest.mark.parametrize(("comms", "by_hand"), [("InProcessSupervisorComms", True), ("SupervisorComms", False)])
def test_which_try_is_by_hand(monkeypatch, comms, by_hand):
    from airflow.sdk.execution_time import supervisor, task_runner

    assert hasattr(supervisor, "InProcessSupervisorComms")
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", type(comms, (), {})(), raising=False)
    assert airflow_compat.begun_by_hand() == by_hand


def test_the_runs_of_a_date_are_in_the_audit_log(tables, monkeypatch):
    from airflow.models.log import Log
    from airflow.utils import session as airflow_session

    date, other = datetime(2026, 11, 29, tzinfo=UTC), datetime(2026, 11, 30, tzinfo=UTC)
    for dag, task, event, when, run in (
        ("d", "t", "running", date, "b"),
        ("d", "t", "running", date, "b"),
        ("d", "t", "running", date, "a"),
        ("d", "t", "success", date, "c"),
        ("d", "u", "running", date, "c"),
        ("e", "t", "running", date, "c"),
        ("d", "t", "running", other, "c"),
        ("d", "t", "running", None, "c"),
    ):
        row = Log(event, dag_id=dag, task_id=task, logical_date=when, run_id=run)
        tables.session.add(row)
    tables.session.commit()
    monkeypatch.setattr(airflow_session, "create_session", lambda: nullcontext(tables.session))
    assert airflow_compat.started_runs("d", "t", date) == ["a", "b"]


def test_a_variable_of_another_team(variables):
    """In multi-team mode Airflow overwrites it, and shows it to its own team only."""
    variables.error = ErrorType.VARIABLE_NOT_FOUND
    with pytest.raises(WhiteBitJournalError, match="another team") as caught:
        stores.keep_variable("whitebit_marker__x", "text", "about")
    assert "an API key of its own" in str(caught.value)


def test_each_try_has_its_own_variable(variables):
    first, second = variable_journal(1), variable_journal(2)
    first.write({"by": 1})
    second.write({"by": 2})
    assert first.read() == second.read() == [{"by": 1}, {"by": 2}]
    assert first.name == second.name
    assert sorted(variables.kept) == [f"{first.name}__{one}" for one in ("1", "2", "from_2")]
    assert variables.descriptions[f"{first.name}__2"] == "Move of d|r|t|-1|k"
    assert all(len(name) <= 250 and name.startswith("whitebit_move__d.t.k__") for name in variables.kept)
    # The entry that an error names covers all of this move and nothing else.
    another = first.sibling("k.2")
    another.write({"by": 3})
    beginning = first.entry.removeprefix("the Variables whose names begin with ")
    assert [name for name in variables.kept if not name.startswith(beginning)] == [f"{another.name}__1"]


def test_a_variable_that_was_not_kept_is_noticed(variables):
    variables.deaf = True
    with pytest.raises(WhiteBitJournalError, match="not kept"):
        variable_journal(1).write({"by": 1})


@pytest.mark.parametrize("others", [(2,), (7,), (8,), (3, 9), (64,), (2, 3, 4, 5)])
def test_a_try_that_slept_sees_what_was_written_after_it_was_cleared(variables, others):
    slept = variable_journal(1)
    for number in others:
        variable_journal(number).write({"by": number})
        assert slept.read()[-1] == {"by": number}
    # What it writes itself hides nothing.
    slept.write({"by": 1})
    assert slept.read() == [{"by": 1}, *({"by": number} for number in others)]
    assert f"{slept.name}__1" in variables.kept


def test_a_try_is_recorded_before_it_writes(variables, monkeypatch):
    slept, later = variable_journal(1), variable_journal(6)
    monkeypatch.setattr(journals.json, "dumps", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        later.write({"by": 6})
    assert 6 in slept.writers.known(slept._signs)


class Texts(OneByOne):
    """A store without failures."""

    def __init__(self):
        self.kept, self.reads, self.writes, self.descriptions = {}, 0, 0, {}

    def read(self, name):
        self.reads += 1
        return self.kept.get(name)

    def keep(self, name, text, description):
        self.writes += 1
        self.kept[name] = text
        self.descriptions[name] = description


def written(journal_of, writers, own):
    """Let writers write, each once. :returns: what one of them then reads, by its journal from before."""
    reader = journal_of(own)
    reader.read()
    for writer in writers:
        journal_of(writer).write({"by": writer})
    return [document["by"] for document in reader.read()]


@given(writers=st.sets(st.integers(1, 300), max_size=12), own=st.integers(1, 300))
def test_every_try_finds_what_any_set_of_tries_wrote(writers, own):
    texts = Texts()
    found = written(lambda number: journals.TaskJournals(TASK, number, variables=texts).journal("k"), writers, own)
    assert found == sorted(writers)
    known = journals.Tries(own, in_teams=False).known(lambda signs: set())
    # 0 is the document of a try that a person started.
    assert list(known) == list(range(own + 1))


def of_any_task(texts, task, number=1, key=KEY):
    return journals.TaskJournals(("d", "r", task, "-1"), number, variables=texts)._of_any_task(key)


@given(tasks=st.sets(st.text(), max_size=12), own=st.text())
def test_every_task_finds_what_any_set_of_tasks_wrote(tasks, own):
    texts = Texts()
    found = written(lambda task: of_any_task(texts, task), tasks, own)
    # Tasks with the same number share a document, which holds what the later one knew.
    number = {task: of_any_task(texts, task).writer for task in tasks}
    assert len(found) == len(set(number.values()))
    assert {number[task] for task in found} == set(number.values())


def finding(signs):
    """Looks for some signs, and returns all that it has found so far."""
    found = set()

    def exist(wanted):
        found.update(signs.intersection(wanted))
        return found

    return exist


@given(numbers=st.sets(st.integers(0, 4095), max_size=40))
def test_the_signs_of_any_task_lead_to_its_number(numbers):
    signs = {sign for number in numbers for sign in journals.AnyTask().signs(number)}
    known = journals.AnyTask().known(finding(signs))
    assert list(known) == sorted(known)
    # Beside each number is its neighbour, which has no document.
    assert numbers <= set(known) <= {number ^ bit for number in numbers for bit in (0, 1)}


@given(numbers=st.sets(st.integers(1, 10_000), max_size=40), own=st.integers(1, 20))
def test_the_signs_of_tries_lead_to_the_highest(numbers, own):
    signs = {sign for number in numbers for sign in journals.Tries(number, in_teams=False).signs(number)}
    known = journals.Tries(own, in_teams=False).known(finding(signs))
    assert numbers | {own} <= set(known)
    assert max(known) < 2 * max(numbers | {own})


@pytest.mark.parametrize("interrupted", range(13))
def test_a_task_that_dies_while_it_signs_hides_nothing(interrupted):
    class Dying(Texts):
        left = interrupted

        def keep(self, name, text, description):
            if not self.left:
                raise WhiteBitJournalError("dead")
            self.left -= 1
            super().keep(name, text, description)

    texts = Dying()
    with suppress(WhiteBitJournalError):
        of_any_task(texts, "dead").write({"by": "dead"})
    texts.left = 99
    of_any_task(texts, "later").write({"by": "later"})
    assert {"by": "later"} in of_any_task(texts, "reader").read()


def test_an_idempotency_key_is_one_journal_for_all_tasks_of_an_account(variables):
    one = journals.TaskJournals(TASK).journal(KEY)
    other = journals.TaskJournals(("d2", "r2", "t2", "7"), try_number=3).journal(KEY)
    assert (one.by_tries, one.identity, one.entry) == (False, "idempotency_key='rent 2026-11'", other.entry)
    one.write({"by": 1})
    assert other.read() == [{"by": 1, "order": 1}]
    assert re.fullmatch(r"the Variables whose names begin with whitebit_key__rent_2026-11__[0-9a-f]{32}__", one.entry)
    for key in (keys.idempotent("feed", "rent 2026-11"), keys.idempotent("beef", "rent_2026-11")):
        assert journals.TaskJournals(TASK).journal(key).read() == []
    # Its siblings, the steps of one transfer or the moves of a plan, are shared too.
    one.sibling(f"{KEY}.2").write({"by": 2})
    assert other.sibling(f"{KEY}.2").read() == [{"by": 2, "order": 1}]
    # A key that looks like that of a step is another one.
    assert other.sibling(keys.idempotent("beef", "rent 2026-11.2")).read() == []


@given(tasks=st.lists(st.text(), min_size=1, max_size=12, unique=True))
def test_the_document_of_the_latest_task_is_the_last_one(tasks):
    """A plan lets only that one send. The numbers of writers are hashes and have no order."""
    texts = Texts()
    for run in tasks:
        journals.TaskJournals(("d", "r", run, "-1"), variables=texts).journal(KEY).write({"run": run})
        reader = journals.TaskJournals(TASK, variables=texts).journal(KEY)
        assert reader.read()[-1]["run"] == run


def test_tries_and_task_instances_are_writers_of_their_own():
    """Another writer's document is not overwritten, but for a collision of their numbers."""
    writers = {
        journals.TaskJournals(TASK, number, instance=instance).journal(KEY)._journals[0].writer
        for number in (1, 2)
        for instance in ("", "i")
    }
    assert len(writers) == 4


def test_a_task_keeps_its_place_among_the_documents():
    texts = Texts()
    first, second = (journals.TaskJournals(("d", "r", run, "-1"), variables=texts).journal(KEY) for run in "ab")
    first.write({"run": "a"})
    second.write({"run": "b"})
    first.write({"run": "a", "again": True})
    assert second.read() == [{"run": "a", "again": True, "order": 1}, {"run": "b", "order": 2}]


def test_a_key_that_replaces_another_one_shares_its_journals():
    texts = Texts()

    def journal(account, *accounts):
        return journals.TaskJournals(TASK, variables=texts, accounts=accounts).journal(keys.idempotent(account, "k"))

    journal("old", "old").write({"run": "a"})
    both = journal("new", "new", "old")
    assert [one["run"] for one in both.read()] == ["a"]
    both.sibling(keys.idempotent("new", "other")).write({"run": "b"})
    for account in ("old", "new"):
        assert journal(account, account).sibling(keys.idempotent(account, "other")).read() == [{"run": "b", "order": 1}]
    # A key of a third account is another one.
    assert both.sibling(keys.idempotent("third", "k")).read() == []
    assert both.entry.count("whitebit_key__k__") == 2


def test_what_a_document_belongs_to_is_in_its_description():
    texts = Texts()
    of_any_task(texts, "t").write({"by": 1})
    journals.TaskJournals(TASK, 2, variables=texts).journal("k").write({"by": 1})
    moves = {text for text in texts.descriptions.values() if not text.startswith("Sign of ")}
    assert moves == {"Move of d|r|t|-1|rent 2026-11", "Move of d|r|t|-1|k"}


def test_signs_are_read_and_written_once():
    texts = Texts()
    journal = of_any_task(texts, "t")
    journal.write({"by": 1})
    assert texts.writes == 13
    journal.write({"by": 1})
    assert texts.writes == 14
    texts.reads = 0
    journal.read()
    # Its own document and its neighbour's, and the other branch at each of the 12 bits.
    assert texts.reads <= 13


@pytest.mark.parametrize("error", [ErrorType.API_SERVER_ERROR, ErrorType.GENERIC_ERROR])
def test_an_outage_is_no_empty_journal(variables, error):
    journal = variable_journal(1)
    journal.write({"by": 1})
    variables.error = error
    with pytest.raises(WhiteBitJournalError, match="could not be read"):
        journal.read()
    with pytest.raises(WhiteBitJournalError, match="could not be read"):
        journals.VariableMarkers("a").read("transfer")


@pytest.fixture
def database(variables, monkeypatch):
    """Airflow's database, which the API server reads for a task: which requests it answers is in ``answers``."""
    from airflow.models import variable

    database = SimpleNamespace(answers=iter(()), asked=[], encrypted=set(), hidden=set())

    def read(key, **team):
        if not next(database.answers, True):
            raise ConnectionError("too many clients")
        return variables.kept.get(key)

    def send(message):
        database.asked.append(type(message).__name__)
        if database.asked[-1] in ("GetTICount", "GetVariableKeys") and not next(database.answers, True):
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR))
        if database.asked[-1] == "GetTICount":
            return TICount(count=0)
        if database.asked[-1] == "GetVariableKeys":
            names = {*variables.kept, *database.encrypted} - database.hidden
            keys = sorted(key for key in names if key.startswith(message.prefix))
            return comms.VariableKeysResult(keys=keys[: message.limit], total_entries=len(keys))
        # This is how Airflow's API server looks for a Variable. It only logs that a place could not be read.
        text = variable.Variable.get_variable_from_secrets(message.key)
        if text is None:
            return ErrorResponse(error=ErrorType.VARIABLE_NOT_FOUND, detail={"key": message.key})
        return VariableResult(key=message.key, value=text)

    monkeypatch.setattr(variable, "ensure_secrets_loaded", lambda: [SimpleNamespace(get_variable=read)])
    monkeypatch.setattr(variables, "send", send)
    monkeypatch.setattr(airflow_compat, "current_context", dict)
    return database


def test_a_variable_that_the_api_server_could_not_read_is_not_missing(database, variables):
    variables.kept["whitebit_stop"] = "{}"
    database.answers = iter([False])
    assert stores.read_variable("whitebit_stop") == "{}"
    assert database.asked == ["GetVariable", "GetVariableKeys" if LISTS else "GetTICount", "GetVariable"]
    database.asked.clear()
    assert stores.read_variable("whitebit_other") is None
    assert database.asked == (
        ["GetVariable", "GetVariableKeys"] if LISTS else ["GetVariable", "GetTICount", "GetVariable"]
    )
    database.answers = iter([False] * 3)
    with pytest.raises(WhiteBitJournalError, match="could not be read"):
        stores.read_variable("whitebit_stop")
    assert stores.read_variable("whitebit_other") is None


def test_several_variables_are_read_at_once(database, variables):
    variables.kept |= {"whitebit_a": "1", "whitebit_c": "3"}
    assert stores.read_variables(f"whitebit_{name}" for name in "abcd") == {"whitebit_a": "1", "whitebit_c": "3"}
    # Those that are not listed are not asked for. If Airflow cannot list Variables, it reads its database once, and
    # those that were missing are asked for again.
    assert database.asked.count("GetVariable") == (2 if LISTS else 6)
    assert len(database.asked) == (3 if LISTS else 7)


def in_triggerer(monkeypatch, send):
    from airflow.sdk.execution_time import task_runner

    class TriggerCommsDecoder:
        def send(self, message):
            return send(message)

    monkeypatch.setattr(airflow_compat, "current_context", lambda: None)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", TriggerCommsDecoder())


def test_an_outage_is_no_missing_variable_in_a_triggerer(database, variables, monkeypatch):
    """A trigger would start again, and report nothing of what has happened since it was saved."""
    in_triggerer(monkeypatch, variables.send)
    variables.kept["whitebit_events__x"] = "{}"
    database.answers = iter([False] * 2)
    with pytest.raises(WhiteBitJournalError, match="could not be read"):
        stores.read_variable("whitebit_events__x")
    database.asked.clear()
    assert stores.read_variables(["whitebit_events__x", "whitebit_events__y"]) == {"whitebit_events__x": "{}"}
    assert database.asked == ["GetVariable", "GetVariable", "GetTICount", "GetVariable"]


def team_mode(monkeypatch):
    for module in (airflow_compat, stores):
        monkeypatch.setattr(module, "boolean_option", lambda *option: option == ("core", "multi_team"))


@pytest.mark.skipif(not LISTS, reason="Airflow lists no Variables to tasks before 3.3")
@pytest.mark.parametrize("why", ["too many", "teams"])
def test_names_that_are_not_all_prove_nothing(database, variables, monkeypatch, why):
    variables.kept |= {f"whitebit_k__{number}": "{}" for number in range(10_001 if why == "too many" else 1_000)}
    if why == "teams":
        team_mode(monkeypatch)
        database.hidden.add("whitebit_k__999")
    # The API server cannot read its database when it is first asked for a Variable.
    database.answers = iter([True, False])
    assert stores.read_variables(["whitebit_k__999", "whitebit_k__none"]) == {"whitebit_k__999": "{}"}


@pytest.mark.skipif(not LISTS, reason="Airflow lists no Variables to tasks before 3.3")
@pytest.mark.parametrize("others", [0, 10_001])
def test_a_variable_that_airflow_cannot_decrypt_is_not_missing(database, variables, others):
    """Without the old Fernet key, Airflow says that there is no such Variable."""
    variables.kept |= {f"whitebit_move__d.t.k__from_{number}": "{}" for number in range(others)}
    database.encrypted.add("whitebit_move__d.t.k__1")
    with pytest.raises(WhiteBitJournalError, match=r"has the Variable whitebit_move__d\.t\.k__1 and cannot") as no:
        stores.read_variables(["whitebit_move__d.t.k__0", "whitebit_move__d.t.k__1"])
    assert "Fernet key" in no.value.next_step[0]
    # Names that only begin alike are not meant.
    assert stores.read_variables(["whitebit_move__d.t.k__"]) == {}


@pytest.mark.skipif(not LISTS, reason="Airflow lists no Variables to tasks before 3.3")
def test_a_variable_that_another_team_owns(database, monkeypatch):
    """A task without a team is shown the names of all teams' Variables."""
    team_mode(monkeypatch)
    database.encrypted.add("whitebit_stop")
    with pytest.raises(WhiteBitJournalError, match=r"does not show it: it cannot decrypt it, or a team owns it") as no:
        stores.read_variable("whitebit_stop")
    assert "API key of its own" in no.value.next_step[0]


@pytest.mark.skipif(not LISTS, reason="Airflow lists no Variables to tasks before 3.3")
def test_a_key_that_many_tries_used_is_read_fast(database, variables, monkeypatch):
    """Each try leaves a document, for example one that was refused. The last one has a few seconds to read them all."""
    tries = [journals.TaskJournals(("d", f"r{number}", "t", "-1")).journal(KEY) for number in range(40)]
    for number, one in enumerate(tries):
        one.write({"by": number})
    last = tries[-1]
    last.read()
    last.prepare()
    database.asked.clear()
    assert len(last.read()) == 40
    assert len(database.asked) <= 42


@pytest.mark.skipif(not LISTS, reason="Airflow lists no Variables to tasks before 3.3")
def test_an_api_server_that_cannot_list_variables(database, variables, monkeypatch):
    """It is older than the worker."""
    send = variables.send

    def older(message):
        if type(message).__name__ == "GetVariableKeys":
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.GENERIC_ERROR))
        return send(message)

    monkeypatch.setattr(variables, "send", older)
    assert stores.read_variable("whitebit_other") is None
    assert database.asked == ["GetVariable", "GetTICount", "GetVariable"]


@pytest.mark.parametrize("kept", [{"other": "{}"}, {}], ids=["found", "missing"])
def test_the_answer_to_another_thread_is_not_taken(database, variables, monkeypatch, kept):
    """Before Airflow 3.2, threads of a task that ask at once can get each other's answers."""
    from airflow.sdk.execution_time.comms import GetVariable

    variables.kept |= kept
    send = variables.send
    monkeypatch.setattr(variables, "send", lambda message: send(GetVariable(key="other")))
    with pytest.raises(WhiteBitJournalError, match="could not be read"):
        stores.read_variable("whitebit_move__k__1")


def test_two_names_are_two_journals(variables):
    for key in ("idle eth", "idle_eth", "деньги", "платёж", "idle.eth"):
        journal = variable_journal(1, key)
        assert journal.read() == []
        journal.write({"by": key})
    assert len({name.rpartition("__")[0] for name in variables.kept}) == 5
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", key) for key in variables.kept)


@given(keys=st.sets(st.text(alphabet="ab_.1 ", max_size=6), max_size=8))
@example(keys={"a", "a_", "a__", "a__1", "a__from_2", "a_1", "_", "__", "", " "})
def test_no_name_of_a_move_begins_like_the_entries_of_another(keys):
    """An error names the beginning of all entries of a move, and of no other move's."""
    beginnings = [f"{variable_journal(1, key).name}__" for key in keys]
    for one in beginnings:
        assert [other for other in beginnings if f"{other}1".startswith(one)] == [one]


DATE = datetime(2026, 11, 29, tzinfo=UTC)


def runs_of_date(texts=None, *, by_hand=True, moments=(DATE,)):
    task = journals.TaskJournals(("d", "manual__1", "t", "-1"), 2, variables=texts or Texts(), by_hand=by_hand)
    return journals.RunsOfDate(task, DATE, moments)


@pytest.mark.parametrize(("seconds", "is_for_a_date"), [(0, False), (59, False), (60, True), (-59, False), (-60, True)])
def test_a_test_for_the_present_moment_replaces_no_run(seconds, is_for_a_date):
    dag_run = SimpleNamespace(logical_date=DATE, run_after=DATE + timedelta(seconds=seconds))
    assert journals._date_of_test(dag_run, True) == (DATE if is_for_a_date else None)
    assert journals._date_of_test(SimpleNamespace(logical_date=DATE, run_after=None), True) == DATE


@pytest.mark.parametrize(
    ("given", "by_hand", "is_for_a_date"),
    [
        ({}, False, False),
        ({}, True, True),
        ({"start_date": DATE}, False, True),
        ({"start_date": DATE + timedelta(hours=1), "triggering_user_name": "jane"}, False, False),
        ({"triggering_user_name": "dag_test"}, False, True),
        ({"logical_date": None}, True, False),
    ],
)
def test_only_a_test_of_a_date_replaces_runs(given, by_hand, is_for_a_date):
    dag_run = SimpleNamespace(**{"logical_date": DATE, **given})
    assert journals._date_of_test(dag_run, by_hand) == (DATE if is_for_a_date else None)


def test_a_run_that_was_made_again_under_its_name_is_another_writer(variables, monkeypatch):
    for number in (1, 2):
        made = context()
        made["ti"].id = number
        monkeypatch.setattr(journals, "current_context", lambda made=made: made)
        journals.slot_for(KEY).journal.write({"by": number})
    assert [document["by"] for document in journals.slot_for(KEY).journal.read()] == [1, 2]


def test_a_test_of_a_date_finds_the_runs_that_started(monkeypatch):
    asked = []
    runs = ["scheduled__x", "manual__1", "manual__2", "__airflow_temporary_run_3", "backfill__x"]
    monkeypatch.setattr(journals, "started_runs", lambda *about: asked.append(about) or runs)
    assert runs_of_date().started() == ["scheduled__x", "backfill__x"]
    assert asked == [("d", "t", DATE)]
    assert runs_of_date(by_hand=False).started() == []
    monkeypatch.setattr(journals, "started_runs", lambda *about: {}["d"])
    with pytest.raises(WhiteBitJournalError, match=r"audit log could not be read \(KeyError\)") as caught:
        runs_of_date().started()
    assert caught.value.money_moved is False


def test_a_test_of_a_date_finds_the_journals_of_runs_that_were_deleted():
    texts, end = Texts(), datetime(2026, 11, 30, tzinfo=UTC)
    for run in ("scheduled__2026-11-29T00:00:00+00:00", "backfill__2026-11-30T00:00:00+00:00"):
        journals.TaskJournals(("d", run, "t", "-1"), 1, variables=texts).journal("k").write({"by": run})
    found = {run: journal.read() for run, journal in runs_of_date(texts, moments=(DATE, end)).journals("k")}
    assert found == {
        "scheduled__2026-11-29T00:00:00+00:00": [{"by": "scheduled__2026-11-29T00:00:00+00:00"}],
        "scheduled__2026-11-30T00:00:00+00:00": [],
        "backfill__2026-11-29T00:00:00+00:00": [],
        "backfill__2026-11-30T00:00:00+00:00": [{"by": "backfill__2026-11-30T00:00:00+00:00"}],
    }


@pytest.mark.parametrize("teams", [True, False])
def test_the_tries_of_several_teams_share_a_sign(monkeypatch, teams):
    monkeypatch.setattr(journals, "current_context", context)
    asked = []
    monkeypatch.setattr(journals, "boolean_option", lambda *option: asked.append(option) or teams)
    assert ("from_1" in journals.slot_for("k").journal.writers.signs(1)) is teams
    assert asked == [("core", "multi_team")]


def test_the_instances_of_a_task_are_counted_in_its_dag_run():
    class Instance(SimpleNamespace):
        def get_ti_count(self, *, dag_id, task_ids, run_ids):
            return {("d", "r", "t"): 3.0}[dag_id, *run_ids, *task_ids]

    assert stores.count_instances(Instance(dag_id="d", run_id="r", task_id="t")) == 3
    with pytest.raises(WhiteBitJournalError, match=r"could not be counted \(KeyError\)"):
        stores.count_instances(Instance(dag_id="d", run_id="r", task_id="x"))


@pytest.mark.parametrize("letter", ["d", "д"])
@pytest.mark.parametrize("number", [1, 2**20 - 1])
def test_a_database_can_keep_every_name(letter, number):
    """Airflow's column is 250 characters wide. SQLite does not mind longer names, other databases do."""
    texts = Texts()
    task = (letter * 250, letter * 250, letter * 250, "-1")
    of_task = journals.TaskJournals(task, number, variables=texts)
    for key in (letter * 250, keys.idempotent("0123456789abcdef", letter * 200)):
        for one in (key, f"{key}.1000"):
            of_task.journal(one).write({})
    assert len({name.rpartition("__")[0] for name in texts.kept}) == 4
    assert [name for name in texts.kept if len(name) > 250 or not name.isascii()] == []


def context(**more):
    ids = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1}
    instance = SimpleNamespace(**ids, try_number=2, max_tries=3, task=SimpleNamespace(retries=1))
    return {"ti": instance, **more}


def test_which_journal(monkeypatch):
    monkeypatch.setattr(journals, "current_context", lambda: None)
    place = journals.slot_for("k")
    assert isinstance(place.journal, MemoryJournal)
    assert place == journals.JournalSlot(place.journal, "", "")
    monkeypatch.setattr(journals, "current_context", lambda: context(task_state_store=object()))
    place = journals.slot_for("k")
    # Airflow may delete the state of a task: with its dag run, when it succeeds, or when a person clears it.
    assert isinstance(place.journal.store, stores.VariableStore)
    generation = "3|1|None"
    assert (place.journal.identity, place.generation) == ("d|r|t|-1|k", generation)
    assert (place.run, place.begun_before) == (f"d|r|t|-1|{generation}|2", True)
    assert place.journal.by_tries
    # A dag run that was deleted and made again has journals of the same name, and is another generation.
    monkeypatch.setattr(journals, "current_context", lambda: context(dag_run=SimpleNamespace(start_date="later")))
    assert journals.slot_for("k").generation != generation
    # Another task with the same idempotency key is not a retry.
    place = journals.slot_for(KEY)
    assert place.generation.startswith("d|r|t|-1|")
    assert place.begun_before


IN_A_PROGRAM = """
from airflow_provider_whitebit.hooks.journals import slot_for
slot_for("k")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "of_a_task",
    [
        pytest.param({"AIRFLOW_CTX_TASK_ID": "invest"}, id="script"),
        pytest.param({"__PYTHON_SCRIPT": "cGFzcw=="}, id="container"),
        pytest.param({}, id="no task"),
    ],
)
def test_a_program_that_a_task_starts_has_no_journal_to_move_by(of_a_task, tmp_path):
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_CTX")}
    env |= {"AIRFLOW_HOME": str(tmp_path)} | of_a_task
    done = subprocess.run([sys.executable, "-c", IN_A_PROGRAM], env=env, capture_output=True, text=True)
    assert ("An Airflow task started this process" in done.stderr) == bool(of_a_task), done.stderr
    assert (done.returncode == 0) != bool(of_a_task)


def test_a_process_in_which_a_task_ran_is_no_program_of_a_task(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CTX_TASK_ID", "invest")
    assert not airflow_compat.begun_by_a_task()
    monkeypatch.setattr(journals, "current_context", lambda: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journals, "begun_by_a_task", lambda: True)
        with pytest.raises(WhiteBitConfigurationError, match="No money moved"):
            journals.slot_for("k")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("by_hand", [False, True])
def test_a_process_that_a_task_forks_has_no_journal_to_move_by(monkeypatch, by_hand):
    """``ProcessPoolExecutor``: its processes share the socket to the supervisor, where answers have no address."""
    monkeypatch.setattr(journals, "current_context", lambda: context())
    monkeypatch.setattr(airflow_compat, "begun_by_hand", lambda: by_hand)
    forks = multiprocessing.get_context("fork")
    ours, theirs = forks.Pipe()

    def move():
        try:
            theirs.send(journals.slot_for("k").run)
        except WhiteBitConfigurationError as error:
            theirs.send(error.message)

    child = forks.Process(target=move)
    child.start()
    assert ours.poll(60)
    assert ours.recv().startswith("An Airflow task started this process") != by_hand
    child.join()
    assert journals.slot_for("k").run


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("in_a_task", [False, True])
def test_a_process_that_a_task_forks_without_multiprocessing(monkeypatch, in_a_task):
    """``billiard``, ``pathos``, ``os.fork()``. Airflow itself forks tasks, from processes that run none."""
    import airflow.sdk.execution_time.task_runner  # noqa: F401 - as in each process that runs a task

    with set_current_context(context()) if in_a_task else nullcontext():
        forked = os.fork()
        if forked == 0:
            os._exit(airflow_compat.forked_by_a_task())
    assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == in_a_task
    assert not airflow_compat.forked_by_a_task()


def test_code_that_airflow_runs_outside_of_a_task_has_no_journal_to_move_by(monkeypatch):
    monkeypatch.setattr(journals, "current_context", lambda: None)
    monkeypatch.setattr(journals, "runs_for_airflow", lambda: True)
    for key in ("k", KEY):
        with pytest.raises(WhiteBitConfigurationError, match="outside of a task"):
            journals.slot_for(key)


def move_at_a_deadline():
    journals.slot_for("k")


def test_a_callback_that_an_executor_calls_has_no_journal_to_move_by(monkeypatch):
    """A deadline's callback. Airflow 3.2 calls it in the executor, without the supervisor that tasks have."""
    from airflow.executors import workloads

    def execute_callback_workload(callback, log):
        move_at_a_deadline()

    monkeypatch.setattr(journals, "current_context", lambda: None)
    monkeypatch.setattr(journals, "runs_for_airflow", lambda: False)
    move_at_a_deadline()
    with pytest.raises(WhiteBitConfigurationError, match="outside of a task"):
        execute_callback_workload(None, None)
    own = getattr(getattr(workloads, "callback", None), "execute_callback_workload", None)
    if own is not None:
        callback = SimpleNamespace(data={"path": f"{__name__}.move_at_a_deadline"})
        assert "outside of a task" in own(callback, logging.getLogger(__name__))[1]


def test_outside_a_task_an_idempotency_key_is_one_journal_of_the_process(monkeypatch):
    monkeypatch.setattr(journals, "current_context", lambda: None)
    monkeypatch.setattr(journals, "_MEMORY_JOURNALS", MemoryJournal())
    slot, again = journals.slot_for(KEY), journals.slot_for(KEY)
    slot.journal.write({"by": 1})
    assert [document["by"] for document in again.journal.read()] == [1]
    # A second call is no retry of the first, and waits for it.
    assert slot.generation != again.generation
    assert slot.begun_before
    assert slot.lock is again.lock
    assert journals.slot_for(keys.idempotent("feed", "rent 2026-11")).journal.read() == []
    # Other moves outside a task are new each time.
    journals.slot_for("k").journal.write({"by": 1})
    assert journals.slot_for("k").journal.read() == []


def test_markers_are_shared_by_all_moves_of_an_api_key_and_conflict_key(monkeypatch, variables):
    monkeypatch.setattr(journals, "_MEMORY_MARKERS", {})
    for context in (None, {"ti": "of a task"}):
        monkeypatch.setattr(journals, "current_context", lambda context=context: context)
        journals.markers_for("a").write("transfer|USDT", "new:1")
        assert journals.markers_for("a").read("transfer|USDT") == "new:1"
        assert journals.markers_for("b").read("transfer|USDT") is None
        assert journals.markers_for("a").read("transfer|BTC") is None
        # Tasks run in processes of their own.
        assert list(variables.kept) == ([] if context is None else ["whitebit_marker__a__transfer_USDT"])


def test_spending_logs_are_shared_by_all_moves_of_an_api_key_and_lock(monkeypatch, variables):
    monkeypatch.setattr(journals, "_MEMORY_SPENDING", {})
    for context in (None, {"ti": "of a task"}):
        monkeypatch.setattr(journals, "current_context", lambda context=context: context)
        for number in (1, 2):
            journals.spending_log_for("a").write("limit|USDT", {"page": number}, (Page(number),))
        reading = journals.spending_log_for("a").read("limit|USDT")
        assert (reading.documents[-1], reading.pages) == ({"page": 2}, (Page(2),))
        assert journals.spending_log_for("b").read("limit|USDT") == LogReading([], (Page(),))
        assert journals.spending_log_for("a").read("limit") == LogReading([], (Page(),))
        names = [f"whitebit_spent__a__limit_USDT__{number}" for number in (1, 2)]
        assert list(variables.kept) == ([] if context is None else names)


@pytest.mark.parametrize("text", ["{", "[]", "5"])
def test_a_spending_log_that_is_no_document_is_not_empty(monkeypatch, variables, text):
    monkeypatch.setattr(journals, "current_context", lambda: {"ti": "of a task"})
    variables.kept["whitebit_spent__a__limit__1"] = text
    with pytest.raises(WhiteBitJournalError, match="whitebit_spent__a__limit__1"):
        journals.spending_log_for("a").read("limit")


@pytest.mark.parametrize("deaf", [True, False])
def test_old_pages_of_a_spending_log_are_deleted_if_possible(monkeypatch, variables, deaf):
    monkeypatch.setattr(journals, "current_context", lambda: {"ti": "of a task"})
    log = journals.spending_log_for("a")
    log.write("limit", {}, (Page(1),))
    log.finish("limit", (Page(1),))
    variables.deaf = deaf
    stores.VariableStore().delete("whitebit_spent__a__limit__1")
    left = ["whitebit_spent__a__limit__1"] if deaf else []
    assert [*variables.kept] == [*left, "whitebit_spent__a__limit__latest"]


def test_another_dag_run_of_the_same_name_is_another_run_of_the_process(monkeypatch):
    runs = []
    for number in ("first", "second", "second"):
        given = context()
        given["ti"].id = number
        monkeypatch.setattr(journals, "current_context", lambda given=given: given)
        slot = journals.slot_for("k")
        assert slot.process_run.startswith(slot.run)
        runs.append(slot.process_run)
    assert len(set(runs)) == 2 and runs[1] == runs[2]
