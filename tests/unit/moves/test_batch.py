"""Several moves of one task: what a run that was broken off leaves, and what the next one makes of it."""

from __future__ import annotations

from decimal import Decimal

import pendulum
import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.moves.batch import Batch, NotSentAgain, WhiteBitPlanError
from airflow_provider_whitebit.moves.intent import Attempt, Intent, Move, Operation
from airflow_provider_whitebit.moves.journal import JournalError, MemoryJournal
from airflow_provider_whitebit.moves.protocol import WhiteBitAlreadyMovedError

AT = pendulum.datetime(2026, 1, 2)


def invest(plan, amount="10", ticker="USDT"):
    return Move(Operation.FLEX_INVEST, plan, ticker, Decimal(amount))


def intent(move, number=1, generation="1"):
    made = Intent(f"i{number}", "account", {}, generation, move, 1)
    return made.trying(Attempt(1_000, 1), ())


class Books:
    """Journals by number, and an exchange that does as it is told."""

    def __init__(self, *moves, fenced=True):
        self.diary = MemoryJournal("diary")
        if not fenced:
            self.diary = Variables()
        self.journals = {}
        self.moves = list(moves)
        self.sent = []
        self.errors = {}
        self.told = []

    def journal(self, number):
        return self.journals.setdefault(number, MemoryJournal(str(number)))

    def make(self, number, move, permit):
        if isinstance(self.errors.get(move.plan_id), e.WhiteBitInDoubt) and self.journal(number).read():
            raise self.errors[move.plan_id]
        permit(move)
        known = self.journal(number).read()
        if known and known[0]["receipt"]:
            return Intent.from_json(known[0]).receipt
        if (error := self.errors.get(move.plan_id)) is not None:
            self.journal(number).write(intent(move, number).to_json())
            raise error
        self.sent.append((number, move.plan_id))
        done = intent(move, number).executed(f"tx{number}", move.amount, AT, reconciled=False)
        self.journal(number).write(done.to_json())
        return done.receipt

    def plan(self, made):
        self.told.append([receipt.transaction_id for receipt in made])
        return self.moves

    def run(self, requested="p", generation="1", run="1"):
        batch = Batch(
            diary=self.diary,
            journal=self.journal,
            plan=self.plan,
            make=self.make,
            requested={"policy": requested},
            generation=generation,
            run=run,
        )
        return [receipt.transaction_id for receipt in batch.carry_out()]


class Variables(MemoryJournal):
    """A document for each try."""

    fenced = False

    def __init__(self):
        super().__init__("diary")
        self.documents = {}

    def read(self):
        return [self.documents[name] for name in sorted(self.documents)]

    def write(self, document):
        self.documents[document["run"]] = document


def test_all_moves_in_their_order():
    books = Books(invest("a"), invest("b"))
    assert books.run() == ["tx1", "tx2"]
    assert books.sent == [(1, "a"), (2, "b")]


def test_a_retry_and_a_clear_return_what_was_made():
    books = Books(invest("a"))
    books.run()
    books.moves = [invest("c")]
    assert books.run() == books.run(generation="2", run="2") == ["tx1"]
    assert books.sent == [(1, "a")]
    with pytest.raises(WhiteBitAlreadyMovedError, match="already carried out its plan"):
        books.run(requested="another", generation="2")


@pytest.mark.parametrize("error", [e.WhiteBitUnavailableError("No turn."), e.WhiteBitAuthenticationError("Revoked.")])
def test_what_stands_is_told_whatever_goes_wrong_after_it(error):
    books = Books(invest("a"), invest("b"))
    books.errors["b"] = error
    with pytest.raises(type(error)) as caught:
        books.run()
    assert caught.value.money_moved is True
    text = str(caught.value)
    assert "it stands: flex_invest 10 USDT" in text
    assert "No money moved" not in text
    assert "goes on from there" in text


def test_nothing_is_told_to_stand_that_was_not_made():
    books = Books(invest("a"))
    books.errors["a"] = e.WhiteBitUnavailableError("No turn.")
    with pytest.raises(e.WhiteBitUnavailableError, match="No money moved"):
        books.run()


def test_a_task_that_had_nothing_to_do_may_plan_again_when_it_is_cleared():
    books = Books()
    assert books.run() == []
    books.moves = [invest("a")]
    assert books.run() == []
    assert books.run(requested="another", generation="2") == ["tx1"]


def test_a_run_that_is_broken_off_is_followed_by_a_new_plan():
    books = Books(invest("a"), invest("b"), invest("c"))
    books.errors["b"] = e.WhiteBitUnavailableError("down")
    with pytest.raises(e.WhiteBitUnavailableError):
        books.run()
    # The second was on its way: it is asked for, and turns out not to have run.
    books.errors.clear()
    books.moves = [invest("b", "9")]
    assert books.run(run="2") == ["tx1", "tx3"]
    assert books.told == [[], ["tx1"]]
    assert books.sent == [(1, "a"), (3, "b")]


def test_what_ran_unheard_is_found():
    books = Books(invest("b"))
    books.diary.write({"version": 1, "run": "0", "generation": "1", "requested": {}, "highest": 2, "done": None})
    books.journal(1).write(intent(invest("a")).to_json())
    make = books.make

    def found(number, move, permit):
        with pytest.raises(NotSentAgain):
            permit(move)
        return intent(move).executed("tx-found", move.amount, AT, reconciled=True).receipt

    books.make = lambda number, move, permit: (found if number == 1 else make)(number, move, permit)
    assert books.run() == ["tx-found", "tx2"]


def test_a_refusal_stops_its_asset_and_no_other():
    books = Books(invest("a"), invest("b", ticker="BTC"), invest("c"), invest("d", ticker="BTC"))
    books.errors["a"] = e.WhiteBitRefusedError("Plan is paused")
    with pytest.raises(WhiteBitPlanError) as caught:
        books.run()
    assert books.sent == [(2, "b"), (4, "d")]
    assert caught.value.money_moved is True
    assert "Plan is paused" in str(caught.value)
    assert "flex_invest 10 BTC" in str(caught.value)
    # Cleared by a person, it goes on; its refused number is not used again.
    books.errors.clear()
    books.moves = [invest("a"), invest("c")]
    assert books.run(generation="2", run="2") == ["tx2", "tx3", "tx4", "tx5"]


def test_nothing_made_is_said_so():
    books = Books(invest("a"))
    books.errors["a"] = e.WhiteBitRefusedError("no")
    with pytest.raises(WhiteBitPlanError, match="No money moved"):
        books.run()


def test_a_doubt_stops_its_asset_and_ends_the_task():
    books = Books(invest("a"), invest("b", ticker="BTC"), invest("c"))
    books.errors["a"] = e.WhiteBitInDoubt("two records fit")
    with pytest.raises(e.WhiteBitInDoubt, match="two records fit"):
        books.run()
    assert books.sent == [(2, "b")]
    books.moves = [invest("d"), invest("e", ticker="BTC")]
    with pytest.raises(e.WhiteBitInDoubt):
        books.run(generation="2", run="2")
    assert books.sent == [(2, "b"), (4, "e")]


def test_another_run_under_the_same_numbers():
    books = Books(invest("a"), invest("b"))
    other = intent(invest("z")).executed("tx-other", Decimal(10), AT, reconciled=False)
    books.plan = lambda made: books.journal(1).write(other.to_json()) or books.moves
    with pytest.raises(WhiteBitAlreadyMovedError, match="Another run of this task"):
        books.run()
    assert books.sent == []


def test_a_run_that_was_replaced_stops_before_it_sends():
    books = Books(invest("a"), invest("b"), fenced=False)
    plan = books.plan

    def overtaken(made):
        books.diary.write({"version": 1, "run": "2", "generation": "1", "requested": {}, "highest": 0, "done": None})
        return plan(made)

    books.plan = overtaken
    with pytest.raises(JournalError, match="later run"):
        books.run(run="1")
    assert books.sent == []


def test_it_gives_up_what_is_never_carried_out():
    books = Books(invest("a"))
    books.errors["a"] = e.WhiteBitUnavailableError("slow")
    for _ in range(13):
        with pytest.raises(e.WhiteBitUnavailableError):
            books.run()
    with pytest.raises(WhiteBitPlanError, match="13 moves"):
        books.run()
    books.errors.clear()
    assert books.run(generation="2") == ["tx14"]


def test_a_diary_of_another_version_is_not_guessed_at():
    books = Books(invest("a"))
    books.diary.write({"version": 2})
    with pytest.raises(e.WhiteBitInDoubt, match="another version"):
        books.run()


@pytest.mark.parametrize(("refused", "error"), [(12, e.WhiteBitInDoubt), (13, e.WhiteBitInDoubt)])
def test_a_doubt_is_not_counted_among_what_is_never_carried_out(refused, error):
    moves = [invest(f"p{number}", ticker=f"T{number}") for number in range(refused + 1)]
    books = Books(*moves)
    for number, move in enumerate(moves, 1):
        made = intent(move, number)
        no = made.refused(e.WhiteBitRefusedError("Plan is paused"))
        books.journal(number).write((made if move is moves[-1] else no).to_json())
    diary = {"version": 1, "run": "0", "generation": "1", "requested": {"policy": "p"}, "done": None}
    books.diary.write({**diary, "highest": len(moves)})
    books.errors[f"p{refused}"] = e.WhiteBitInDoubt("Nobody can tell.")
    with pytest.raises(error, match=r"Nobody can tell.*Whether money moved is not known") as caught:
        books.run()
    assert ("carried out none of them" in str(caught.value)) is (refused > 12)
