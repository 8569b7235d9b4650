"""What Airflow's own tables say of moves and doubts, for one user."""

from __future__ import annotations

import json

import pytest
from treasury_rows import ACCOUNT, PLAN, intent

from airflow_provider_whitebit.plugins import treasury_records as records

RECEIPT = {
    "operation": "flex_invest",
    "transaction_id": "tx_1",
    "plan_id": PLAN,
    "ticker": "USDT",
    "amount": "100",
    "status": "executed",
    "executed_at": "2026-11-23T12:00:00Z",
    "attempts": 1,
    "reconciled": True,
    "intent_id": "int-1",
}


def doubts(tables, dag_ids=("desk",), account=ACCOUNT, tasks=True, variables=True):
    return records.doubts(
        tables.session,
        dag_ids,
        account=account,
        may_read_tasks=lambda dag_id: tasks,
        may_read_variable=lambda key: variables,
    )


def document(**changes):
    return json.dumps(intent(**changes).to_json())


class TestMoves:
    def test_a_receipt_and_its_task(self, tables):
        tables.event({**RECEIPT, "note": "not a receipt's"}, run="manual__a+b/c", number=2)
        (move,) = records.last_moves(tables.session, "whitebit_default", ["desk"])
        assert {name: move[name] for name in RECEIPT if name != "attempts"} == {
            name: value for name, value in RECEIPT.items() if name != "attempts"
        }
        assert "note" not in move
        assert move["task"]["page"] == "dags/desk/runs/manual__a%2Bb%2Fc/tasks/invest/mapped/2"
        assert move["told_at"] == "2026-11-23T12:00:00Z"

    @pytest.mark.parametrize("amount", [{"a": 1}, "a lot", "NaN", [], True, None])
    def test_what_is_no_receipt_breaks_nothing(self, tables, amount):
        tables.event({"operation": ["x"], "amount": amount, "executed_at": 5, "plan_id": {}, "reconciled": "yes"})
        (move,) = records.last_moves(tables.session, "whitebit_default", ["desk"])
        assert (move["operation"], move["amount"], move["executed_at"], move["plan_id"]) == (None, None, None, None)
        assert move["reconciled"] is False

    def test_newest_first_and_each_once(self, tables):
        tables.event(RECEIPT, minute=1)
        tables.event({**RECEIPT, "intent_id": "int-2"}, minute=2)
        # Cleared, and told again.
        tables.event(RECEIPT, minute=3, run="manual__1")
        moves = records.last_moves(tables.session, "whitebit_default", ["desk"])
        assert [(move["intent_id"], move["told_at"][14:16]) for move in moves] == [("int-2", "02"), ("int-1", "01")]

    def test_of_this_connection_and_of_dags_that_may_be_read(self, tables):
        tables.event(RECEIPT, conn="other")
        tables.event(RECEIPT, dag="secret")
        assert records.last_moves(tables.session, "whitebit_default", ["desk"]) == []
        assert records.last_moves(tables.session, "whitebit_default", []) == []


class TestDoubtsInTaskState:
    def test_a_failed_task_in_doubt(self, tables):
        tables.task()
        tables.state(document())
        (doubt,) = doubts(tables)
        assert (doubt["operation"], doubt["amount"], doubt["ticker"], doubt["plan_id"]) == (
            "flex_invest",
            "100.50",
            "USDT",
            PLAN,
        )
        assert (doubt["sent_at"], doubt["attempts"], doubt["ours"]) == ("2025-11-23T12:13:20Z", 1, True)
        assert (doubt["key"], doubt["kept_in"]) == ("whitebit_move.flex_invest", "task state")
        assert doubt["task"]["page"] == "dags/desk/runs/manual__1/tasks/invest"
        assert ACCOUNT not in json.dumps(doubt)

    def test_a_store_may_wrap_its_values(self, tables):
        tables.task()
        tables.state(json.dumps(document()))
        assert len(doubts(tables)) == 1

    @pytest.mark.parametrize("state", ["running", "deferred", "up_for_retry", "queued", "success"])
    def test_a_task_that_settles_it_itself(self, tables, state):
        tables.task(state)
        tables.state(document())
        assert doubts(tables) == []

    @pytest.mark.parametrize("state", ["failed", "upstream_failed", "skipped", "removed"])
    def test_a_task_that_nobody_runs_again(self, tables, state):
        tables.task(state)
        tables.state(document())
        assert len(doubts(tables)) == 1

    def test_what_is_settled_is_no_doubt(self, tables):
        tables.task()
        tables.state(json.dumps(intent().found_absent().to_json()))
        tables.state(json.dumps({"version": 1, "note": "a diary"}), key="whitebit_move.plan")
        tables.state('"pending"', key="somebody_elses")
        assert doubts(tables) == []

    @pytest.mark.parametrize(
        "text", ['{"version": 2, "attempts": [{"outcome": "pending"}]}', "pending, and no JSON", '["pending"]']
    )
    def test_what_cannot_be_read_is_shown(self, tables, text):
        tables.task()
        tables.state(text)
        (doubt,) = doubts(tables)
        assert doubt["unreadable"].startswith("The journal's document: ")
        assert doubt["operation"] is None

    def test_a_time_that_is_none_is_shown_too(self, tables):
        tables.task()
        tables.state(document(sent=10**18))
        assert len(doubts(tables)) == 1

    def test_a_doubt_with_another_key_is_shown_and_told_apart(self, tables):
        tables.task()
        tables.state(document(account="feedfeedfeedfeed"))
        assert [doubt["ours"] for doubt in doubts(tables)] == [False]
        assert [doubt["ours"] for doubt in doubts(tables, account=None)] == [None]

    def test_only_what_the_user_may_read(self, tables):
        tables.task()
        tables.state(document())
        assert doubts(tables, dag_ids=["another"]) == []
        assert doubts(tables, tasks=False) == []


class TestDoubtsInVariables:
    KEY = "whitebit_move__desk.invest.flex_invest__" + 32 * "a"
    OF = "Move of desk|manual__1|invest|-1|flex_invest"

    def test_tries_are_put_together(self, tables):
        tables.task()
        tables.variable(f"{self.KEY}__1", document(), self.OF)
        tables.variable(f"{self.KEY}__2", json.dumps(intent().found_absent().to_json()), self.OF)
        # The second try has found out that the first one's never ran.
        assert doubts(tables) == []

    def test_a_doubt(self, tables):
        tables.task()
        tables.variable(f"{self.KEY}__1", document(), self.OF)
        (doubt,) = doubts(tables)
        assert (doubt["key"], doubt["kept_in"]) == (self.KEY, "Variables")
        assert doubts(tables, variables=False) == []
        assert doubts(tables, dag_ids=["another"]) == []

    @pytest.mark.parametrize("description", [None, "mine", "Move of x"])
    def test_variables_of_others(self, tables, description):
        tables.task()
        tables.variable(f"{self.KEY}__1", document(), description)
        assert doubts(tables) == []

    def test_of_a_task_that_is_gone(self, tables):
        tables.variable(f"{self.KEY}__1", document(), self.OF)
        assert doubts(tables) == []
