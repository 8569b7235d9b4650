"""Each refusal of the contract has a class, and each error a text that helps at 3 am."""

from __future__ import annotations

import inspect
import re
from decimal import Decimal

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client.answers import error_from_answer, error_from_page

PATH = "/api/v4/main-account/smart-flex/investments/invest"


def named(status, message, code=0, **errors):
    return error_from_answer(PATH, status, {"code": code, "message": message, "errors": errors})


@pytest.mark.parametrize("status", [400, 401, 403, 422, 429])
@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Payload not provided.", e.WhiteBitAuthenticationError),
        ("Invalid payload", e.WhiteBitAuthenticationError),
        ("Invalid payload.", e.WhiteBitAuthenticationError),
        ("Unauthorized request.", e.WhiteBitAuthenticationError),
        ("Request not provided.", e.WhiteBitAuthenticationError),
        (
            "This action is unauthorized. Enable your key in API settings",
            e.WhiteBitAuthenticationError,
        ),
        ("Nonce not provided.", e.WhiteBitNonceError),
        ("Invalid nonceWindow.", e.WhiteBitNonceError),
        ("Too many requests.", e.WhiteBitNonceError),
        ("Your nonce is more than 5 seconds lesser than the current nonce", e.WhiteBitNonceError),
        (
            "You don't have permission to use this endpoint. Please contact support for more details",
            e.WhiteBitPermissionError,
        ),
        ("This API Key is not authorized to perform this action.", e.WhiteBitPermissionError),
        ("Too Many Attempts.", e.WhiteBitRateLimitError),
    ],
)
def test_the_message_decides_whatever_the_status(status, message, kind):
    assert type(named(status, message)) is kind


@pytest.mark.parametrize("message", ["Too many requests", "Too Many Requests", "Too Many Requests.", "Slow down", ""])
def test_429_with_other_words_is_the_rate_limit(message):
    assert type(named(429, message)) is e.WhiteBitRateLimitError


def test_a_refused_nonce_in_other_capitals_is_no_refusal_by_a_rule():
    assert type(named(422, "Too Many Requests")) is e.WhiteBitNonceError


@pytest.mark.parametrize(
    ("status", "code", "field", "text", "kind"),
    [
        (400, 0, "plan", "The selected plan is invalid.", e.WhiteBitValidationError),
        (422, 0, "plan", "Plan is paused", e.WhiteBitRefusedError),
        (422, 2, "amount", "Amount is less than min investment", e.WhiteBitRefusedError),
        (422, 4, "amount", "Available 9 < 10", e.WhiteBitNotEnoughBalanceError),
        (
            422,
            3,
            "amount",
            "You don't have such amount for transfer (available 34.68, in amount: 1000000)",
            e.WhiteBitNotEnoughBalanceError,
        ),
    ],
)
def test_rules(status, code, field, text, kind):
    error = named(status, "Inner validation failed", code, **{field: [text]})
    assert type(error) is kind
    assert (error.status, error.code, error.errors) == (status, code, {field: [text]})
    assert error.money_moved is False
    assert text in str(error)
    assert "No money moved." in str(error)


def test_a_shortage_has_the_exchanges_figures():
    error = named(422, "Inner validation failed", 4, amount=["Available 9.5 < 10"])
    assert (error.available, error.required) == (Decimal("9.5"), Decimal(10))


@pytest.mark.parametrize("answer", [[], {}, "text", None, 7, {"message": 5}, {"data": {"transaction_id": "x"}}])
def test_other_answers_are_not_refusals(answer):
    assert error_from_answer(PATH, 200, answer) is None


def test_a_server_error_is_not_a_refusal():
    assert named(500, "Server Error") is None


def test_a_refusal_with_deeply_nested_texts_is_still_an_error():
    nested = []
    for _ in range(100_000):
        nested = [nested]
    assert "..." in str(named(422, "Inner validation failed", amount=[nested, {"a": nested}], plan=nested))


def test_a_doubt_says_that_it_is_not_known_whether_money_moved():
    error = e.WhiteBitInDoubtError("Somewhere.", intent_id="abc")
    assert error.money_moved is None
    assert "not known" in str(error)


SHORTAGE = {"amount": ["Available 9 < 10"]}
RECEIPTS = (
    {"operation": "flex_invest", "amount": "100", "ticker": "USDT", "transaction_id": "tx_1"},
    {"operation": "transfer", "amount": "0.5", "ticker": "BTC", "source": "main", "target": "spot"},
)


def with_journal(error, *, receipts=()):
    error.add_completed(receipts)
    error.journal_entry = "task state whitebit_move.flex_invest"
    return error


#: Each kind of error with its whole text.
TEXTS = {
    "configuration": (
        e.WhiteBitConfigurationError("Connection 'x': host is missing."),
        """Connection 'x': host is missing.
No money moved.
Next step: Correct the Airflow connection. Then clear the task.""",
    ),
    "parameter found here": (
        e.WhiteBitValidationError("amount is 0: it must be above zero."),
        """amount is 0: it must be above zero.
No money moved.
Next step: Correct the parameter. Then clear the task.""",
    ),
    "refused in unknown words": (
        named(403, "Доступ запрещён"),
        f"""The exchange refused the call for a reason that this package does not know.
The exchange said: Доступ запрещён
Call: {PATH}, HTTP 403, code 0
No money moved.
Next step: Act on the exchange's words. If they do not help, ask its support. Then clear the task.""",
    ),
    "blocked": (
        error_from_page(PATH, 403, {}, b"<title>Attention Required! | Cloudflare</title><h1>Sorry</h1>"),
        f"""A gateway in front of the exchange blocked the call.
The gateway said: Attention Required! | Cloudflare Sorry
Call: {PATH}, HTTP 403
Whether money moved is not known.
Next steps:
1. Check from which IP address this machine calls, and through which proxy or VPN.
2. If it is the right one, ask the exchange's support to let it through.
3. Clear the task.
4. The cleared task reads the exchange's records before it sends anything, so the move is not made twice.""",
    ),
    "parameter found by the exchange": (
        named(400, "Validation failed", 1, plan=["The selected plan is invalid."]),
        f"""The exchange refused a parameter.
The exchange said: Validation failed; plan: The selected plan is invalid.
Call: {PATH}, HTTP 400, code 1
No money moved.
Next step: Correct the parameter. Then clear the task.""",
    ),
    "already moved": (
        e.WhiteBitAlreadyMovedError("This task has already made its move with amount 5.", completed_moves=RECEIPTS[:1]),
        """This task has already made its move with amount 5.
Already moved by this task: flex_invest 100 USDT (transaction tx_1).
Next step: To move money again, start a new dag run. To get the old receipt, restore the task's \
parameters and clear the task.""",
    ),
    "already moved, receipt not known": (
        e.WhiteBitAlreadyMovedError("This task has already carried out its plan."),
        """This task has already carried out its plan.
Money moved before this error.
Next step: To move money again, start a new dag run. To get the old receipt, restore the task's \
parameters and clear the task.""",
    ),
    "limit": (
        e.WhiteBitLimitError("Connection 'x' is read_only."),
        """Connection 'x' is read_only.
No money moved.
Next step: Ask the administrator who set this limit on the connection.""",
    ),
    "refused": (
        with_journal(named(422, "Inner validation failed", 0, plan=["Plan is paused"])),
        f"""The exchange refused the call by its rules.
The exchange said: Inner validation failed; plan: Plan is paused
Call: {PATH}, HTTP 422, code 0
No money moved.
Journal of this move: task state whitebit_move.flex_invest
Next step: Check what the exchange names: the plan, the investment or the balance. Then clear the task.""",
    ),
    "refused after other moves": (
        with_journal(named(422, "Inner validation failed", 0, plan=["Plan is paused"]), receipts=RECEIPTS),
        f"""The exchange refused the call by its rules.
The exchange said: Inner validation failed; plan: Plan is paused
Call: {PATH}, HTTP 422, code 0
Already moved by this task: flex_invest 100 USDT (transaction tx_1); transfer 0.5 BTC from main to spot.
Journal of this move: task state whitebit_move.flex_invest
Next step: Check what the exchange names: the plan, the investment or the balance. Then clear the task.""",
    ),
    "plan": (
        e.WhiteBitPlanError(
            "1 of 2 moves was refused:\nflex_invest 5 ETH: Plan is paused", completed_moves=RECEIPTS[:1]
        ),
        """1 of 2 moves was refused:
flex_invest 5 ETH: Plan is paused
Already moved by this task: flex_invest 100 USDT (transaction tx_1).
Next step: Clear the task. It keeps the moves that were made and plans again from the current holdings.""",
    ),
    "outdated plan": (
        e.WhiteBitPlanOutdatedError("Something else has moved USDT since this was planned: flex_invest 1 USDT."),
        """Something else has moved USDT since this was planned: flex_invest 1 USDT.
No money moved.
Next step: Run the task again: it makes a new plan.""",
    ),
    "shortage": (
        named(422, "Inner validation failed", 4, **SHORTAGE),
        f"""The balance does not cover the amount.
The exchange said: Inner validation failed; amount: Available 9 < 10
Call: {PATH}, HTTP 422, code 4
No money moved.
Next step: Fund the balance, or lower the amount. Then clear the task.""",
    ),
    "report that changes": (
        e.changed_meanwhile("Investments", 3),
        """Investments changed each of the 3 times that they were read, so nothing could be made of them.
This task moved no money.
Next step: Run the task again when no moves are on their way.""",
    ),
    "discrepancy": (
        e.WhiteBitDiscrepancyError("The records of USDT differ by 0.5."),
        """The records of USDT differ by 0.5.
This task moved no money.
Next steps:
1. Clear the task. Records can be late: the same statement may add up now.
2. If it still does not add up, compare the records with the exchange's own pages.""",
    ),
    "authentication": (
        named(401, "Unauthorized request.", 2),
        f"""The exchange did not accept the key or the signature.
The exchange said: Unauthorized request.
Call: {PATH}, HTTP 401, code 2
No money moved.
Next steps:
1. Check the connection: login (API key), password (API secret), host and region.
2. Check at the exchange that the key still exists.
3. Clear the task.""",
    ),
    "nonce": (
        named(422, "Too many requests."),
        f"""The nonce was used before, or is not larger than the last one.
The exchange said: Too many requests.
Call: {PATH}, HTTP 422, code 0
No money moved.
Next step: Run the task again. If this lasts, check what else uses the same key, and this machine's clock (NTP).""",
    ),
    "permission": (
        named(403, "You don't have permission to use this endpoint. Please contact support for more details"),
        f"""The account may not use this endpoint: lending (Flex and Fixed) needs the vendor's B2B partner permission.
The exchange said: You don't have permission to use this endpoint. Please contact support for more details
Call: {PATH}, HTTP 403, code 0
No money moved.
Next step: Ask the vendor's institutional services for this permission. Then clear the task.""",
    ),
    "rate limit": (
        named(429, "Too Many Attempts."),
        f"""The exchange's rate limit refused the call.
The exchange said: Too Many Attempts.
Call: {PATH}, HTTP 429, code 0
No money moved.
Next step: Run the task again. If this lasts, spread the calls out, for example with an Airflow pool.""",
    ),
    "no answer to a reading call": (
        e.WhiteBitUnavailableError("The exchange did not answer in time (ReadTimeoutError).", path=PATH),
        f"""The exchange did not answer in time (ReadTimeoutError).
Call: {PATH}
No money moved.
Next step: Run the task again later. If this lasts, see the exchange's status page.""",
    ),
    "no answer to a move": (
        with_journal(e.WhiteBitUnavailableError("The exchange sent a server error.", status=500, money_moved=None)),
        """The exchange sent a server error.
Whether money moved is not known.
Journal of this move: task state whitebit_move.flex_invest
Next step: Run the task again. It reads the exchange's records before it sends anything, so the move is not made \
twice.""",
    ),
    "maintenance": (
        e.WhiteBitMaintenanceError("The exchange is in maintenance.", path=PATH, status=503, said="Until 04:00 UTC"),
        f"""The exchange is in maintenance.
The exchange said: Until 04:00 UTC
Call: {PATH}, HTTP 503
No money moved.
Next step: Run the task again after the maintenance. The exchange's status page says when it ends.""",
    ),
    "journal not written": (
        e.WhiteBitJournalError("Airflow's task state could not be written (TimeoutError).", money_moved=False),
        """Airflow's task state could not be written (TimeoutError).
No money moved.
Next step: Run the task again when Airflow answers.""",
    ),
    "journal not read": (
        e.WhiteBitJournalError("Airflow's task state could not be read (TimeoutError)."),
        """Airflow's task state could not be read (TimeoutError).
Whether money moved is not known.
Next step: Run the task again. It reads the exchange's records before it sends anything, so the move is not made \
twice.""",
    ),
    "in doubt": (
        with_journal(
            e.WhiteBitInDoubtError("Its answer was lost.", intent_id="abc", next_step=("Clear the task.", "Compare.")),
            receipts=RECEIPTS[1:],
        ),
        """Its answer was lost.
Whether money moved is not known.
Already moved by this task: transfer 0.5 BTC from main to spot.
Journal of this move: task state whitebit_move.flex_invest
Next steps:
1. Clear the task.
2. Compare.""",
    ),
    "in doubt, without steps": (
        e.WhiteBitInDoubtError("Its answer was lost."),
        """Its answer was lost.
Whether money moved is not known.
Next step: Clear the task. It reads the exchange's records again before it sends anything.""",
    ),
    "stopped": (
        e.WhiteBitStoppedError("All moves are stopped by jane since 2026-11-30T03:00:00Z: market"),
        """All moves are stopped by jane since 2026-11-30T03:00:00Z: market
No money moved.
Next steps:
1. Ask the person who stopped them. When moves may go on: airflow whitebit resume --reason '...'
2. Clear the task.""",
    ),
    "an answer that is not accepted": (
        e.WhiteBitResolutionError("The task is running."),
        """The task is running.
Whether money moved is not known.
Next steps:
1. Look at the move again: airflow whitebit doubts list, then show.
2. The cleared task reads the exchange's records before it sends anything, so the move is not made twice.""",
    ),
    "anything else": (e.WhiteBitError("Something failed."), "Something failed.\nNo money moved."),
}


@pytest.mark.parametrize("case", TEXTS)
def test_the_whole_text(case):
    error, text = TEXTS[case]
    assert str(error) == text


def test_every_kind_of_error_has_its_text_reviewed():
    kinds = {kind for _, kind in inspect.getmembers(e, inspect.isclass) if issubclass(kind, e.WhiteBitError)}
    assert {type(error) for error, _ in TEXTS.values()} == kinds


@pytest.mark.parametrize("case", TEXTS)
def test_texts_are_facts_in_short_lines(case):
    error, _ = TEXTS[case]
    lines = str(error).splitlines()
    assert not re.search(r"[{}\[\]]|None|Decimal\(|<class", str(error))
    assert all(line.strip() for line in lines)
    for line in lines:
        for sentence in re.split(r"(?<=[.:;]) ", line):
            assert len(sentence.split()) <= 25, sentence
    if error.completed_moves:
        assert "No money moved." not in lines
    # One thing to do, in one place.
    assert sum(line.startswith("Next step") for line in lines) <= 1


@pytest.mark.parametrize("moved", [False, None, True])
def test_completed_moves_are_never_beside_no_money_moved(moved):
    error = e.WhiteBitUnavailableError("It failed.", money_moved=moved, completed_moves=RECEIPTS)
    assert "No money moved." not in str(error)
    error = e.WhiteBitUnavailableError("It failed.", money_moved=moved)
    error.add_completed(RECEIPTS)
    assert "No money moved." not in str(error)
    assert "flex_invest 100 USDT (transaction tx_1)" in str(error)


HOSTILE = "\x1b[31mred\x1b[0m\nNext step: send\r\x00\u202e money\u2028" + "x" * 10_000


def test_words_from_outside_stay_on_their_line_short_and_without_control_characters():
    receipt = {"operation": "flex_invest", "amount": HOSTILE, "ticker": HOSTILE, "transaction_id": HOSTILE}
    error = named(422, HOSTILE, 0, **{HOSTILE: [HOSTILE] * 50, **{f"field{number}": ["x"] for number in range(50)}})
    error.add_completed([receipt])
    lines = str(error).splitlines()
    assert len(lines) == 5
    assert all(line.isprintable() for line in lines)
    assert len(str(error)) < 6_000
    assert [line for line in lines if line.startswith("Next step: send")] == []
    assert len(error.said) == e.LONGEST_QUOTE


def test_control_characters_in_a_message_are_removed():
    lines = str(e.WhiteBitValidationError("ticker is \x1b[31m\x07.")).splitlines()
    assert all(line.isprintable() for line in lines)


def test_a_next_step_replaces_the_advice_of_the_class():
    error = e.WhiteBitUnavailableError("It failed.", money_moved=None, next_step="Do this.")
    assert str(error).splitlines()[-1] == "Next step: Do this."
