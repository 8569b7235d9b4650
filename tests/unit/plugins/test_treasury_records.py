"""Moves in doubt in Airflow's own tables, for one user."""

from __future__ import annotations

import json
from contextlib import contextmanager
from decimal import Decimal

import pendulum
import pytest
from sqlalchemy import event
from treasury_rows import ACCOUNT, PLAN, history, intent, journal_name

from airflow_provider_whitebit.client import errors
from airflow_provider_whitebit.control import journals
from airflow_provider_whitebit.control.search import Reader, find_doubt
from airflow_provider_whitebit.moves.doubts import UNREADABLE_STEPS, steps_for
from airflow_provider_whitebit.moves.intent import Attempt, Operation
from airflow_provider_whitebit.plugins import treasury_records as records


def doubts(tables, dag_ids=("desk",), accounts=(ACCOUNT,), variables=True):
    reader = Reader(dag_ids, lambda keys: set(keys) if variables else set())
    return records.doubts(tables.session, reader, accounts=accounts)


def document(**changes):
    return json.dumps(history(intent(**changes)))


@contextmanager
def counted(session):
    """The queries that a session executes."""
    statements = []

    def note(connection, cursor, statement, *_):
        if statement.startswith("SELECT"):
            statements.append(statement)

    engine = session.get_bind()
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)


class TestDoubts:
    def test_a_failed_task_in_doubt(self, tables):
        tables.task()
        tables.journal(document())
        (doubt,) = doubts(tables)
        assert (doubt["operation"], doubt["amount"], doubt["ticker"], doubt["plan_id"]) == (
            "flex_invest",
            "100.50",
            "USDT",
            PLAN,
        )
        assert (doubt["sent_at"], doubt["attempts"], doubt["ours"]) == ("2025-11-23T12:13:20Z", 1, True)
        assert doubt["key"] == journal_name()
        assert doubt["task"]["page"] == "dags/desk/runs/manual__1/tasks/invest"
        assert ACCOUNT not in json.dumps(doubt)

    @pytest.mark.parametrize("operation", list(Operation))
    def test_a_doubt_carries_the_steps_of_its_operation(self, tables, operation):
        tables.task()
        tables.journal(document(operation=operation))
        (doubt,) = doubts(tables)
        assert doubt["steps"] == steps_for(operation)

    def test_a_store_may_wrap_its_values(self, tables):
        tables.task()
        tables.journal(json.dumps(document()))
        assert len(doubts(tables)) == 1

    @pytest.mark.parametrize("state", ["running", "deferred", "up_for_retry", "queued", "success"])
    def test_a_task_that_resolves_it_itself(self, tables, state):
        tables.task(state)
        tables.journal(document())
        assert doubts(tables) == []

    @pytest.mark.parametrize("state", ["failed", "upstream_failed", "skipped", "removed"])
    def test_a_task_that_does_not_run_again(self, tables, state):
        tables.task(state)
        tables.journal(document())
        assert len(doubts(tables)) == 1

    def test_a_resolved_move_is_not_in_doubt(self, tables):
        tables.task()
        tables.journal(json.dumps(history(intent().found_absent())))
        tables.journal(json.dumps({"version": 1, "highest": 1, "done": None}), name="plan__1")
        tables.journal('"begun, and pending"', name="flex_invest__from_2")
        assert doubts(tables) == []

    def test_tries_are_merged_also_those_without_anything_pending(self, tables):
        tables.task()
        tables.journal(document(), name="flex_invest__2")
        tables.journal(document(name="another"), name="other__2")
        for resolved in (intent().found_absent(), intent("another").found_absent()):
            key = "flex_invest" if resolved.id == "int-1" else "another"
            tables.journal(json.dumps(history(resolved)), name=f"{key}__11")
        # Another task has keys of the same name.
        tables.task(run="manual__2")
        tables.journal(json.dumps(history(intent("another").found_absent())), "other__1", run="manual__2")
        assert [(doubt["intent_id"], doubt["key"]) for doubt in doubts(tables)] == [("another", journal_name("other"))]

    @pytest.mark.parametrize("pending", [True, False])
    def test_a_refusal_is_in_doubt_only_while_an_attempt_is(self, tables, pending):
        """A stalled try may have written its attempt after the later one was refused."""
        tables.task()
        tried = intent().found_absent().trying(Attempt(1_763_900_060_000, 1_763_900_060))
        refused = tried.refused(errors.WhiteBitNotEnoughBalanceError("Not enough.", status=422))
        tables.journal(json.dumps(history(refused)), name="flex_invest__2")
        if pending:
            stalled = intent().trying(Attempt(1_763_900_120_000, 1_763_900_120))
            tables.journal(json.dumps(history(stalled)), name="flex_invest__1")
        assert [doubt["sent_at"] for doubt in doubts(tables)] == (["2025-11-23T12:15:20Z"] if pending else [])

    def test_a_move_that_was_made_leaves_no_doubt(self, tables):
        """A stalled try wrote an attempt that it never sent: a cleared task gets the receipt."""
        tables.task()
        tables.journal(document(name="stalled"), name="flex_invest__1")
        made = intent("made").executed("tx_1", Decimal("100.50"), pendulum.datetime(2025, 11, 23), reconciled=False)
        tables.journal(json.dumps(history(made)), name="flex_invest__2")
        assert doubts(tables) == []

    @pytest.mark.parametrize(
        "name", ["whitebit_move__", "whitebit_move__a", "whitebit_move__a__", "whitebit_move__a__x"]
    )
    def test_other_names(self, tables, name):
        tables.task()
        tables.variable(name, document(), "Move of desk|manual__1|invest|-1|flex_invest")
        assert doubts(tables) == []

    def test_few_queries(self, tables):
        for number in range(9):
            tables.task(run=f"manual__{number}")
            for writer in range(1, 4):
                tables.journal(document(), f"flex_invest__{writer}", run=f"manual__{number}")
                tables.journal(document(), f"a__{writer}", run=f"manual__{number}")
        with counted(tables.session) as queries:
            assert len(doubts(tables)) == 18
        assert len(queries) == 6

    @pytest.mark.parametrize(
        "text", ['{"version": 2, "attempts": [{"outcome": "pending"}]}', "pending, and no JSON", '["pending"]']
    )
    def test_an_unreadable_journal_is_shown(self, tables, text):
        tables.task()
        tables.journal(text)
        (doubt,) = doubts(tables)
        assert doubt["unreadable"].startswith("The journal cannot be read: ")
        assert doubt["operation"] is None
        assert doubt["steps"] == UNREADABLE_STEPS

    def test_an_impossible_time_is_shown_too(self, tables):
        tables.task()
        tables.journal(document(sent=10**18))
        assert len(doubts(tables)) == 1

    def test_a_doubt_with_another_key_is_shown_and_marked(self, tables):
        tables.task()
        tables.journal(document(account="feedfeedfeedfeed"))
        assert [doubt["ours"] for doubt in doubts(tables)] == [False]
        assert [doubt["ours"] for doubt in doubts(tables, accounts=())] == [None]

    def test_only_what_the_user_may_read(self, tables):
        tables.task()
        tables.journal(document())
        assert doubts(tables, dag_ids=["another"]) == []
        assert doubts(tables, dag_ids=[]) == []


class TestDoubtsInVariables:
    KEY = "whitebit_move__desk.invest.flex_invest__" + 32 * "a"
    OF = "Move of desk|manual__1|invest|-1|flex_invest"

    def test_tries_are_merged(self, tables):
        tables.task()
        tables.variable(f"{self.KEY}__1", document(), self.OF)
        tables.variable(f"{self.KEY}__2", json.dumps(history(intent().found_absent())), self.OF)
        # The second try has found that the attempt of the first one never ran.
        assert doubts(tables) == []

    def test_a_doubt(self, tables):
        tables.task()
        tables.variable(f"{self.KEY}__1", document(), self.OF)
        (doubt,) = doubts(tables)
        assert doubt["key"] == f"{self.KEY}__"
        assert doubts(tables, variables=False) == []
        assert doubts(tables, dag_ids=["another"]) == []

    @pytest.mark.parametrize("description", [None, "mine", "Move of x"])
    def test_other_variables(self, tables, description):
        tables.task()
        tables.variable(f"{self.KEY}__1", document(), description)
        assert doubts(tables) == []

    @pytest.mark.parametrize(
        ("name", "description"),
        [
            ("whitebit_move__abc", OF),
            (f"{KEY}__{10**30}", OF),
            (f"{KEY}__1", f"Move of desk|manual__1|invest|{10**30}|flex_invest"),
        ],
    )
    def test_names_that_anyone_could_have_given(self, tables, name, description):
        tables.task()
        tables.variable(name, document(), description)
        assert doubts(tables) == []

    def test_what_is_beyond_the_most_documents_may_have_resolved_the_doubt(self, tables, monkeypatch):
        monkeypatch.setattr(journals, "_MOST_DOCUMENTS", 1)
        tables.task()
        tables.variable(f"{self.KEY}__2", json.dumps(history(intent().found_absent())), self.OF)
        tables.variable(f"{self.KEY}__from_2", '"begun"', "Sign of desk|manual__1|invest|-1|flex_invest")
        tables.variable(f"{self.KEY}__1", document(), self.OF)
        assert doubts(tables) == []

    def test_signs_do_not_count_among_the_most_documents(self, tables, monkeypatch):
        monkeypatch.setattr(journals, "_MOST_DOCUMENTS", 1)
        tables.task()
        tables.variable(f"{self.KEY}__1", document(), self.OF)
        tables.variable(f"{self.KEY}__from_2", '"begun"', "Sign of desk|manual__1|invest|-1|flex_invest")
        assert len(doubts(tables)) == 1

    def test_moves_of_tasks_that_ended_well_hide_no_doubt(self, tables, monkeypatch):
        monkeypatch.setattr(journals, "_MOST_DECRYPTED", 1)
        tables.task()
        tables.journal(document())
        tables.task("success", run="manual__2")
        tables.journal(document(name="made"), run="manual__2")
        assert [doubt["intent_id"] for doubt in doubts(tables)] == ["int-1"]
        assert find_doubt(tables.session, "int-1") is not None

    def test_a_task_that_no_longer_exists(self, tables):
        tables.variable(f"{self.KEY}__1", document(), self.OF)
        assert doubts(tables) == []


class TestDoubtsUnderAnIdempotencyKey:
    KEY = "whitebit_key__rent_2026-11__" + 32 * "a"

    def written(self, tables, writer, text, task="invest", dag="desk"):
        tables.variable(f"{self.KEY}__{writer}", text, f"Move of {dag}|manual__1|{task}|-1|rent 2026-11")

    def test_a_doubt(self, tables):
        tables.task()
        self.written(tables, 4095, document())
        (doubt,) = doubts(tables)
        assert doubt["key"] == f"{self.KEY}__"
        assert doubt["task"]["task_id"] == "invest"
        assert doubts(tables, variables=False) == doubts(tables, dag_ids=[]) == []

    @pytest.mark.parametrize("writers", [(7, 2000), (2000, 7)])
    def test_another_task_has_resolved_it(self, tables, writers):
        tables.task()
        tables.task("success", dag="secret", task="later")
        self.written(tables, writers[0], document())
        self.written(tables, writers[1], json.dumps(history(intent().found_absent())), "later", "secret")
        assert doubts(tables) == []

    def test_the_task_that_is_shown_knows_of_the_doubt_and_has_ended_without_success(self, tables):
        for name, state in (("first", "success"), ("second", "failed"), ("third", "failed")):
            tables.task(state, task=name)
        self.written(tables, 1, document(), "first")
        self.written(tables, 2, json.dumps(history()), "second")
        self.written(tables, 3, document(), "third")
        assert [doubt["task"]["task_id"] for doubt in doubts(tables)] == ["third"]

    def test_the_doubt_of_a_dag_that_may_not_be_read_is_not_shown(self, tables):
        tables.task(dag="secret")
        tables.task()
        self.written(tables, 1, document(), dag="secret")
        self.written(tables, 2, json.dumps(history()))
        assert doubts(tables) == []
        assert [doubt["task"]["dag_id"] for doubt in doubts(tables, dag_ids=["secret"])] == ["secret"]

    def test_an_unreadable_document_is_shown(self, tables):
        tables.task()
        self.written(tables, 1, "pending, and no JSON")
        (doubt,) = doubts(tables)
        assert doubt["unreadable"]
