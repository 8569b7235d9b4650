"""Every refusal of the contract gets its name."""

from __future__ import annotations

from decimal import Decimal

import pytest

from airflow_provider_whitebit.client import errors as e

PATH = "/api/v4/main-account/smart-flex/investments/invest"


def named(status, message, code=0, **errors):
    return e.error_from_answer(PATH, status, {"code": code, "message": message, "errors": errors})


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
        ("Too Many Attempts.", e.WhiteBitRateLimitError),
    ],
)
def test_told_by_the_message_whatever_the_status(status, message, kind):
    expected = e.WhiteBitRateLimitError if status == 429 else kind
    assert type(named(status, message)) is expected


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


def test_the_shortage_in_figures():
    error = named(422, "Inner validation failed", 4, amount=["Available 9.5 < 10"])
    assert (error.available, error.required) == (Decimal("9.5"), Decimal(10))


@pytest.mark.parametrize("answer", [[], {}, "text", None, 7, {"message": 5}, {"data": {"transaction_id": "x"}}])
def test_no_refusal_is_made_up(answer):
    assert e.error_from_answer(PATH, 200, answer) is None


def test_a_server_error_is_no_refusal():
    assert named(500, "Server Error") is None


def test_permission_explains_b2b():
    assert "B2B" in str(named(403, "You don't have permission to use this endpoint."))


def test_doubt_says_that_nobody_knows():
    error = e.WhiteBitInDoubt("Somewhere.", intent_id="abc")
    assert error.money_moved is None
    assert "not known" in str(error)
