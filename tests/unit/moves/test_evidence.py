"""What the exchange's records say about a move whose answer was lost: each rule, one case on each side of it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from airflow_provider_whitebit.client import errors
from airflow_provider_whitebit.client.models import FixedInvestment, FlexTransaction, SubAccountTransaction
from airflow_provider_whitebit.client.unreadable import UnreadableRecord
from airflow_provider_whitebit.moves.evidence import Explained, begins_at, ends_at_ms, judge, judge_transfer, traces_of
from airflow_provider_whitebit.moves.intent import Attempt, Balances, Move, Operation
from tests.protocol_script import MOVE, NOW, PLAN, in_doubt, intent, record

SECOND = NOW // 1000
MARGIN_MS = 10_000
INVEST, REINVEST, WITHDRAW, EARNING, CLOSE, OPEN = range(1, 7)


def verdict(records, move=MOVE, of=None):
    intents = of or in_doubt(move=move)
    result = judge(intents, traces_of(move, records), margin_ms=MARGIN_MS)
    assert result.absent is (result.found is None and not result.unclear)
    return "found" if result.found else "unclear" if result.unclear else "absent"


def after(seconds):
    return SECOND + seconds


@pytest.mark.parametrize(
    ("second", "fitting", "other"),
    [
        (-11, "absent", "absent"),
        (-10, "unclear", "absent"),
        (-1, "unclear", "absent"),
        (0, "found", "unclear"),
        (5, "found", "unclear"),
        # Stamped late, or another move's.
        (6, "unclear", "unclear"),
        (7, "unclear", "absent"),
        (15, "unclear", "absent"),
        (16, "absent", "absent"),
    ],
)
def test_when_a_record_counts(second, fitting, other):
    assert verdict([record(second=after(second))]) == fitting
    assert verdict([record(second=after(second), amount="26")]) == other


ANOTHER = "1c9a4f60-2b5d-4e7a-8c1f-3d6e9a0b7c42"
BITCOIN = {"currency": "BTC"}
UNNAMED = {"plan_id": None, "currency": None}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "found"),
        ({"amount": Decimal(26)}, "unclear"),
        ({"amount": Decimal("24.99")}, "unclear"),
        # The vendor does not say whether amounts have a sign, and may round them.
        ({"amount": Decimal(-25)}, "found"),
        ({"amount": Decimal("25.000000009")}, "found"),
        ({"amount": Decimal("25.00000001")}, "unclear"),
        ({"plan_id": ANOTHER}, "absent"),
        # The vendor's examples of records show numbers, where a request needs a UUID.
        ({"plan_id": "12"}, "unclear"),
        ({"plan_id": "12", "amount": Decimal(26)}, "unclear"),
        ({"plan_id": "12", **BITCOIN}, "absent"),
        ({"plan_id": PLAN.upper()}, "found"),
        ({"plan_id": None}, "unclear"),
        ({"plan_id": ""}, "unclear"),
        (BITCOIN, "unclear"),
        ({"currency": None}, "found"),
        ({"plan_id": None, **BITCOIN}, "absent"),
        (UNNAMED, "unclear"),
        ({"transaction_id": None}, "found"),
        ({"investment_id": None}, "found"),
        # An action that the vendor has added since may be this move.
        ({"action_type": 99}, "unclear"),
        ({"action_type": 99, "amount": Decimal(26)}, "unclear"),
        ({"action_type": 99, "plan_id": ANOTHER}, "absent"),
        ({"action_type": INVEST}, "found"),
        ({"action_type": WITHDRAW}, "absent"),
        ({"action_type": CLOSE}, "absent"),
        ({"action_type": REINVEST}, "absent"),
        ({"action_type": EARNING}, "absent"),
    ],
)
def test_a_record_is_evidence_by_all_its_fields(changes, expected):
    assert verdict([replace(record(), **changes)]) == expected


@pytest.mark.parametrize(
    ("amount", "expected"),
    [("0.123456789012", "found"), ("0.12345679", "found"), ("0.12345678", "found"), ("0.1234567", "unclear")],
)
def test_an_amount_may_be_shown_with_eight_decimals(amount, expected):
    move = replace(MOVE, amount=Decimal("0.123456789012"))
    assert verdict([record(amount=amount)], move) == expected


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([record("a"), record("b", action=INVEST)], "found"),
        ([record("a"), record("b", SECOND + 1, action=INVEST)], "found"),
        # Further apart than records of one move are.
        ([record("a"), record("b", SECOND + 3, action=INVEST)], "unclear"),
        ([record("a"), record("b")], "unclear"),
        ([record("a"), record("b"), record("c", action=INVEST)], "unclear"),
        # Records may share an identifier, or have none.
        ([record("a"), record("a", action=INVEST)], "found"),
        ([record("a"), record("a")], "unclear"),
        ([record(""), record("")], "unclear"),
        # A record of the same kind with another amount does not make this one doubtful.
        ([record("a"), record("b", amount="26")], "found"),
        ([record("a"), record("b", action=EARNING), record("c", action=REINVEST)], "found"),
        ([record("a"), record("b", after(6))], "found"),
        ([record("a", amount="26"), record("b", amount="27")], "unclear"),
    ],
)
def test_several_records(records, expected):
    assert verdict(records) == verdict(records[::-1]) == expected


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (record("tx_1", amount="26"), "tx_1 of 2026-09-21T14:13:20+00:00, 26 USDT"),
        (record("", amount="26"), "a record without an identifier of 2026-09-21T14:13:20+00:00, 26 USDT"),
        (
            UnreadableRecord.of(
                FlexTransaction, "/path", {"createdAt": SECOND, "currency": "USDT", "actionType": 6}, 0
            ),
            "a record that cannot be read of 2026-09-21T14:13:20+00:00",
        ),
        (
            UnreadableRecord.of(FlexTransaction, "/path", {"amount": "25", "currency": "USDT", "actionType": 6}, 0),
            "a record that cannot be read, without a time",
        ),
    ],
)
def test_a_doubt_describes_the_records(left, words):
    assert judge(in_doubt(), traces_of(MOVE, [left]), margin_ms=MARGIN_MS).unclear == (words,)


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        # Perhaps the second record of the opening that has a receipt.
        (record("b", action=INVEST), "unclear"),
        (record("b", SECOND + 2, action=INVEST), "unclear"),
        (record("b", SECOND + 3, action=INVEST), "found"),
        (record("b"), "found"),
        (record("a", action=INVEST), "absent"),
    ],
)
def test_what_remains_beside_a_record_of_another_move(left, expected):
    traces = traces_of(MOVE, [record("a"), left])
    result = judge(in_doubt(), traces, margin_ms=MARGIN_MS, explained=Explained(frozenset({"a"})))
    assert ("found" if result.found else "unclear" if result.unclear else "absent") == expected


def test_of_two_records_the_receipt_names_always_the_same():
    both = [record("opened"), record("invested", action=INVEST)]
    for records in (both, both[::-1]):
        assert judge(in_doubt(), traces_of(MOVE, records), margin_ms=MARGIN_MS).found.reference == "invested"


@pytest.mark.parametrize(
    ("operation", "records", "expected"),
    [
        (Operation.FLEX_WITHDRAW, [record(action=WITHDRAW)], "found"),
        (Operation.FLEX_WITHDRAW, [record(action=CLOSE)], "found"),
        (Operation.FLEX_WITHDRAW, [record("a", action=WITHDRAW), record("b", action=CLOSE)], "found"),
        # With its interest.
        (Operation.FLEX_WITHDRAW, [record(action=CLOSE, amount="25.01")], "unclear"),
        (Operation.FLEX_WITHDRAW, [record(action=OPEN)], "absent"),
        (Operation.FLEX_CLOSE, [record(action=CLOSE, amount="25.01")], "found"),
        (Operation.FLEX_CLOSE, [record(action=WITHDRAW)], "unclear"),
        (Operation.FLEX_CLOSE, [record("a", action=CLOSE), record("b", action=WITHDRAW)], "found"),
        (Operation.FLEX_CLOSE, [record("a", action=CLOSE), record("b", action=CLOSE)], "unclear"),
        (Operation.FLEX_CLOSE, [record(action=99)], "unclear"),
        (Operation.FLEX_CLOSE, [record(action=INVEST)], "absent"),
    ],
)
def test_what_leaves_a_plan(operation, records, expected):
    assert verdict(records, Move(operation, PLAN, "USDT", Decimal(25))) == expected


LATER = Attempt(NOW + 60_000, after(60))


@pytest.mark.parametrize(
    ("baselines", "second", "expected"),
    [
        (((), ()), 0, "found"),
        ((("6:tx#1",), ()), 0, "absent"),
        # It was there before the second attempt, not before the first.
        (((), ("6:tx#1",)), 0, "found"),
        (((), ("6:tx#1",)), 60, "absent"),
        ((("6:tx#1",), ()), 60, "found"),
        ((("6:tx#2",), ()), 0, "found"),
        (((), ()), 30, "absent"),
    ],
)
def test_what_was_there_before_does_not_count_for_that_attempt(baselines, second, expected):
    first, again = baselines
    tried = intent().trying(Attempt(NOW, SECOND, baseline=first)).trying(replace(LATER, baseline=again))
    assert verdict([record(second=after(second))], of=tried) == expected


def test_a_second_record_with_the_name_of_one_that_was_there_is_new():
    tried = intent().trying(Attempt(NOW, SECOND, baseline=("6:tx#1",)))
    assert verdict([record("tx", after(-1)), record("tx")], of=tried) == "found"
    unnamed = [record("", after(-1)), record("", after(1))]
    names = [trace.name for trace in traces_of(MOVE, unnamed)]
    assert len(set(names)) == 2
    assert verdict(unnamed, of=intent().trying(Attempt(NOW, SECOND, baseline=(names[0],)))) == "found"


def test_a_record_that_appears_late_is_that_of_an_attempt_found_absent():
    absent = in_doubt().found_absent()
    assert verdict([record()], of=absent) == "found"
    assert verdict([record()], of=absent.trying(LATER)) == "found"
    assert verdict([record(amount="26")], of=absent) == "unclear"
    # Also after a later attempt was refused, perhaps because this one ran.
    refused = absent.trying(LATER).refused(errors.WhiteBitNotEnoughBalanceError("Not enough.", status=422))
    assert verdict([record()], of=refused) == "found"
    assert verdict([record(second=after(60))], of=refused) == "absent"


def test_an_attempt_that_the_exchange_refused_left_no_record():
    assert verdict([record()], of=in_doubt().last_refused()) == "absent"


def test_which_records_are_read_and_when():
    tried = in_doubt().trying(LATER)
    assert ends_at_ms(tried) == LATER.nonce + 5_000
    assert begins_at(tried, MARGIN_MS) == SECOND - 10


def unreadable(action=1, plan=PLAN, second=SECOND, **changes):
    """A record whose amount cannot be read."""
    raw = {
        "createdAt": second,
        "planId": plan,
        "amount": "?",
        "transaction_id": "tx_9",
        "actionType": action,
        **changes,
    }
    return UnreadableRecord.of(FlexTransaction, "/history", raw, 0)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([unreadable()], "unclear"),
        ([unreadable(action=27)], "unclear"),
        ([unreadable(action=None)], "unclear"),
        ([unreadable(plan=None)], "unclear"),
        ([unreadable(second=None)], "unclear"),
        ([UnreadableRecord.of(FlexTransaction, "/history", None, 0)], "unclear"),
        # What can be read says that it is not this move's.
        ([unreadable(action=EARNING)], "absent"),
        ([unreadable(plan=ANOTHER)], "absent"),
        ([unreadable(plan="12")], "unclear"),
        ([unreadable(second=after(7))], "absent"),
        # A record that cannot be read may be the move's instead of one that fits.
        ([record(), unreadable()], "unclear"),
        ([record(), unreadable(action=EARNING)], "found"),
        ([record(), unreadable(plan=ANOTHER)], "found"),
    ],
)
def test_a_record_that_cannot_be_read_is_unclear_unless_it_is_certainly_another(records, expected):
    assert verdict(records) == expected


@pytest.mark.parametrize("record", [unreadable(), unreadable(second=None)])
def test_a_record_that_could_not_be_read_before_either_is_not_the_moves(record):
    baseline = tuple(trace.name for trace in traces_of(MOVE, [record]))
    known = replace(in_doubt().attempts[-1], baseline=baseline)
    of = replace(in_doubt(), attempts=(known,))
    assert verdict([record], of=of) == "absent"
    assert verdict([record, unreadable(amount="also unreadable")], of=of) == "unclear"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "unclear"),
        ({"created": None}, "unclear"),
        ({"plan": {"id": ANOTHER, "ticker": "USDT", "status": None}}, "absent"),
        ({"created": after(7)}, "absent"),
    ],
)
def test_a_fixed_investment_that_cannot_be_read(changes, expected):
    raw = {"id": "inv", "plan": {"id": PLAN, "ticker": "USDT", "status": None}, "status": 1, "created": SECOND}
    record = UnreadableRecord.of(FixedInvestment, "/investments", {**raw, "amount": "25", **changes}, 0)
    assert verdict([record], Move(Operation.FIXED_INVEST, PLAN, "USDT", Decimal(25))) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "unclear"),
        ({"status": None}, "unclear"),
        ({"updated": SECOND + 17}, "absent"),
        ({"updated": SECOND + 17, "status": None}, "unclear"),
        ({"id": "other"}, "absent"),
        ({"id": None}, "unclear"),
    ],
)
def test_a_close_of_a_fixed_investment_that_cannot_be_read(changes, expected):
    raw = {"id": "inv", "plan": {"id": PLAN, "ticker": "USDT", "status": 1}, "status": 2, "created": SECOND - 99}
    raw |= {"updated": SECOND, "amount": None, **changes}
    record = UnreadableRecord.of(FixedInvestment, "/investments", raw, 0)
    move = Move(Operation.FIXED_CLOSE, PLAN, "USDT", Decimal(25), investment_id="inv")
    assert verdict([record], move) == expected


def fixed(second=SECOND, amount="25", plan=PLAN, number="inv", status=1, updated=None, payment=None, paid=None):
    raw = {
        "id": number,
        "plan": {"id": plan, "ticker": "USDT", "status": 1},
        "status": status,
        "created": second,
        "updated": updated or second,
        "paymentTime": payment,
        "amount": amount,
        "interestPaid": paid,
    }
    return FixedInvestment.from_api(raw)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([fixed()], "found"),
        ([fixed(plan=ANOTHER)], "absent"),
        ([fixed(plan="12")], "unclear"),
        ([fixed(plan=PLAN.upper())], "found"),
        ([fixed(amount="26")], "unclear"),
        ([fixed(amount="25.000000001")], "found"),
        ([fixed(amount="25.00000001")], "unclear"),
        ([fixed(), fixed(number="other")], "unclear"),
        ([fixed(), fixed(number="other", amount="26")], "found"),
        ([fixed(second=after(7))], "unclear"),
        ([fixed(second=after(16))], "absent"),
    ],
)
def test_a_fixed_investment(records, expected):
    assert verdict(records, Move(Operation.FIXED_INVEST, PLAN, "USDT", Decimal(25))) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"status": 2}, "found"),
        ({"status": 1}, "absent"),
        ({"status": 2, "number": "other"}, "absent"),
        # Its term had ended.
        ({"status": 2, "payment": SECOND - 3_600}, "absent"),
        ({"status": 2, "payment": SECOND}, "absent"),
        ({"status": 2, "payment": SECOND + 3_600}, "found"),
        # A status that the vendor has added since.
        ({"status": 7}, "unclear"),
        # The exchange does not say when: it was active before the first attempt, so it was closed since then.
        ({"status": 2, "updated": None}, "found"),
        ({"status": 1, "updated": None}, "absent"),
        ({"status": 7, "updated": None}, "unclear"),
        ({"status": 2, "updated": None, "paid": "0.5"}, "absent"),
    ],
)
def test_the_close_of_a_fixed_investment(changes, expected):
    move = Move(Operation.FIXED_CLOSE, PLAN, "USDT", Decimal(25), investment_id="inv")
    closed = fixed(**{"second": SECOND - 86_400, "updated": SECOND, **changes})
    assert verdict([closed], move) == expected


@pytest.mark.parametrize("operation", [Operation.FIXED_INVEST, Operation.FIXED_CLOSE])
def test_what_a_fixed_investment_shows_of_a_move(operation):
    move = Move(operation, PLAN, "USDT", Decimal(25), investment_id="inv")
    shown = [fixed(status=1 if operation is Operation.FIXED_INVEST else 2)]
    found = judge(in_doubt(move=move), traces_of(move, shown), margin_ms=MARGIN_MS).found
    assert (found.reference, found.made_at, found.amount) == ("inv", SECOND, Decimal(25))
    # It was there before.
    tried = intent(move=move).trying(Attempt(NOW, SECOND, baseline=("inv#1",)))
    assert verdict(shown, move, tried) == "absent"


SUB_TRANSFER = Move(
    Operation.SUB_ACCOUNT_TRANSFER, "", "USDT", Decimal(25), source="main", target="sub", sub_account_id="sub_1"
)


def sub_transfer(second=SECOND, **changes):
    raw = {"transaction_id": "tx_1", "direction": "main_to_sub", "currency": "USDT", "amount": "25"}
    return SubAccountTransaction.from_api({**raw, "createdAt": second, **changes})


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({}, "unclear"),
        ({"direction": "main_to_sub", "currency": "USDT"}, "unclear"),
        ({"direction": "sub_to_main"}, "absent"),
        ({"currency": "BTC"}, "absent"),
    ],
)
def test_a_transfer_of_a_sub_account_that_cannot_be_read(known, expected):
    raw = {"amount": "none", "createdAt": SECOND, **known}
    assert verdict([UnreadableRecord.of(SubAccountTransaction, "/history", raw, 0)], SUB_TRANSFER) == expected


@pytest.mark.parametrize(
    ("second", "fitting", "other"),
    [
        (-11, "absent", "absent"),
        (-10, "unclear", "absent"),
        (0, "found", "unclear"),
        (5, "found", "unclear"),
        (6, "unclear", "unclear"),
        (15, "unclear", "absent"),
        (16, "absent", "absent"),
    ],
)
def test_when_a_transfer_of_a_sub_account_counts(second, fitting, other):
    assert verdict([sub_transfer(after(second))], SUB_TRANSFER) == fitting
    assert verdict([sub_transfer(after(second), amount="26")], SUB_TRANSFER) == other


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"amount": "-25"}, "found"),
        ({"amount": "25.000000001"}, "found"),
        ({"amount": "25.00000001"}, "unclear"),
        ({"currency": "usdt"}, "found"),
        # Another asset, and one that may be this one by another name.
        ({"currency": "BTC"}, "absent"),
        ({"currency": "Tether"}, "unclear"),
        ({"currency": None}, "unclear"),
        ({"direction": "sub_to_main"}, "absent"),
        # A direction that the vendor has added since.
        ({"direction": "sub_to_sub"}, "unclear"),
        ({"direction": None}, "unclear"),
        ({"transaction_id": None}, "found"),
    ],
)
def test_a_transfer_of_a_sub_account_is_judged_by_all_its_fields(changes, expected):
    assert verdict([sub_transfer(**changes)], SUB_TRANSFER) == expected


def test_what_a_sub_account_shows_of_a_move():
    shown = [sub_transfer()]
    found = judge(in_doubt(move=SUB_TRANSFER), traces_of(SUB_TRANSFER, shown), margin_ms=MARGIN_MS).found
    assert (found.reference, found.made_at, found.amount) == ("tx_1", SECOND, Decimal(25))
    assert verdict([sub_transfer(), sub_transfer(transaction_id="tx_2")], SUB_TRANSFER) == "unclear"
    # It was there before.
    [trace] = traces_of(SUB_TRANSFER, shown)
    tried = intent(move=SUB_TRANSFER).trying(Attempt(NOW, SECOND, baseline=(trace.name,)))
    assert verdict(shown, SUB_TRANSFER, tried) == "absent"


TRANSFER = Move(Operation.TRANSFER, "", "USDT", Decimal(25), source="main", target="spot")


BEFORE = Balances(Decimal(100), Decimal(7))


def transfer(absent=False, before=BEFORE):
    tried = intent(move=TRANSFER).trying(Attempt(NOW, SECOND, before=before))
    return tried.found_absent() if absent else tried


@pytest.mark.parametrize(
    ("source", "target", "undisturbed", "doubted", "absent"),
    [
        (75, 32, True, "found", "found"),
        (100, 7, True, "absent", "absent"),
        (100, 32, True, "unclear", "absent"),
        (75, 7, True, "unclear", "absent"),
        (76, 32, True, "unclear", "absent"),
        # More than its amount has moved since: it may be among that.
        (70, 37, True, "unclear", "unclear"),
        (75, 37, True, "unclear", "unclear"),
        (75, 32, False, "unclear", "absent"),
        (100, 7, False, "unclear", "absent"),
    ],
)
def test_a_transfer_is_judged_by_both_balances(source, target, undisturbed, doubted, absent):
    now = Balances(Decimal(source), Decimal(target))
    for intents, expected in ((transfer(), doubted), (transfer(absent=True), absent)):
        result = judge_transfer(intents, now, undisturbed=undisturbed)
        assert ("found" if result.found else "unclear" if result.unclear else "absent") == expected
        if result.found:
            assert (result.found.reference, result.found.amount) == (None, Decimal(25))


@pytest.mark.parametrize("undisturbed", [True, False])
def test_a_doubt_about_a_transfer_shows_the_balances_before_and_now(undisturbed):
    result = judge_transfer(transfer(), Balances(Decimal(76), Decimal(32)), undisturbed=undisturbed)
    between = () if undisturbed else ("another transfer of USDT was sent in between",)
    assert result.unclear == ("before 100 in main and 7 in spot", "now 76 in main and 32 in spot", *between)


def test_a_transfer_without_balances_before_proves_nothing():
    now = Balances(Decimal(75), Decimal(32))
    assert judge_transfer(transfer(before=None), now, undisturbed=True).unclear
    assert judge_transfer(transfer(absent=True, before=None), now, undisturbed=True).absent
