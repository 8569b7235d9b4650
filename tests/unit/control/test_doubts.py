"""Resolving moves in doubt: what is refused, what needs no person, and what happens at the same moment."""

from __future__ import annotations

import json
from decimal import Decimal
from types import SimpleNamespace

import pendulum
import pytest
from sqlalchemy import select
from treasury_rows import ACCOUNT, PLAN, history, intent

from airflow_provider_whitebit.client.errors import WhiteBitConfigurationError, WhiteBitResolutionError
from airflow_provider_whitebit.control import doubts, examination
from airflow_provider_whitebit.control.connections import KnownKey
from airflow_provider_whitebit.control.search import find_doubt, find_doubts
from airflow_provider_whitebit.hooks.doubts import DOUBT, RESOLUTION, read_resolution
from airflow_provider_whitebit.hooks.journals import TaskJournals, VariableMarkers
from airflow_provider_whitebit.moves.evidence import Trace
from airflow_provider_whitebit.moves.examination import Observation
from airflow_provider_whitebit.moves.intent import Attempt, Balances, Intent, Move, Operation
from airflow_provider_whitebit.moves.journal import marker_of
from airflow_provider_whitebit.moves.resolution import Answer

SENT = 1_763_900_000
KEY = "whitebit_move__desk.invest.flex_invest__" + 32 * "a"
OF = "Move of desk|manual__1|invest|-1|flex_invest"
RECEIPT = {
    "operation": "flex_invest",
    "transaction_id": "tx-2",
    "plan_id": PLAN,
    "ticker": "USDT",
    "amount": "100.5",
    "status": "executed",
    "executed_at": "2025-11-23T12:13:21Z",
    "attempts": 1,
    "reconciled": False,
    "intent_id": "int-2",
}


def trace(reference, *, seconds=1, amount="100.5", fits=True, name=None, **more):
    return Trace(reference, SENT + seconds, Decimal(amount), 1, fits, name or f"1:{reference or seconds}#1", **more)


def transfer(name="int-1"):
    move = Move(Operation.TRANSFER, "", "USDT", Decimal("100.5"), source="main", target="spot")
    before = Balances(Decimal(500), Decimal(0))
    return Intent(name, ACCOUNT, {}, "1", move, SENT - 1, attempts=(Attempt(SENT * 1000, SENT, before=before),))


@pytest.fixture
def desk(tables, monkeypatch):
    """A failed task with a move in doubt, and an exchange that shows what the test sets."""
    scene = SimpleNamespace(
        tables=tables,
        session=tables.session,
        now=SENT + 3600,
        traces=[trace("tx-1"), trace("tx-2", seconds=2)],
        balances=None,
        observed=lambda: None,
    )
    settings = SimpleNamespace(account=ACCOUNT)
    key = KnownKey("whitebit_default", settings, 10_000, ("whitebit_default",), (ACCOUNT,))

    def observe(*_):
        scene.observed()
        return Observation(scene.now, tuple(scene.traces), scene.balances)

    monkeypatch.setattr(examination, "find_key", lambda *_: key)
    monkeypatch.setattr(examination, "observe", observe)
    tables.task()
    scene.write = lambda *intents, writer=1, of=OF: tables.variable(
        f"{KEY}__{writer}", json.dumps(history(*intents)), of
    )
    scene.variable = lambda name: variable(tables.session, name)
    scene.set_state = lambda state: set_state(tables.session, state)
    scene.write(intent())
    return scene


def variable(session, name):
    from airflow.models.variable import Variable

    row = session.scalar(select(Variable).where(Variable.key == name).execution_options(populate_existing=True))
    return row and row.val


def set_state(session, state):
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import update

    session.execute(update(TaskInstance.__table__).values(state=state))


def ran(scene, transaction="tx-1", **options):
    options = {"ran": True, "user": "jane", "reason": "Seen on the site"} | options
    return doubts.resolve(scene.session, "int-1", transaction_id=transaction, **options)


def not_run(scene, **options):
    return ran(scene, None, ran=False, **options)


def kept(scene, name="int-1"):
    text = scene.variable(f"{RESOLUTION}{name}")
    return None if text is None else read_resolution(text)


def audited(scene):
    from airflow.models.log import Log

    return [
        (row.event, row.owner, row.dag_id, row.run_id, row.task_id, json.loads(row.extra))
        for row in scene.session.scalars(select(Log).order_by(Log.id))
    ]


class TestAnswers:
    def test_it_ran(self, desk):
        outcome = ran(desk)
        found = kept(desk)
        assert found == outcome.resolution
        assert (found.answer, found.reference, found.amount) == (Answer.RAN, "tx-1", Decimal("100.5"))
        assert found.executed_at == pendulum.from_timestamp(SENT + 1)
        assert (found.resolved_by, found.reason, found.nonces) == ("jane", "Seen on the site", (SENT * 1000,))
        assert outcome.next_step.startswith("Clear the task: task invest of desk, run manual__1.")
        ((event, owner, *task, facts),) = audited(desk)
        assert (event, owner, task) == ("whitebit_resolve", "jane", ["desk", "manual__1", "invest"])
        assert (facts["intent_id"], facts["answer"], facts["reference"]) == ("int-1", "ran", "tx-1")
        assert ACCOUNT not in json.dumps(facts)

    @pytest.mark.parametrize("name", ["2025-11-23|USDT|7|desk", "a|b|-1|c|2|d"])
    def test_a_name_that_looks_like_the_end_of_a_task_hides_no_task(self, desk, name):
        from airflow.models.variable import Variable
        from sqlalchemy import update

        of = f"Move of desk|manual__1|invest|-1|{name}"
        desk.session.execute(update(Variable.__table__).values(description=of))
        assert [one.task.task_id for one in find_doubts(desk.session)] == ["invest"]
        assert ran(desk).next_step.startswith("Clear the task: task invest of desk, run manual__1.")

    def test_it_did_not_run(self, desk):
        outcome = not_run(desk)
        assert (kept(desk).answer, kept(desk).reference) == (Answer.DID_NOT_RUN, None)
        assert "did not run" in outcome.in_words
        assert outcome.next_step.endswith("It makes the move.")

    def test_the_only_record_that_remains_needs_no_name(self, desk):
        # Of the margin before our seconds, so the records cannot tell.
        desk.traces = [trace("tx-9", seconds=-3)]
        assert ran(desk, None).resolution.reference == "tx-9"

    def test_a_record_without_an_identifier_is_chosen_by_its_name(self, desk):
        desk.traces = [trace(None, name="1:100#1"), trace(None, name="1:100#2", seconds=2)]
        outcome = ran(desk, "1:100#2")
        assert (outcome.resolution.reference, outcome.resolution.amount) == (None, Decimal("100.5"))
        assert outcome.resolution.executed_at == pendulum.from_timestamp(SENT + 2)

    def test_a_transfer_has_no_transaction(self, desk):
        desk.write(transfer("transfer"), writer=3)
        desk.balances = Balances(Decimal(300), Decimal(0))
        with pytest.raises(WhiteBitResolutionError, match="A transfer has no transaction"):
            doubts.resolve(desk.session, "transfer", ran=True, user="jane", reason="Seen", transaction_id="tx-1")
        outcome = doubts.resolve(desk.session, "transfer", ran=True, user="jane", reason="Seen")
        assert (outcome.resolution.reference, outcome.resolution.amount) == (None, None)

    def test_the_receipt_says_who_said_so(self, desk):
        receipt = ran(desk).resolution.applied_to(intent()).receipt
        assert (receipt.resolved_by, receipt.reason, receipt.reconciled) == ("jane", "Seen on the site", True)
        assert receipt.transaction_id == "tx-1"


REFUSALS = {
    "no reason": ({"reason": " \n"}, {}, "An answer needs a reason"),
    "no user": ({"user": ""}, {}, "needs a reason"),
    "an attempt can still be accepted": ({}, {"now": SENT + 14}, "can still be accepted until 2025-11-23T12:13:36Z"),
    "no candidate": ({"transaction": "tx-7"}, {}, "'tx-7' is none of the records that may be this move"),
    "several candidates": ({"transaction": None}, {}, "Which record is this move\\? These remain: tx-1, tx-2"),
    "a transaction that did not run": ({"ran": False}, {}, "A move that did not run has no transaction"),
}


class TestRefusals:
    @pytest.mark.parametrize(("options", "facts", "why"), REFUSALS.values(), ids=REFUSALS)
    def test_refused(self, desk, options, facts, why):
        vars(desk).update(facts)
        with pytest.raises(WhiteBitResolutionError, match=why) as refused:
            ran(desk, **options)
        assert "Nothing was changed." in str(refused.value)
        assert refused.value.next_step
        assert kept(desk) is None
        assert audited(desk) == []

    @pytest.mark.parametrize(
        "state",
        [None, "scheduled", "queued", "running", "deferred", "up_for_retry", "up_for_reschedule", "restarting"],
    )
    def test_while_the_task_runs_or_will_run(self, desk, state):
        desk.set_state(state)
        with pytest.raises(WhiteBitResolutionError, match="may be reconciled or sent at this moment: task invest"):
            ran(desk)
        assert kept(desk) is None

    def test_a_task_that_no_longer_exists(self, desk):
        from airflow.models.taskinstance import TaskInstance
        from sqlalchemy import delete

        desk.session.execute(delete(TaskInstance.__table__))
        with pytest.raises(WhiteBitResolutionError, match="its task no longer exists"):
            ran(desk)

    def test_an_unknown_move(self, desk):
        with pytest.raises(WhiteBitResolutionError, match="No move 'int-5' is known"):
            doubts.resolve(desk.session, "int-5", ran=False, user="jane", reason="x")

    def test_a_move_that_has_ended(self, desk):
        desk.write(intent().executed("tx-1", Decimal(1), pendulum.now("UTC"), reconciled=True), writer=2)
        with pytest.raises(WhiteBitResolutionError, match="is not in doubt: it is executed"):
            not_run(desk)

    def test_no_connection_has_the_key(self, desk, monkeypatch):
        def none(*_):
            raise WhiteBitConfigurationError("No connection has the API key that sent this move.", money_moved=None)

        monkeypatch.setattr(examination, "find_key", none)
        with pytest.raises(WhiteBitConfigurationError, match="No connection has the API key"):
            ran(desk)

    def test_the_exchange_is_asked_without_a_database_transaction(self, desk):
        desk.observed = lambda: asked.append(desk.session.in_transaction())
        asked: list[bool] = []
        ran(desk)
        assert asked == [False]


class TestWhatNeedsNoPerson:
    def test_a_record_that_another_task_has_a_receipt_for_is_excluded(self, desk):
        desk.tables.event(RECEIPT, run="manual__2")
        outcome = ran(desk, "tx-1")
        # The other record is ours: the task finds out by itself.
        assert (kept(desk).answer, kept(desk).explained) == (Answer.EXPLAINED, ("tx-2",))
        assert "tx-2" in outcome.in_words
        assert outcome.next_step.endswith("It finds that the move ran.")

    def test_every_record_is_explained(self, desk):
        desk.tables.event(RECEIPT, run="manual__2")
        desk.tables.event({**RECEIPT, "intent_id": "int-3", "transaction_id": "tx-1"}, run="manual__3")
        outcome = ran(desk)
        assert {*kept(desk).explained} == {"tx-1", "tx-2"}
        assert "did not run, and goes on" in outcome.next_step

    def test_the_journal_of_another_task_explains_a_record(self, desk):
        made_at = pendulum.from_timestamp(SENT)
        made = intent("int-2").executed("tx-2", Decimal("100.5"), made_at, reconciled=False)
        desk.tables.variable(
            "whitebit_key__rent__" + 32 * "b" + "__7", json.dumps(history(made)), "Move of other|r|t|-1|rent"
        )
        ran(desk)
        assert kept(desk).explained == ("tx-2",)

    @pytest.mark.parametrize(
        "forged",
        [
            {"plan_id": "another"},
            {"operation": "fixed_invest", "investment_id": "tx-2"},
            {"status": "planned"},
            {"intent_id": None},
            {"intent_id": "int-1"},
            {"attempts": "many"},
            {"transaction_id": None},
        ],
        ids=str,
    )
    def test_what_is_no_receipt_of_another_move_explains_nothing(self, desk, forged):
        desk.tables.event({**RECEIPT, **forged}, run="manual__2")
        ran(desk)
        assert (kept(desk).answer, kept(desk).explained) == (Answer.RAN, ())

    def test_an_event_that_no_task_has_made_explains_nothing(self, desk):
        desk.tables.event(RECEIPT, dag=None, run=None, task=None)
        ran(desk)
        assert kept(desk).explained == ()

    def test_a_receipt_by_a_persons_word_is_no_proof_but_its_record_is_taken(self, desk):
        desk.tables.event({**RECEIPT, "resolved_by": "joe", "reason": "?"}, run="manual__2")
        with pytest.raises(WhiteBitResolutionError, match="belongs to another move, that of task invest of desk"):
            ran(desk, "tx-2")
        ran(desk, "tx-1")
        assert (kept(desk).answer, kept(desk).explained) == (Answer.RAN, ())

    def test_the_records_show_it_without_help(self, desk):
        desk.traces = [trace("tx-1")]
        outcome = ran(desk)
        assert outcome.resolution is None
        assert kept(desk) is None
        assert outcome.next_step.endswith("It finds that the move ran.")

    def test_settling_needs_no_reason_and_leaves_what_needs_a_person(self, desk):
        assert doubts.settle(desk.session, "int-1", user="jane").resolution is None
        desk.tables.event(RECEIPT, run="manual__2")
        assert doubts.settle(desk.session, "int-1", user="jane").resolution.answer is Answer.EXPLAINED
        assert doubts.settle(desk.session, "int-1", user="joe").resolution.resolved_by == "jane"
        assert len(audited(desk)) == 1

    @pytest.mark.parametrize(
        ("after", "marker", "needs"),
        [
            (("399.5", "100.5"), True, False),
            (("500", "0"), True, False),
            (("399.5", "0"), True, True),
            (("399.5", "100.5"), False, True),
        ],
    )
    def test_the_balances_of_a_transfer(self, desk, after, marker, needs):
        move = transfer("transfer")
        desk.write(move, writer=3)
        if marker:
            name = VariableMarkers(ACCOUNT).name(move.move.conflict_key)
            desk.tables.variable(name, marker_of("transfer", SENT * 1000), "")
        desk.balances = Balances(*map(Decimal, after))
        found = doubts.examine(desk.session, find_doubt(desk.session, "transfer"))
        assert found.examined.needs_person is needs

    def test_other_moves_of_the_asset_explain_balances(self, desk):
        desk.write(transfer("transfer"), writer=3)
        desk.tables.event({**RECEIPT, "executed_at": "2025-11-23T13:00:00Z", "amount": "20"}, run="manual__2")
        desk.balances = Balances(Decimal("379.5"), Decimal("100.5"))
        found = doubts.examine(desk.session, find_doubt(desk.session, "transfer"))
        main, spot = examination.examination_json(found)["balances"]
        assert (main["change"], main["other_moves"], main["remains"]) == ("-120.5", "-20", "-100.5")
        assert (spot["change"], spot["other_moves"], spot["remains"]) == ("100.5", "0", "100.5")


class TestAtTheSameMoment:
    def test_the_same_answer_twice(self, desk):
        first = ran(desk, user="jane").resolution
        again = ran(desk, user="joe", reason="Me too").resolution
        assert again == first == kept(desk)
        assert len(audited(desk)) == 1

    @pytest.mark.parametrize("other", [lambda desk: ran(desk, "tx-2"), not_run], ids=["another record", "no"])
    def test_another_answer(self, desk, other):
        first = ran(desk).resolution
        with pytest.raises(WhiteBitResolutionError, match=r"jane has already answered at .*: the move ran \(tx-1\)"):
            other(desk)
        assert kept(desk) == first

    def test_two_first_answers(self, desk, monkeypatch):
        """Both have read that there is none: the database lets one of them write."""
        row, calls = doubts._row, []

        def read(session, intent_id):
            if not calls:
                calls.append(intent_id)
                return None
            return row(session, intent_id)

        first = not_run(desk, user="joe").resolution
        monkeypatch.setattr(doubts, "_row", read)
        with pytest.raises(WhiteBitResolutionError, match="joe has already answered"):
            ran(desk)
        assert kept(desk) == first

    def test_answers_about_other_attempts_are_replaced(self, desk):
        not_run(desk)
        desk.write(intent().trying(Attempt((SENT + 60) * 1000, SENT + 60)), writer=2)
        desk.traces = [trace("tx-1"), trace("tx-2", seconds=61)]
        assert kept(desk).nonces == (SENT * 1000,)
        ran(desk, "tx-2")
        assert (kept(desk).answer, len(kept(desk).nonces)) == (Answer.RAN, 2)

    def test_an_answer_that_cannot_be_read_is_replaced(self, desk):
        for text in ("", "x", "[]", "{}", '{"nonces": 1}'):
            desk.tables.variable(f"{RESOLUTION}int-1", text, "")
            ran(desk)
            assert kept(desk).answer is Answer.RAN
            desk.session.delete(doubts._row(desk.session, "int-1"))
            desk.session.commit()

    def test_the_journal_changes_between_reading_and_writing(self, desk, monkeypatch):
        record = doubts.audit.record

        def write(*args, **options):
            monkeypatch.setattr(doubts.audit, "record", record)
            desk.write(intent().trying(Attempt((SENT + 60) * 1000, SENT + 60)), writer=2)
            record(*args, **options)

        monkeypatch.setattr(doubts.audit, "record", write)
        with pytest.raises(WhiteBitResolutionError, match=r"changed meanwhile\. The answer was taken back"):
            ran(desk)
        assert kept(desk) is None
        assert [facts["answer"] for *_, facts in audited(desk)] == ["ran", "taken back"]

    def test_a_task_that_asks_people_writes_another_answer_at_the_same_moment(self, desk, monkeypatch):
        from dataclasses import replace

        write = doubts._write

        def then_another(session, found, answer):
            kept = write(session, found, answer)
            other = replace(answer, answer=Answer.DID_NOT_RUN, reference=None, resolved_by="joe")
            doubts._row(session, "int-1").set_val(json.dumps(other.to_json()))
            session.commit()
            return kept

        monkeypatch.setattr(doubts, "_write", then_another)
        with pytest.raises(WhiteBitResolutionError, match="Another answer was written at the same moment"):
            ran(desk)
        assert (kept(desk).answer, kept(desk).resolved_by) == (Answer.DID_NOT_RUN, "joe")

    @pytest.mark.parametrize("applied", [True, False])
    def test_the_task_ends_the_doubt_meanwhile(self, desk, monkeypatch, applied):
        record = doubts.audit.record

        def write(*args, **options):
            monkeypatch.setattr(doubts.audit, "record", record)
            record(*args, **options)
            given = read_resolution(doubts._row(desk.session, "int-1").val)
            ended = given.applied_to(intent()) if applied else intent().found_absent()
            ended = ended if applied else ended.executed("tx-2", None, pendulum.now("UTC"), reconciled=True)
            desk.write(ended, writer=2)

        monkeypatch.setattr(doubts.audit, "record", write)
        if applied:
            assert ran(desk).resolution == kept(desk)
        else:
            with pytest.raises(WhiteBitResolutionError, match=r"no longer in doubt\. The answer was taken back"):
                ran(desk)
            assert kept(desk) is None

    def test_two_moves_cannot_have_one_record(self, desk, monkeypatch):
        desk.tables.variable(
            "whitebit_move__b__" + 32 * "b" + "__1", json.dumps(history(intent("int-2"))), OF.replace("manual__1", "m2")
        )
        desk.tables.task(run="m2")
        ran(desk)
        with pytest.raises(WhiteBitResolutionError, match="'tx-1' belongs to another move, that of move int-1"):
            doubts.resolve(desk.session, "int-2", ran=True, user="joe", reason="x", transaction_id="tx-1")
        # Both answer at the same moment: neither has seen the other.
        monkeypatch.setattr(examination, "other_moves", lambda *_: examination.OtherMoves())
        with pytest.raises(WhiteBitResolutionError, match="jane has just said that this record is move int-1"):
            doubts.resolve(desk.session, "int-2", ran=True, user="joe", reason="x", transaction_id="tx-1")
        assert kept(desk, "int-2") is None


class TestReports:
    """Variables through which tasks report moves in doubt."""

    @pytest.fixture
    def report(self, tables):
        def write(found, name=None, **changes):
            task = {"dag_id": "desk", "run_id": "manual__1", "task_id": "invest", "map_index": -1}
            document = {
                "intent": found.to_json(),
                "nonces": [one.nonce for one in found.unproven],
                "task": task,
                "connection": "whitebit_default",
                "journal_entry": "the Variables whose names begin with x",
            }
            tables.variable(name or f"{DOUBT}{found.id}", json.dumps({**document, **changes}), "Doubt of desk")

        return write

    def test_a_report_alone(self, tables, report):
        tables.task()
        report(intent())
        (doubt,) = find_doubts(tables.session)
        assert (doubt.intent.id, doubt.task.dag_id, doubt.key) == (
            "int-1",
            "desk",
            "the Variables whose names begin with x",
        )
        assert find_doubt(tables.session, "int-1").nonces == {SENT * 1000}

    def test_each_doubt_once(self, desk, report):
        report(intent())
        (doubt,) = find_doubts(desk.session)
        assert doubt.key == f"{KEY}__"

    def test_a_task_that_meets_the_doubt_of_one_that_is_gone(self, desk, report):
        """With an idempotency key: the dag run of the first task was deleted, another run uses the key again."""
        from airflow.models.taskinstance import TaskInstance
        from sqlalchemy import delete

        desk.session.execute(delete(TaskInstance.__table__))
        desk.tables.task(run="manual__2", state="running")
        report(intent(), task={"dag_id": "desk", "run_id": "manual__2", "task_id": "invest", "map_index": -1})
        with pytest.raises(WhiteBitResolutionError, match="run manual__2 is running"):
            ran(desk)
        set_state(desk.session, "failed")
        assert [one.task.run_id for one in find_doubts(desk.session)] == ["manual__2"]
        assert ran(desk).next_step.startswith("Clear the task: task invest of desk, run manual__2.")

    @pytest.mark.parametrize("state", ["success", "running"])
    def test_only_of_tasks_that_have_ended_without_success(self, tables, report, state):
        tables.task(state)
        report(intent())
        assert find_doubts(tables.session) == []
        assert find_doubt(tables.session, "int-1") is not None

    @pytest.mark.parametrize(
        ("ended", "shown"),
        [
            (lambda one: one.executed("tx-1", None, pendulum.now("UTC"), reconciled=True), 0),
            (lambda one: one.last_refused(), 0),
            (lambda one: one.trying(Attempt(SENT * 1000 + 60_000, SENT + 60)), 2),
        ],
        ids=["it ran", "it did not run", "it was sent again"],
    )
    def test_its_journal_knows_more(self, tables, report, ended, shown):
        from dataclasses import replace

        tables.task()
        found = replace(intent(), key="flex_invest")
        report(found)
        stored = TaskJournals(("desk", "manual__1", "invest", "-1")).journal("flex_invest")
        # Under a name that the search for pending journals does not find.
        tables.variable(f"{stored.name}__1", json.dumps(history(ended(found))), "")
        assert [len(doubt.nonces) for doubt in find_doubts(tables.session)] == ([shown] if shown else [])
        assert (find_doubt(tables.session, "int-1") is not None) is bool(shown)

    @pytest.mark.parametrize(
        "changes",
        [
            {"intent": None},
            {"intent": {}},
            {"nonces": None},
            {"nonces": ["x"]},
            {"task": None},
            {"task": {"dag_id": "desk", "run_id": [], "task_id": "invest", "map_index": -1}},
            {"task": {"dag_id": "desk", "run_id": "manual__1", "task_id": "invest", "map_index": 10**30}},
            {"task": {"dag_id": "desk", "run_id": "manual__1", "task_id": "invest", "map_index": True}},
        ],
        ids=str,
    )
    def test_odd_reports_are_left_out(self, tables, report, changes):
        tables.task()
        report(intent(), **changes)
        assert find_doubts(tables.session) == []

    @pytest.mark.parametrize("text", ["", "x", "[]", "null", "[" * 100_000, '{"a": "\\ud800"}'], ids=range(6))
    def test_what_is_no_report(self, tables, text):
        tables.variable(f"{DOUBT}int-1", text, "")
        assert find_doubts(tables.session) == []

    def test_another_name(self, tables, report):
        tables.task()
        report(intent(), name=f"{DOUBT}int-2")
        assert find_doubts(tables.session) == []
