"""Several moves of one task: what an interrupted run leaves, and how the next one continues."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from unittest import mock

import pendulum
import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.moves import plans
from airflow_provider_whitebit.moves.drivers import _announce_run, _confirm_run
from airflow_provider_whitebit.moves.history import MoveHistory
from airflow_provider_whitebit.moves.intent import Attempt, Intent, Move, Operation
from airflow_provider_whitebit.moves.journal import MemoryJournal
from airflow_provider_whitebit.moves.keys import idempotent
from airflow_provider_whitebit.moves.plans import PlanRun
from tests.protocol_script import execution

AT = pendulum.datetime(2026, 1, 2)


def invest(plan, amount="10", ticker="USDT"):
    return Move(Operation.FLEX_INVEST, plan, ticker, Decimal(amount))


def intent(move, number=1, generation="1"):
    return Intent(f"i{number}", "account", {}, generation, move, 1).trying(Attempt(1_000, 1))


def document(highest=0, run="1", done=None, **changes):
    """What a run of the task leaves in the plan journal."""
    return {
        "version": 1,
        "run": run,
        "generation": "1",
        "task": "",
        "account": "a",
        "connection": "",
        "requested": {"policy": "p"},
        "highest": highest,
        "done": done,
        **changes,
    }


class PerTry(MemoryJournal):
    """A document for each try."""

    def __init__(self):
        super().__init__("plan")
        self.documents = {}

    def read(self):
        return [self.documents[name] for name in sorted(self.documents)]

    def write(self, document):
        self.documents[document.get("run", "")] = document


class Ledger:
    """Journals by number, and an exchange that answers as a test prepares it.

    :param moves: what the task plans.
    """

    def __init__(self, *moves):
        self.plan_journal = PerTry()
        self.moves = list(moves)
        self.sent = []
        self.errors = {}
        #: By plan: whether a move in doubt turns out to have run.
        self.ran = set()
        #: The receipts that each run knew when it planned.
        self.planned_with = []
        #: Happens while a run plans.
        self.meanwhile = lambda: None

    def write(self, number, *intents):
        history = MoveHistory({one.id: one for one in intents})
        self.plan_journal.sibling(f"plan.{number}").write(history.to_json())

    def execute(self, execution, *, sleep):
        """Instead of the driver: one move under its number."""
        assert execution.plan_journal is self.plan_journal
        move, number = execution.request.move, int(execution.key.removeprefix("plan."))
        assert execution.intent_id == f"new.{number}"
        known = MoveHistory.merge(execution.journal.read())
        if known.executed:
            return known.executed.receipt
        error = self.errors.get(move.plan_id)
        if isinstance(error, e.WhiteBitInDoubtError) and known.begun:
            raise error
        if known.begun and move.plan_id in self.ran:
            ran = known.begun[0].executed("tx-found", move.amount, AT, reconciled=True)
            self.write(number, ran)
            return ran.receipt
        if not execution.send:
            return None
        _confirm_run(execution, execution.plan_journal)
        if error is not None:
            self.write(number, intent(move, number))
            raise error
        self.sent.append((number, move.plan_id))
        made = intent(move, number).executed(f"tx{number}", move.amount, AT, reconciled=False)
        self.write(number, made)
        return made.receipt

    def plan_run(self, requested="p", generation="1", run="1"):
        template = execution(generation=generation, run=run, key="plan")
        return PlanRun(replace(template, journal=self.plan_journal), {"policy": requested})

    def run(self, *, send=True, **options):
        """What the hook does; a dry run leaves out the last step. :returns: the identifiers of the transactions."""
        with mock.patch.object(plans, "execute_move", self.execute):
            run = self.plan_run(**options)
            receipts = run.done()
            if receipts is None:
                receipts = run.recover(announce=send)
                self.planned_with.append([receipt.transaction_id for receipt in receipts])
                self.meanwhile()
                if send:
                    receipts = run.execute(self.moves)
        return [receipt.transaction_id for receipt in receipts]


def test_all_moves_in_their_order():
    ledger = Ledger(invest("a"), invest("b"))
    assert ledger.run() == ["tx1", "tx2"]
    assert ledger.sent == [(1, "a"), (2, "b")]


def test_a_retry_and_a_clear_return_what_was_made():
    ledger = Ledger(invest("a"))
    ledger.run()
    ledger.moves = [invest("c")]
    assert ledger.run() == ledger.run(generation="2", run="2") == ["tx1"]
    assert ledger.sent == [(1, "a")]
    with pytest.raises(e.WhiteBitAlreadyMovedError, match=r"(?s)already carried out its plan.*tx1"):
        ledger.run(requested="another", generation="2")


def test_a_clear_says_in_the_log_that_the_plan_was_made_before_it(caplog):
    ledger = Ledger(invest("a"))
    ledger.run()
    ledger.run(generation="2", run="2")
    assert "This plan was carried out before this task was cleared: its receipts are returned" in caplog.text


def test_another_move_of_the_task_writes_its_run_into_the_plan_journal():
    template = execution(key="later", run="2")
    journal = PerTry()
    _announce_run(template, journal)
    assert journal.read() == []
    journal.write(document(2, run="1"))
    _announce_run(template, journal)
    assert journal.read() == [document(2, run="1"), document(2, run="2")]
    _confirm_run(template, journal)
    with pytest.raises(e.WhiteBitJournalError, match="A later run of this task has taken over"):
        _confirm_run(replace(template, run="1"), journal)


def test_a_retry_with_other_parameters_returns_what_was_made():
    ledger = Ledger(invest("a"))
    ledger.run()
    assert ledger.run(requested="another") == ["tx1"]


def with_key(ledger, account, connection, **options):
    run = ledger.plan_run(**options)
    template = replace(run.template, api_key=replace(run.template.api_key, fingerprint=account, connection=connection))
    return replace(run, template=template)


@pytest.mark.parametrize(
    ("account", "connection", "own"),
    [("a", "other", True), ("b", "first", True), ("b", "other", False)],
)
def test_a_plan_that_was_made_is_that_of_its_account_or_connection(account, connection, own):
    ledger = Ledger(invest("a"))
    with mock.patch.object(plans, "execute_move", ledger.execute):
        with_key(ledger, "a", "first").execute(ledger.moves)
    [note] = ledger.plan_journal.read()
    assert (note["account"], note["connection"], note["task"]) == ("a", "first", "")
    later = with_key(ledger, account, connection, run="2")
    if own:
        assert [one.transaction_id for one in later.done()] == ["tx1"]
        return
    with pytest.raises(e.WhiteBitAlreadyMovedError, match="connection 'first'; this time it names 'other'") as caught:
        later.done()
    assert caught.value.completed_moves[0]["transaction_id"] == "tx1"
    assert caught.value.next_step == 'Give each connection a plan of its own: key="plan other".'


def test_another_tasks_plan_under_an_idempotency_key_names_that_task():
    ledger = Ledger(invest("a"))
    key = idempotent("a", "rent")

    def of(task, generation, requested="p"):
        run = ledger.plan_run(requested=requested, generation=generation, run=generation)
        return replace(run, template=replace(run.template, key=key, task=task))

    ledger.plan_journal.write(document(1, done=[receipt_of("tx1")], task="task invest of d, run r"))
    assert [one.transaction_id for one in of("task other of d, run r", "2").done()] == ["tx1"]
    with pytest.raises(e.WhiteBitAlreadyMovedError, match=r"used before by task invest of d, run r") as caught:
        of("task other of d, run r", "2", "another").done()
    assert caught.value.completed_moves == ()
    with pytest.raises(e.WhiteBitAlreadyMovedError, match=r"used before by this task") as caught:
        of("task invest of d, run r", "2", "another").done()
    assert [one["transaction_id"] for one in caught.value.completed_moves] == ["tx1"]


def receipt_of(name):
    return intent(invest("a")).executed(name, Decimal(10), AT, reconciled=False).receipt.to_json()


def test_only_the_last_run_says_whether_the_plan_is_done():
    ledger = Ledger(invest("b"))
    ledger.plan_journal.write(document(run="1", done=[]))
    ledger.plan_journal.write(document(run="2"))
    assert ledger.plan_run().done() is None


@pytest.mark.parametrize("error", [e.WhiteBitUnavailableError("No lock."), e.WhiteBitAuthenticationError("Revoked.")])
def test_an_error_lists_the_moves_that_were_made_before_it(error):
    ledger = Ledger(invest("a"), invest("b"))
    ledger.errors["b"] = error
    with pytest.raises(type(error)) as caught:
        ledger.run()
    text = str(caught.value)
    assert "Already moved by this task: flex_invest 10 USDT (transaction tx1)" in text
    assert "No money moved" not in text


def test_an_error_before_the_first_move_says_that_no_money_moved():
    ledger = Ledger(invest("a"))
    ledger.errors["a"] = e.WhiteBitUnavailableError("No lock.", money_moved=False)
    with pytest.raises(e.WhiteBitUnavailableError, match="No money moved") as caught:
        ledger.run()
    assert "Already moved" not in str(caught.value)


def test_a_task_that_had_nothing_to_do_may_plan_again_when_it_is_cleared():
    ledger = Ledger()
    assert ledger.run() == []
    ledger.moves = [invest("a")]
    assert ledger.run() == []
    assert ledger.run(requested="another", generation="2") == ["tx1"]


def test_an_interrupted_run_is_followed_by_a_new_plan():
    ledger = Ledger(invest("a"), invest("b"), invest("c"))
    ledger.errors["b"] = e.WhiteBitUnavailableError("down")
    with pytest.raises(e.WhiteBitUnavailableError):
        ledger.run()
    # The second was sent. It is reconciled, and turns out not to have run.
    ledger.errors.clear()
    ledger.moves = [invest("b", "9")]
    assert ledger.run(run="2") == ["tx1", "tx3"]
    assert ledger.planned_with == [[], ["tx1"]]
    assert ledger.sent == [(1, "a"), (3, "b")]


def test_a_move_that_ran_without_an_answer_is_found():
    ledger = Ledger(invest("b"))
    ledger.plan_journal.write(document(2))
    ledger.write(1, intent(invest("a")))
    ledger.ran.add("a")
    assert ledger.run() == ["tx-found", "tx2"]
    assert ledger.sent == [(2, "b")]


def test_a_dry_run_finds_what_earlier_runs_did_and_writes_nothing():
    ledger = Ledger(invest("b"))
    ledger.plan_journal.write(document(3))
    ledger.write(1, intent(invest("a")))
    ledger.write(2, intent(invest("c"), 2))
    ledger.ran.add("a")
    assert ledger.run(send=False) == ["tx-found"]
    assert ledger.plan_journal.read() == [document(3)]
    assert ledger.sent == []


def test_a_dry_run_fails_if_a_move_stays_in_doubt():
    ledger = Ledger()
    ledger.plan_journal.write(document(1))
    ledger.write(1, intent(invest("a")))
    ledger.errors["a"] = e.WhiteBitInDoubtError("two records fit", intent_id="i1", path="/p", next_step="Compare.")
    with pytest.raises(e.WhiteBitInDoubtError, match=r"(?s)could not be found out.*two records fit") as caught:
        ledger.run(send=False)
    assert (caught.value.intent_id, caught.value.path, caught.value.next_step) == ("i1", "/p", "Compare.")


def test_a_dry_run_of_a_plan_that_is_done_returns_its_receipts():
    ledger = Ledger(invest("a"))
    ledger.run()
    assert ledger.run(send=False) == ["tx1"]


def test_a_refusal_stops_no_move_that_does_not_need_it():
    ledger = Ledger(invest("a"), invest("b", ticker="BTC"), invest("a", "5"), invest("d", ticker="BTC"))
    ledger.errors["a"] = e.WhiteBitRefusedError("The exchange refused it.", said="Plan is paused")
    with pytest.raises(e.WhiteBitPlanError) as caught:
        ledger.run()
    assert ledger.sent == [(2, "b"), (4, "d")]
    assert "Not made: flex_invest 5 USDT, plan a: it needs what was not made before it." in str(caught.value)
    assert caught.value.money_moved is True
    assert "The exchange refused it. (Plan is paused)" in str(caught.value)
    assert "flex_invest 10 BTC (transaction tx2)" in str(caught.value)
    # Cleared by a person, it continues. The number of the refused move is not used again.
    ledger.errors.clear()
    ledger.moves = [invest("a"), invest("c")]
    assert ledger.run(generation="2", run="2") == ["tx2", "tx3", "tx4", "tx5"]


def out(plan, operation=Operation.FLEX_CLOSE):
    return replace(invest(plan), operation=operation)


def to_spot():
    return Move(Operation.TRANSFER, "", "USDT", Decimal(10), source="main", target="spot")


@pytest.mark.parametrize("operation", [Operation.FLEX_CLOSE, Operation.FLEX_WITHDRAW])
def test_a_way_out_does_not_close_another(operation):
    ledger = Ledger(out("a", operation), out("b", operation), invest("c"), to_spot())
    ledger.errors["a"] = e.WhiteBitRefusedError("Plan is paused")
    with pytest.raises(e.WhiteBitPlanError) as caught:
        ledger.run()
    assert ledger.sent == [(2, "b")]
    for move in (invest("c"), to_spot()):
        assert f"Not made: {move}: it needs what was not made before it." in str(caught.value)


def test_a_plan_that_takes_nothing_does_not_stop_the_next_one():
    ledger = Ledger(invest("a"), invest("b"))
    ledger.errors["a"] = e.WhiteBitRefusedError("Plan is paused")
    with pytest.raises(e.WhiteBitPlanError, match="Not made: flex_invest 10 USDT, plan a: Plan is paused"):
        ledger.run()
    assert ledger.sent == [(2, "b")]


@pytest.mark.parametrize("moved", [None, True])
def test_a_way_out_that_may_have_been_taken_stops_its_asset(moved):
    ledger = Ledger(out("a"), out("b"), out("d"))
    ledger.errors["a"] = e.WhiteBitRefusedError("Investment does not exist", money_moved=moved)
    with pytest.raises(e.WhiteBitPlanError):
        ledger.run()
    assert ledger.sent == []


def test_what_else_failed_ends_the_task_after_the_moves():
    ledger = Ledger(invest("a"))
    run = ledger.plan_run()
    with mock.patch.object(plans, "execute_move", ledger.execute):
        with pytest.raises(e.WhiteBitPlanError, match="Auto-reinvest was not switched") as caught:
            run.execute(ledger.moves, ["Auto-reinvest was not switched in plan b: refused"])
        assert ledger.sent == [(1, "a")]
        assert caught.value.money_moved is True
        # It is not done: the next run finds what was moved, and plans again.
        again = ledger.plan_run(generation="2", run="2")
        assert again.done() is None
        assert [one.transaction_id for one in again.recover(announce=True)] == ["tx1"]


def test_the_results_of_a_run_are_kept_with_their_moves():
    ledger = Ledger(invest("a"), invest("b", ticker="BTC"))
    ledger.errors["a"] = error = e.WhiteBitRefusedError("no")
    run = ledger.plan_run()
    with mock.patch.object(plans, "execute_move", ledger.execute), pytest.raises(e.WhiteBitPlanError):
        run.execute(ledger.moves)
    assert run.results == [(invest("a"), error), (invest("b", ticker="BTC"), run.receipts[0])]


def test_a_refused_plan_says_that_no_money_moved():
    ledger = Ledger(invest("a"))
    ledger.errors["a"] = e.WhiteBitRefusedError("no")
    with pytest.raises(e.WhiteBitPlanError, match="No money moved"):
        ledger.run()


def test_a_doubt_stops_its_asset_and_ends_the_task():
    ledger = Ledger(invest("a"), invest("b", ticker="BTC"), invest("c"))
    ledger.errors["a"] = e.WhiteBitInDoubtError("two records fit")
    with pytest.raises(e.WhiteBitInDoubtError, match="two records fit"):
        ledger.run()
    assert ledger.sent == [(2, "b")]
    ledger.moves = [invest("d"), invest("e", ticker="BTC")]
    with pytest.raises(e.WhiteBitInDoubtError):
        ledger.run(generation="2", run="2")
    assert ledger.sent == [(2, "b"), (4, "e")]


def test_an_error_behind_a_doubt_does_not_deny_a_move():
    ledger = Ledger(invest("a"), invest("b", ticker="BTC"))
    ledger.errors["a"] = e.WhiteBitInDoubtError("two records fit")
    ledger.errors["b"] = e.WhiteBitBlockedError("A gateway blocked the call.", money_moved=False)
    with pytest.raises(e.WhiteBitBlockedError, match="Whether money moved is not known"):
        ledger.run()


@pytest.mark.parametrize("reached", ["planning", "a move"])
def test_an_error_behind_a_move_that_left_no_record_does_not_deny_it(reached):
    ledger = Ledger(invest("b", ticker="BTC"))
    ledger.plan_journal.write(document(1))
    ledger.write(1, intent(invest("a")))
    blocked = e.WhiteBitBlockedError("A gateway blocked the call.", money_moved=False)
    with mock.patch.object(plans, "execute_move", ledger.execute):
        run = ledger.plan_run(run="2")
        assert run.recover(announce=True) == []
        if reached == "planning":
            run.add_facts(blocked)
        else:
            ledger.errors["b"] = blocked
            with pytest.raises(e.WhiteBitBlockedError):
                run.execute(ledger.moves)
    assert blocked.money_moved is None


def test_another_run_under_the_same_numbers():
    ledger = Ledger(invest("a"), invest("b"))
    other = intent(invest("z")).executed("tx-other", Decimal(10), AT, reconciled=False)
    ledger.meanwhile = lambda: ledger.write(1, other)
    with pytest.raises(e.WhiteBitAlreadyMovedError, match=r"(?s)Another run of this task.*tx-other"):
        ledger.run()
    assert ledger.sent == []


def test_a_replaced_run_stops_before_it_sends():
    ledger = Ledger(invest("a"), invest("b"))
    ledger.meanwhile = lambda: ledger.plan_journal.write(document(run="2"))
    with pytest.raises(e.WhiteBitJournalError, match="later run"):
        ledger.run(run="1")
    assert ledger.sent == []


@pytest.mark.parametrize("announce", [True, False])
def test_a_run_writes_its_name_before_it_reads_the_journals(announce):
    ledger = Ledger()
    ledger.plan_run(run="2").recover(announce=announce)
    assert [one["run"] for one in ledger.plan_journal.read()] == (["2"] if announce else [])


def test_it_gives_up_what_is_never_carried_out():
    ledger = Ledger(invest("a"))
    ledger.errors["a"] = e.WhiteBitUnavailableError("slow")
    for _ in range(13):
        with pytest.raises(e.WhiteBitUnavailableError):
            ledger.run()
    with pytest.raises(e.WhiteBitPlanError, match="13 moves"):
        ledger.run()
    ledger.errors.clear()
    assert ledger.run(generation="2") == ["tx14"]


@pytest.mark.parametrize(
    "written", [{"version": 2}, MoveHistory().to_json(), {"version": 1}, {"version": 1, "highest": "many"}]
)
def test_a_plan_journal_of_another_version_or_kind_is_refused(written):
    ledger = Ledger(invest("a"))
    ledger.plan_journal.write(written)
    with pytest.raises(e.WhiteBitInDoubtError, match="another version"):
        ledger.run()


def test_a_move_of_another_version_is_refused():
    ledger = Ledger(invest("a"))
    ledger.plan_journal.write(document(1))
    ledger.plan_journal.sibling("plan.1").write({"version": 1})
    with pytest.raises(e.WhiteBitInDoubtError, match="cannot be read"):
        ledger.run()


@pytest.mark.parametrize("refused", [12, 13])
def test_a_doubt_is_not_counted_among_what_is_never_carried_out(refused):
    moves = [invest(f"p{number}", ticker=f"T{number}") for number in range(refused + 1)]
    ledger = Ledger(*moves)
    for number, move in enumerate(moves, 1):
        made = intent(move, number)
        no = made.refused(e.WhiteBitRefusedError("Plan is paused"))
        ledger.write(number, made if move is moves[-1] else no)
    ledger.plan_journal.write(document(len(moves), run="0"))
    ledger.errors[f"p{refused}"] = e.WhiteBitInDoubtError("The records cannot tell.")
    with pytest.raises(e.WhiteBitInDoubtError, match=r"(?s)cannot tell.*Whether money moved is not known") as caught:
        ledger.run()
    assert ("carried out none of them" in str(caught.value)) is (refused > 12)


def stopped():
    return e.WhiteBitStoppedError("All moves are stopped by jane: market")


def test_a_stop_ends_the_plan_and_a_cleared_task_makes_the_rest():
    ledger = Ledger(invest("a"), invest("b", ticker="BTC"), invest("c", ticker="ETH"))
    ledger.errors["b"] = stopped()
    with pytest.raises(e.WhiteBitStoppedError) as caught:
        ledger.run()
    assert ledger.sent == [(1, "a")]
    assert caught.value.money_moved is True
    assert [one["transaction_id"] for one in caught.value.completed_moves] == ["tx1"]
    lines = str(caught.value).splitlines()
    assert "All moves are stopped by jane: market" in lines[1]
    assert lines[2].endswith("ETH, plan c: all moves are stopped.")
    assert "airflow whitebit resume" in str(caught.value)
    ledger.errors.clear()
    # What was made is not planned again.
    ledger.moves.pop(0)
    assert ledger.run(generation="2", run="2")[0] == "tx1"
    assert sorted(plan for _, plan in ledger.sent) == ["a", "b", "c"]


def test_a_doubt_counts_more_than_a_stop():
    ledger = Ledger(invest("a"), invest("b", ticker="BTC"))
    ledger.errors = {"a": e.WhiteBitInDoubtError("unclear"), "b": stopped()}
    with pytest.raises(e.WhiteBitInDoubtError, match="All moves are stopped"):
        ledger.run()
