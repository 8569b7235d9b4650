"""Each meaning of a refusal, with every status, for reads and moves: class, retry, money, sentence, advice, quote."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.client import meanings
from airflow_provider_whitebit.client._moving import MovingClient
from airflow_provider_whitebit.client.answers import error_from_answer, tells_failure, unusable
from airflow_provider_whitebit.client.calls import balance_probe_call, flex_close_call
from airflow_provider_whitebit.client.endpoints import FIXED, FLEX, TRANSFER
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.transport import NO_RETRIES, Transport
from airflow_provider_whitebit.client.transport_http import HttpAnswer

PATH = "/api/v4/main-account/smart-flex/investments/invest"
AUTH, NONCE, PERMISSION = e.WhiteBitAuthenticationError, e.WhiteBitNonceError, e.WhiteBitPermissionError
REFUSED, WRONG, DOWN = e.WhiteBitRefusedError, e.WhiteBitValidationError, e.WhiteBitUnavailableError
LIMIT, BLOCKED = e.WhiteBitRateLimitError, e.WhiteBitBlockedError

DISABLED = "This action is unauthorized. Enable your key in API settings"
SHORT_FORM = "You don't have permission to use this endpoint."
LONG_FORM = f"{SHORT_FORM} Please contact support for more details"
LACKS_RIGHT = "This API Key is not authorized to perform this action."
TOO_OLD = "Your nonce is more than 5 seconds lesser than the current nonce"
#: The words that only one kind of sentence or advice may hold.
TOPICS = {
    "B2B", "Trade permission", "password", "14 days", "IP address", "NTP", "pool", "support", "Verify", "amount",
    "maintenance", "region", "main account", "parameter", "country",
}  # fmt: skip


@dataclass
class Said:
    """A text of the exchange, and what its error must be.

    :param proves: whether the text alone, without a code, proves that nothing ran.
    :param sentence: a part of the sentence.
    :param topics: what sentence and advice speak about, and nothing else.
    """

    text: str
    meaning: str
    kind: type[e.WhiteBitError]
    sentence: str
    topics: str
    proves: bool = False


SAID = [
    Said("Too many requests.", "nonce_used", NONCE, "nonce was used before", "NTP", proves=True),
    Said(TOO_OLD, "nonce_window", NONCE, "five seconds away", "NTP", proves=True),
    Said("Nonce not provided.", "nonce_missing", NONCE, "usable nonce", "", proves=True),
    Said("Too Many Attempts.", "rate_limit", LIMIT, "rate limit", "pool"),
    Said("Rate limit exceeded", "rate_limit", LIMIT, "rate limit", "pool"),
    Said("Your IP is blocked due to too many requests", "rate_limit", LIMIT, "rate limit", "pool"),
    Said(SHORT_FORM, "endpoint_not_enabled", PERMISSION, "key may not use this endpoint", "", proves=True),
    Said(LONG_FORM, "account_lacks_permission", PERMISSION, "account may not use this endpoint", "B2B", proves=True),
    Said(
        LONG_FORM.replace("'", "\N{RIGHT SINGLE QUOTATION MARK}"),
        "account_lacks_permission",
        PERMISSION,
        "account may not",
        "B2B",
    ),
    Said(LACKS_RIGHT, "key_lacks_right", PERMISSION, "lacks the right", "Trade permission", proves=True),
    Said(DISABLED, "key_or_address", AUTH, "disabled, or it does not allow", "14 days,IP address", proves=True),
    Said("API key is inactive", "key_disabled", AUTH, "key is disabled", "14 days"),
    Said("Your key has been disabled.", "key_disabled", AUTH, "key is disabled", "14 days"),
    Said("IP address is not allowed", "ip_address", AUTH, "machine's IP address", "IP address"),
    Said("Your IP is not in the whitelist.", "ip_address", AUTH, "machine's IP address", "IP address"),
    Said(
        "Unauthorized request.",
        "signature",
        AUTH,
        "did not accept the key or the signature",
        "password,region",
        proves=True,
    ),
    Said("Invalid payload.", "payload", AUTH, "as this package signed it", "", proves=True),
    Said("Forbidden for your region", "region", PERMISSION, "does not serve this region", "region,country"),
    Said("Not available in your country", "region", PERMISSION, "does not serve this region", "region,country"),
    Said("Unavailable for legal reasons", "legal", REFUSED, "for legal reasons", "country"),
    Said("Maintenance until 04:00 UTC", "maintenance", DOWN, "in maintenance", "maintenance"),
    Said("system maintenance", "maintenance", DOWN, "in maintenance", "maintenance"),
    Said("Account is frozen", "account_frozen", PERMISSION, "frozen or restricted", "support"),
    Said("Your account has been temporarily suspended.", "account_frozen", PERMISSION, "frozen", "support"),
    Said("Not permitted for sub-account", "sub_account", REFUSED, "for a sub-account", "main account"),
    Said("Your account must be verified", "account_not_verified", PERMISSION, "to be verified", "Verify"),
    Said("Current limit exceeded", "limit_exceeded", REFUSED, "account's current limit", "amount"),
]
#: What no row knows: no guess.
UNKNOWN = ["Обліковий запис заморожено", "账户已冻结", "E_4711", "Something is wrong with the endpoint"]
BY_STATUS = {400: WRONG, 401: AUTH, 403: PERMISSION, 404: WRONG, 413: WRONG, 422: REFUSED, 429: LIMIT}
STATUSES = [400, 401, 403, 404, 422, 429, 500, 503]
IDS = {"ids": lambda value: value.text if isinstance(value, Said) else None}


class Wire:
    """Answers always the same."""

    def __init__(self, status, body, headers=None):
        self.answer = HttpAnswer(status, headers or {}, body if isinstance(body, bytes) else json.dumps(body).encode())

    def send(self, *request):
        return self.answer

    def close(self):
        pass


def error_of(call, status, body, headers=None):
    """The error of a read, or of a move as the exchange's answer alone tells it."""
    transport = Transport("http://x", Credentials("k", "s"), retry=NO_RETRIES, wire=Wire(status, body, headers))
    with pytest.raises(e.WhiteBitError) as caught:
        transport._repeatable(PATH, {}) if call == "read" else transport._once(PATH, {}, nonce=1, success={201})
    return caught.value


def told(error):
    return " ".join([error.message, *([error.advice] if isinstance(error.advice, str) else error.advice)])


def own(text):
    return {"code": 0, "message": text, "errors": {}}


@pytest.mark.parametrize("call", ["read", "move"])
@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("said", SAID, **IDS)
def test_a_known_text(said, status, call):
    error = error_of(call, status, own(said.text))
    assert (type(error), error.meaning) == (said.kind, said.meaning)
    assert error.retryable is (said.kind in e.TRANSIENT_ERRORS)
    assert isinstance(error, e.PERMANENT_ERRORS) is not error.retryable
    assert error.money_moved is (False if call == "read" or status < 500 else None)
    assert said.sentence in error.message
    assert {topic for topic in TOPICS if topic in told(error)} == set(filter(None, said.topics.split(",")))
    assert f"The exchange said: {said.text}" in str(error).splitlines()


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("said", SAID, **IDS)
def test_without_a_code_only_the_exchanges_whole_texts_are_a_proof(said, status):
    error = error_of("move", status, {"message": said.text})
    assert (type(error), error.meaning) == (said.kind, said.meaning)
    assert error.money_moved is (False if said.proves and status < 500 else None)


@pytest.mark.parametrize("said", [said for said in SAID if not said.proves], **IDS)
def test_a_text_by_field_means_the_same(said):
    error = error_of("move", 422, {"code": 0, "message": "Inner validation failed", "errors": {"x": [said.text]}})
    assert (type(error), error.meaning, error.money_moved) == (said.kind, said.meaning, False)
    assert said.text in str(error)


@pytest.mark.parametrize("call", ["read", "move"])
@pytest.mark.parametrize("text", UNKNOWN)
@pytest.mark.parametrize("status", BY_STATUS)
def test_an_unknown_text_is_quoted_and_not_guessed_at(status, text, call):
    error = error_of(call, status, own(text))
    assert type(error) is BY_STATUS[status]
    assert error.money_moved is False
    assert f"The exchange said: {text}" in str(error).splitlines()
    if status != 429:
        assert error.meaning == "unknown"
        assert {topic for topic in TOPICS if topic in told(error)} == {"support"}


@pytest.mark.parametrize(
    ("path", "status", "code", "meaning"),
    [
        (f"{FLEX}/investments/invest", 422, 4, "short_of_balance"),
        (f"{FIXED}/investment", 422, 4, "short_of_balance"),
        (TRANSFER, 422, 3, "short_of_balance"),
        # The same numbers on other calls.
        (f"{FLEX}/investments/invest", 422, 3, "rule"),
        (f"{FIXED}/investment", 422, 5, "rule"),
        (f"{FLEX}/investments/withdraw", 422, 4, "rule"),
        (f"{FLEX}/plans", 403, 4, "key_lacks_right"),
        (f"{FLEX}/plans", 403, 0, "unknown"),
    ],
)
def test_a_text_in_another_language_means_what_its_code_means(path, status, code, meaning):
    fields = {"amount": ["Доступно 9 < 10"]} if status == 422 else {}
    error = error_from_answer(path, status, {"code": code, "message": "Помилка", "errors": fields})
    assert (error.meaning, error.money_moved) == (meaning, False)
    assert ("Доступно 9 < 10" if fields else "Помилка") in str(error)


@pytest.mark.parametrize(
    ("status", "fields", "kind"),
    [
        (422, {"plan": ["Plan is unavailable"]}, REFUSED),
        (422, {"plan": ["Plan is paused"]}, REFUSED),
        (422, {"plan": ["Private plan not available for this user"]}, REFUSED),
        (422, {"amount": ["Investment limit is exceeded"]}, REFUSED),
        (422, {"amount": ["Amount is more than max investment"]}, REFUSED),
        (422, {"investment": ["Cannot withdraw from closed investment"]}, REFUSED),
        (422, {"amount": ["Available 9 < 10"]}, e.WhiteBitNotEnoughBalanceError),
        (400, {"plan": ["Plan is disabled"]}, WRONG),
        (400, {"plan": ["Special offers are not available via API"]}, WRONG),
        (400, {"country": ["The country field is required."]}, WRONG),
        (422, {"ticker": ["Withdraw disabled"]}, REFUSED),
    ],
)
def test_the_rules_of_lending_keep_their_advice(status, fields, kind):
    error = error_of("move", status, {"code": 0, "message": "Validation failed", "errors": fields})
    assert (type(error), error.advice, error.money_moved) == (kind, kind.advice, False)
    assert error.meaning in ("parameter", "rule", "short_of_balance")


def page(title, more=""):
    return f"<!DOCTYPE html><html><head><style>{'a{}' * 9}</style><title>{title}</title></head>{more}</html>".encode()


CHALLENGE = page("Just a moment...", "<script>banned your account</script>")
CLOUDFLARE = page("Attention Required! | Cloudflare", "<h1>Sorry, you have been blocked</h1>")
DENIED = page(
    "Access denied | whitebit.com used Cloudflare to restrict access", "<h2>The owner has banned your IP</h2>"
)
AKAMAI = b"<HTML><HEAD><TITLE>Access Denied</TITLE></HEAD><BODY>You don't have permission to access this"
TOO_FAST = page("Access denied | whitebit.com used Cloudflare", "<h2>You are being rate limited</h2>")
NGINX = page("503 Service Temporarily Unavailable", "<center>nginx</center>")
PAUSED = page("WhiteBIT", "<h1>Maintenance until 04:00 UTC</h1>")
#: Status, body, headers, class, meaning, what is quoted.
PAGES = [
    *((status, CLOUDFLARE, {}, BLOCKED, "blocked", "Attention Required! | Cloudflare") for status in (403, 429, 503)),
    *((status, CHALLENGE, {}, BLOCKED, "blocked", "Just a moment...") for status in (403, 429, 503)),
    *((status, DENIED, {}, BLOCKED, "blocked", "Access denied") for status in (403, 429, 503)),
    *((status, AKAMAI, {}, BLOCKED, "blocked", "Access Denied") for status in (403, 429, 503)),
    (503, page("x"), {"cf-mitigated": "challenge"}, BLOCKED, "blocked", "x"),
    (401, page("401 Authorization Required"), {}, BLOCKED, "blocked", "401 Authorization"),
    (403, b"", {}, BLOCKED, "blocked", ""),
    (403, {"message": "Forbidden"}, {}, BLOCKED, "blocked", "Forbidden"),
    (403, {"code": 1010, "message": "Access denied"}, {}, BLOCKED, "blocked", "Access denied"),
    (403, {"error": "Forbidden"}, {}, BLOCKED, "blocked", "Forbidden"),
    (429, TOO_FAST, {}, LIMIT, "rate_limit", "You are being rate limited"),
    (429, page("429 Too Many Requests"), {}, LIMIT, "rate_limit", "429 Too Many Requests"),
    (429, b"", {}, LIMIT, "rate_limit", ""),
    (451, b"", {}, REFUSED, "legal", ""),
    (451, page("Unavailable For Legal Reasons"), {}, REFUSED, "legal", "Unavailable For Legal Reasons"),
    (403, b"Forbidden for your region", {}, PERMISSION, "region", "Forbidden for your region"),
    (503, PAUSED, {}, DOWN, "maintenance", "Maintenance until 04:00 UTC"),
    (503, b"Maintenance until 04:00 UTC", {}, DOWN, "maintenance", "Maintenance until 04:00 UTC"),
    (503, {"status": "system maintenance"}, {}, DOWN, "maintenance", "system maintenance"),
    (503, {"error": {"message": "Maintenance"}}, {}, DOWN, "maintenance", "Maintenance"),
    (503, "Maintenance", {}, DOWN, "maintenance", "Maintenance"),
    (503, NGINX, {}, DOWN, "not_json", "503 Service Temporarily Unavailable nginx"),
    (502, b"", {}, DOWN, "empty", ""),
    (500, {"message": "Server Error"}, {}, DOWN, "server_fault", "Server Error"),
    (500, {"message": "Ошибка"}, {}, DOWN, "server_fault", "Ошибка"),
    (200, page("Checking your browser"), {}, DOWN, "not_json", "Checking your browser"),
    (200, b'{"data": {"transaction_id": "tx', {}, DOWN, "not_json", ""),
    (200, b"\xff\xfe\x00secret", {}, DOWN, "not_json", ""),
    (422, {"response": None, "status": 422, "errors": {"a": ["b c"]}}, {}, DOWN, "unclear", "a: b c"),
    (200, {"response": None, "status": 401, "errors": {"x": ["y"]}, "warning": "Unauthorized request."}, {},
     AUTH, "signature",
     "Unauthorized request."),
    (200, {"success": False, "errors": {"x": ["Account is frozen"]}}, {}, PERMISSION, "account_frozen",
     "x: Account is frozen"),
    (200, {"message": "Something else"}, {}, DOWN, "unclear", "Something else"),
    (422, {"errors": ["b c"]}, {}, DOWN, "unclear", "errors: b c"),
    (409, {"code": 0, "message": "Conflict"}, {}, DOWN, "unclear", "Conflict"),
]  # fmt: skip


@pytest.mark.parametrize("call", ["read", "move"])
@pytest.mark.parametrize(("status", "body", "headers", "kind", "meaning", "quote"), PAGES)
def test_what_gateways_say_is_no_proof_and_is_quoted(status, body, headers, kind, meaning, quote, call):
    error = error_of(call, status, body, headers)
    assert (type(error), error.meaning) == (kind, meaning)
    assert error.money_moved is (False if call == "read" else None)
    assert quote in e.quoted(error)
    assert (e.quoted(error) == "") is (quote == "")
    assert "a{}" not in str(error) and "<" not in str(error)
    if call == "move":
        assert "Whether money moved is not known." in str(error)
        assert "reads the exchange's records before it sends anything" in str(error)
    if kind is BLOCKED:
        assert isinstance(error, e.PERMANENT_ERRORS) and not error.retryable
        assert "Run the task again later" not in str(error)


@pytest.mark.parametrize("moves", [True, False])
def test_an_unclear_yes_is_quoted_too(moves):
    sent = Wire(201 if moves else 200, {"status": "account is frozen", "data": {}})
    client = MovingClient(Transport("http://x", Credentials("k", "s"), wire=sent))
    with pytest.raises(e.WhiteBitPermissionError, match="said: account is frozen") as caught:
        if moves:
            client.send_move(flex_close_call("p"), nonce=1)
        else:
            client.claim_nonce(1, call=balance_probe_call("USDT"))
    assert caught.value.money_moved is (None if moves else False)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html><head><title>503</title></head><h1>Maintenance</h1><p>until 04:00</p>", "Maintenance until 04:00"),
        (b"<title>Maintenance until 04:00</title>", "Maintenance until 04:00"),
        (b"<p>Under maintenance<script>var x</script> since &lt;03:00&gt;", "Under maintenance since <03:00>"),
        (b"<p>Maintenance\nHTTP 200 \x1b[31m", "Maintenance HTTP 200 [31m"),
        (b"<![odd[ x ]]>Maintenance", "Maintenance"),
        (b"<!-- x > --><br/>Maintenance", "Maintenance"),
    ],
)
def test_the_words_of_a_page(body, words):
    error = error_of("read", 503, body)
    assert (error.said, error.meaning) == (words, "maintenance")


@pytest.mark.parametrize(
    "body", [b"<" * 20_000, b"<style" * 4_000, b"<!--" * 5_000, b"<script>" * 3_000, b"&#" * 9_000]
)
def test_hostile_pages_take_no_time_and_stay_short(body):
    assert len(str(error_of("read", 403, body))) < 1_000


def test_the_proving_texts_are_the_vendors_and_no_others():
    assert set(meanings.TEXTS) == {
        "Payload not provided.", "Invalid payload", "Invalid payload.", "Unauthorized request.", "Nonce not provided.",
        "Request not provided.", "Invalid nonceWindow.", "Too many requests.", TOO_OLD, SHORT_FORM, LONG_FORM,
        LACKS_RIGHT, DISABLED, "Your nonce is more than 5 seconds greater than the current nonce",
    }  # fmt: skip


def test_names_sentences_and_advice_are_their_own():
    rows = [*meanings.MEANINGS, meanings.SHORT_OF_BALANCE, meanings.PARAMETER, meanings.RULE, meanings.BLOCKED]
    assert len({row.name for row in rows}) == len({row.sentence for row in rows}) == len(rows)
    assert {row.name for row in meanings.MEANINGS} == {said.meaning for said in SAID}
    assert all(row.retryable is (row.error in e.TRANSIENT_ERRORS) for row in rows)


def test_advice_where_no_task_is_concerned_speaks_of_none():
    """On a page, for example, there is no task to clear."""
    rows = [row for row in [*vars(meanings).values(), *meanings.MEANINGS] if isinstance(row, meanings.Meaning)]
    for row in [*rows, *meanings.UNKNOWN.values()]:
        steps = e.steps_without_task(row.error("x", next_step=row.next_step or None))
        assert row.retryable or (steps and "task" not in " ".join(steps)), row.name
    for kind in (e.WhiteBitConfigurationError, AUTH, PERMISSION, REFUSED, WRONG, BLOCKED):
        assert "task" not in " ".join(e.steps_without_task(kind("x")))


@pytest.mark.parametrize(
    ("answer", "meaning", "errors"),
    [
        (
            {"errors": {"system": ["The exchange is under maintenance"]}},
            "maintenance",
            {"system": ["The exchange is under maintenance"]},
        ),
        (
            {"errors": ["The exchange is under maintenance"]},
            "maintenance",
            {"errors": ["The exchange is under maintenance"]},
        ),
        ({"errors": {"amount": "too small"}}, "server_fault", {"amount": ["too small"]}),
        ({"ERRORS": {"amount": "x"}}, "server_fault", {}),
        ([1], "server_fault", {}),
    ],
)
def test_what_an_unusable_answer_says_by_field(answer, meaning, errors):
    error = unusable("/path", 503, answer)
    assert (error.meaning, error.errors, error.money_moved) == (meaning, errors, None)


@pytest.mark.parametrize(
    ("answer", "fails"),
    [
        ([], False),
        ([{"error": "x"}], False),
        ("error", False),
        (None, False),
        ({}, False),
        ({"data": {"error": "x"}}, False),
        ({"success": True}, False),
        ({"success": 1}, True),
        ({"SUCCESS": True}, True),
        ({"success": False}, True),
        *(({name: None}, True) for name in ("code", "Message", "errors", "error", "detail", "fault", "warning")),
    ],
)
def test_which_answers_tell_a_failure(answer, fails):
    assert tells_failure(answer) is fails
