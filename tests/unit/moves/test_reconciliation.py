"""How long reconciling waits, and that it then reads what the rules need."""

from __future__ import annotations

from decimal import Decimal

import pytest

from airflow_provider_whitebit.client import errors
from airflow_provider_whitebit.moves import effects as e
from airflow_provider_whitebit.moves.drivers import run
from airflow_provider_whitebit.moves.intent import Attempt, Balances, Move, Operation, State
from airflow_provider_whitebit.moves.journal import done, marker_of
from airflow_provider_whitebit.moves.reconciliation import reconcile
from tests.protocol_script import MOVE, NOW, PLAN, Script, in_doubt, intent, record

MARGIN_MS = 10_000


class Waits(Script):
    """Waits as long as it is told to."""

    def __init__(self, **given):
        super().__init__(**given)
        self.waited = []

    def __call__(self, effect):
        if isinstance(effect, e.WaitUntil):
            self.waited.append((effect.until_ms, effect.left_ms))
            self.now += effect.left_ms
            return None
        if isinstance(effect, e.ReadRecords):
            assert (effect.move, effect.since) == (MOVE, NOW // 1000 - MARGIN_MS // 1000)
        return super().__call__(effect)


@pytest.mark.parametrize(
    ("nonce", "left_ms"),
    [
        # The exchange tells seconds: in the one in which the wait ends, it has not certainly ended.
        (NOW, 16_000),
        (NOW + 1, 16_000),
        (NOW + 999, 16_000),
        (NOW + 1_000, 17_000),
    ],
)
def test_it_waits_for_the_second_after_the_last_attempt_and_the_margin(nonce, left_ms):
    script = Waits(records=[record("tx_late")])
    known = run(reconcile(intent().trying(Attempt(nonce, NOW // 1000)), MARGIN_MS), script)
    assert script.waited == [(nonce + 5_000 + MARGIN_MS, left_ms)]
    assert script.done == ["AskTime", "AskTime", "ReadRecords"]
    assert (known.receipt.transaction_id, known.receipt.amount) == ("tx_late", Decimal(25))
    assert known.receipt.reconciled


@pytest.mark.parametrize(("now", "waited"), [(14_999, 2_000), (15_000, 1_000), (15_999, 1_000), (16_000, None)])
def test_it_reads_nothing_in_the_second_in_which_the_margin_ends(now, waited):
    script = Waits()
    script.now = NOW + now
    run(reconcile(in_doubt(), MARGIN_MS), script)
    assert script.waited == ([] if waited is None else [(NOW + 15_000, waited)])


def test_an_exchange_that_cannot_be_reached_leaves_the_move_in_doubt():
    class Silent(Waits):
        def __call__(self, effect):
            if isinstance(effect, e.ReadRecords):
                raise errors.WhiteBitUnavailableError("no answer", money_moved=False)
            return super().__call__(effect)

    with pytest.raises(errors.WhiteBitUnavailableError) as caught:
        run(reconcile(in_doubt(), MARGIN_MS), Silent())
    assert caught.value.money_moved is None


TRANSFER = Move(Operation.TRANSFER, PLAN, "USDT", Decimal(25), source="main", target="spot")


@pytest.mark.parametrize(
    ("marker", "ran"),
    [
        (marker_of("old", NOW), True),
        # Another transfer was sent after this one.
        (marker_of("other", NOW), None),
        (marker_of("old", NOW + 1), None),
        (done(marker_of("other", NOW - 1)), None),
        (None, None),
    ],
)
def test_a_transfer_ran_if_no_other_one_was_sent_since(marker, ran):
    class Transfers(Waits):
        def __call__(self, effect):
            match effect:
                case e.ReadBalances():
                    self.done.append("ReadBalances")
                    return Balances(Decimal(75), Decimal(32))
                case e.ReadMarker(conflict_key):
                    assert conflict_key == TRANSFER.conflict_key
                    # Read last: a later transfer has not changed the balances above.
                    assert self.done[-1] == "ReadBalances"
                    return marker
            return super().__call__(effect)

    tried = intent(move=TRANSFER).trying(Attempt(NOW, NOW // 1000, before=Balances(Decimal(100), Decimal(7))))
    if ran:
        assert run(reconcile(tried, MARGIN_MS), Transfers()).state is State.EXECUTED
    else:
        with pytest.raises(errors.WhiteBitInDoubtError, match="sent in between"):
            run(reconcile(tried, MARGIN_MS), Transfers())
