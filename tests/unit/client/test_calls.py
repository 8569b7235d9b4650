"""What is a yes: the documented success of a call, and nothing else."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_whitebit.client import calls, errors
from airflow_provider_whitebit.client._moving import MovingClient
from airflow_provider_whitebit.client.answers import error_from_answer
from airflow_provider_whitebit.client.signing import Credentials
from airflow_provider_whitebit.client.transport import NO_RETRIES, Transport
from airflow_provider_whitebit.client.transport_http import HttpAnswer

PLAN = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
INVEST = calls.flex_invest_call(PLAN, Decimal(1))
WITHDRAW = calls.flex_withdraw_call(PLAN, Decimal(1))
CLOSE = calls.flex_close_call(PLAN)
FIXED_INVEST = calls.fixed_invest_call("p", Decimal(1))
FIXED_CLOSE = calls.fixed_close_call("i")
TRANSFER = calls.transfer_call("USDT", Decimal(1), "main", "spot")
SUB_TRANSFER = calls.sub_account_transfer_call("sub", "main_to_sub", "USDT", Decimal(1))
CALLS = [INVEST, WITHDRAW, CLOSE, FIXED_INVEST, FIXED_CLOSE, TRANSFER, SUB_TRANSFER]
INVESTMENT = {"id": "inv_1", "planId": PLAN, "invested": "1", "status": 1}


#: Where the calls go, what they send, what their answers name, and the status of a success (vendor pages: Lending,
#: Transfer between balances, Sub-accounts).
LENDING = "/api/v4/main-account/smart"
FLEX = f"{LENDING}-flex/investments"
AMOUNT = Decimal("12345678.00000001")
SENT = {"plan": PLAN, "amount": "12345678.00000001"}


@pytest.mark.parametrize(
    ("call", "path", "params", "names", "status"),
    [
        (calls.flex_invest_call(PLAN, AMOUNT), f"{FLEX}/invest", SENT | {"withReinvest": False}, "TRANSACTION", 201),
        (
            calls.flex_invest_call(PLAN, AMOUNT, with_reinvest=True),
            f"{FLEX}/invest",
            SENT | {"withReinvest": True},
            "TRANSACTION",
            201,
        ),
        (calls.flex_withdraw_call(PLAN, AMOUNT), f"{FLEX}/withdraw", SENT, "TRANSACTION", 201),
        (calls.flex_close_call(PLAN), f"{FLEX}/close", {"plan": PLAN}, "TRANSACTION", 201),
        (
            calls.fixed_invest_call(PLAN, Decimal("1e3")),
            f"{LENDING}/investment",
            {"planId": PLAN, "amount": "1000"},
            "INVESTMENT",
            201,
        ),
        (calls.fixed_close_call("i"), f"{LENDING}/investment/close", {"id": "i"}, "NOTHING", 200),
        (
            calls.transfer_call("USDT", AMOUNT, "main", "spot"),
            "/api/v4/main-account/transfer",
            {"ticker": "USDT", "amount": "12345678.00000001", "from": "main", "to": "spot"},
            "NOTHING",
            201,
        ),
        (
            calls.sub_account_transfer_call("sub", "main_to_sub", "USDT", AMOUNT),
            "/api/v4/sub-account/transfer",
            {"id": "sub", "direction": "main_to_sub", "ticker": "USDT", "amount": "12345678.00000001"},
            "BARE_TRANSACTION",
            200,
        ),
    ],
)
def test_what_a_call_sends(call, path, params, names, status):
    assert call == calls.MoveCall(path, params, calls.Reference[names], status)


@pytest.mark.parametrize(
    ("call", "path", "params", "field"),
    [
        (calls.flex_probe_call(), f"{FLEX}/history", {"limit": 1}, "data"),
        (calls.fixed_probe_call(), f"{LENDING}/investments", {"limit": 1}, "records"),
        (calls.balance_probe_call("USDT"), "/api/v4/main-account/balance", {"ticker": "USDT"}, "main_balance"),
        (calls.sub_accounts_probe_call(), "/api/v4/sub-account/list", {"limit": 1}, "data"),
    ],
)
def test_what_a_call_that_uses_up_a_nonce_reads(call, path, params, field):
    assert call == calls.ProbeCall(path, params, field)


@pytest.mark.parametrize(
    ("call", "answer", "reference"),
    [
        (INVEST, {"data": {"transaction_id": "tx_1"}}, "tx_1"),
        (INVEST, {"data": {"transactionId": 17}}, "17"),
        (INVEST, {"data": {"transaction_id": "X0"}}, "X0"),
        (INVEST, {"data": {"transaction_id": "t" * 200}}, "t" * 200),
        (INVEST, {"data": INVESTMENT}, None),
        (INVEST, INVESTMENT, None),
        (INVEST, {"planId": PLAN, "invested": "1"}, None),
        (INVEST, {"data": {"transaction_id": "tx_1", "createdAt": 5}, "limit": 1}, "tx_1"),
        (WITHDRAW, {"data": {**INVESTMENT, "status": 0}}, None),
        (CLOSE, {"data": {**INVESTMENT, "status": 0, "invested": "0"}}, None),
        (CLOSE, {"data": {"transaction_id": "tx_2"}}, "tx_2"),
        (CLOSE, {}, None),
        (FIXED_INVEST, {"id": "i"}, "i"),
        (FIXED_CLOSE, {}, None),
        (TRANSFER, [], None),
        (TRANSFER, {}, None),
        (SUB_TRANSFER, {"transaction_id": "tx_1"}, "tx_1"),
        (SUB_TRANSFER, {"transaction_id": 17, "createdAt": 5}, "17"),
    ],
)
def test_the_documented_success(call, answer, reference):
    assert call.reference_in(answer) == reference


ODD = [
    {"response": None, "status": 422, "errors": {"amount": ["x"]}, "warning": ""},
    {"error": "no"},
    {"errors": {"amount": ["x"]}},
    {"success": 0},
    {"success": True},
    {"message": "ok"},
    {"data": {}},
    {"data": []},
    {"data": None},
    {"data": {"transaction_id": ""}},
    {"data": {"transaction_id": None}},
    {"data": {"transaction_id": True}},
    {"data": {"transaction_id": ["tx"]}},
    {"data": {**INVESTMENT, "planId": "another"}},
    {"data": {"transaction_id": "tx"}, "errors": {"amount": ["x"]}},
    {"data": {"transaction_id": "tx"}, "error": "no"},
    {"data": {"transaction_id": "tx"}, "success": False},
    {"data": {"transaction_id": "tx"}, "success": None},
    {"data": {"transaction_id": "tx"}, "message": "no"},
    {"data": {"transaction_id": "tx"}, "status": 422},
    {"data": {"transaction_id": "tx", "status": "failed"}},
    {"data": {"transaction_id": "tx", "errors": []}},
    {"data": {"transaction_id": "tx", "transactionId": "another"}},
    {"data": {"transaction_id": 0}},
    {"data": {"transaction_id": -1}},
    {"data": {"transaction_id": Decimal("1.5")}},
    {"data": {"transaction_id": " "}},
    {"data": {"transaction_id": "null"}},
    {"data": {"transaction_id": "00000000-0000-0000-0000-000000000000"}},
    {"data": {"transaction_id": PLAN}},
    {"data": [{"transaction_id": "tx"}]},
    {"transaction_id": "tx", "errors": {}},
    {"transaction_id": "tx", "status": 422},
    {"transaction_id": "tx", "success": False},
    {"transaction_id": "sub"},
    {"transaction_id": "main_to_sub"},
    {"transaction_id": None},
    {"transaction_id": ""},
    {"transactionId": "tx"},
    {"response": {"data": {"transaction_id": "tx"}}},
    {"data": {"data": {"transaction_id": "tx"}}},
    {"data": INVESTMENT, "status": 422},
    {"data": {**INVESTMENT, "status": 0}, "status": 422},
    {"data": {**INVESTMENT, "invested": None}},
    {"data": {**INVESTMENT, "invested": "-1"}},
    {"data": {**INVESTMENT, "status": 422}},
    {"data": {**INVESTMENT, "status": True}},
    {"data": {**INVESTMENT, "message": "no"}},
    [{"error": "no"}],
    [{}],
    {"id": ""},
    {"id": False},
    {"id": None},
    {"id": 0},
    {"id": "p"},
    {"id": "i", "errors": {}},
    {"id": "i", "status": 422},
    {"id": "i", "Message": "Forbidden"},
    {"id": ["i"]},
    [1],
    [[]],
    None,
    "",
    0,
    True,
]


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (INVEST, {}),
        (INVEST, {"data": {**INVESTMENT, "status": 0}}),
        (WITHDRAW, {}),
        (CLOSE, []),
        (CLOSE, INVESTMENT),
        (FIXED_INVEST, {}),
        (FIXED_INVEST, {"data": {"id": "i"}}),
        (SUB_TRANSFER, []),
        (SUB_TRANSFER, {}),
        (SUB_TRANSFER, {"id": "i"}),
        *((call, {"transaction_id": "tx"}) for call in CALLS if call is not SUB_TRANSFER),
    ],
)
def test_the_success_of_another_call_is_not_a_yes(call, answer):
    with pytest.raises(ValueError):
        call.reference_in(answer)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.path)
@pytest.mark.parametrize("answer", ODD, ids=repr)
def test_anything_else_is_not_a_yes(call, answer):
    with pytest.raises(ValueError):
        call.reference_in(answer)


NOTHING_BUT_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["data", "status", "error", "message", "code", "result"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.path)
@given(answer=NOTHING_BUT_JSON)
def test_no_other_json_is_a_yes(call, answer):
    if answer in ([], {}):
        return
    with pytest.raises(ValueError):
        call.reference_in(answer)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_a_gateways_refusal_proves_nothing(status):
    for message in ("Forbidden", "Unauthorized", "Request Entity Too Large", ""):
        error = error_from_answer("/p", status, {"message": message})
        assert error is not None and error.money_moved is None


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (422, {"code": 0, "message": "Inner validation failed", "errors": {}}),
        (400, {"code": 0, "message": "Validation failed", "errors": {}}),
        (401, {"message": "Unauthorized request."}),
        (403, {"message": "You don't have permission to use this endpoint."}),
    ],
)
def test_the_exchanges_own_refusal_proves_that_nothing_ran(status, answer):
    assert error_from_answer("/p", status, answer).money_moved is False


def test_a_fields_list_written_by_php_as_an_empty_list_is_the_exchanges_own():
    answer = {"code": 0, "message": "Inner validation failed", "errors": []}
    assert error_from_answer("/p", 422, answer).money_moved is False


OWN = {"code": 0, "message": "Inner validation failed", "errors": {"plan": ["Plan is paused"]}}


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        # The HTTP status as code: API gateways, ingress controllers, JWT bundles.
        (403, {"code": 403, "message": "Forbidden"}),
        (401, {"code": 401, "message": "JWT Token not found"}),
        (404, {"code": 404, "message": "Not Found"}),
        (403, {"code": 1010, "message": "Access denied"}),
        # gRPC gateways, Kong, Azure API Management, Spring, Cloudflare.
        (403, {"code": 7, "message": "permission denied", "details": []}),
        (404, {"code": 5, "message": "no Route matched with those values", "request_id": "x"}),
        (401, {"statusCode": 401, "message": "Access denied due to missing subscription key."}),
        (403, {"status": 403, "error": "Forbidden", "message": "Forbidden", "code": 0}),
        (403, {"success": False, "code": 0, "message": "x", "errors": [{"code": 10000, "message": "x"}]}),
        (422, {**OWN, "errors": [{"code": 1, "message": "x"}]}),
        (422, {**OWN, "errors": {"plan": "Plan is paused"}}),
        (422, {**OWN, "errors": "Plan is paused"}),
        (422, {**OWN, "code": "0"}),
        (422, {**OWN, "code": True}),
        (422, {**OWN, "code": Decimal("0.0")}),
        (422, {**OWN, "code": None}),
        (422, {**OWN, "code": -1}),
        (422, {**OWN, "message": " "}),
        (422, {**OWN, "data": {"transaction_id": "tx"}}),
        (422, {"message": "Inner validation failed", "errors": {}}),
        (401, {"message": "Unauthorized request"}),
        (401, {"message": "Invalid payload: no body"}),
        (403, {"message": "This action is unauthorized."}),
        (429, {"message": "Too Many Attempts."}),
        (401, {"code": "UNAUTHORIZED", "message": "Unauthorized request."}),
        *((status, {"message": "Unauthorized request."}) for status in (200, 201, 302, 500, 502, 503)),
        *((status, {"code": 0, "message": "Unauthorized request."}) for status in (200, 201, 302, 500)),
    ],
)
def test_what_else_looks_like_a_refusal_proves_nothing(status, answer):
    error = error_from_answer("/p", status, answer)
    assert error is not None and error.money_moved is None


@pytest.mark.parametrize(
    ("status", "answer"),
    [(status, OWN) for status in (100, 200, 201, 302, 402, 405, 408, 409, 418, 425, 499, 500, 503)]
    + [(422, answer) for answer in ([OWN], {"response": OWN}, {**OWN, "message": None}, {"errors": {}}, "no", None)],
)
def test_another_status_or_shape_is_no_refusal(status, answer):
    assert error_from_answer("/p", status, answer) is None


class Canned:
    """A wire that gives one answer."""

    def __init__(self, status, body):
        self.answer = HttpAnswer(status, {}, body)

    def send(self, *request):
        return self.answer

    def close(self):
        pass


def client_of(status, body):
    return MovingClient(Transport("http://x", Credentials("k", "s"), wire=Canned(status, body), retry=NO_RETRIES))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b'{"data":{"transaction_id":"tx"}}'),
        (202, b'{"data":{"transaction_id":"tx"}}'),
        (201, b'{"data":{"transaction_id":"tx"}}{}'),
        (201, b'{"data":{"transaction_id":"tx","transaction_id":null}}'),
        (201, b'{"data":null,"data":{"transaction_id":"tx"}}'),
        (204, b""),
        (422, b'{"code":"x","code":0,"message":"Inner validation failed"}'),
        (429, b"<html>Too Many Requests</html>"),
        (429, b""),
    ],
)
def test_an_answer_that_is_neither_leaves_the_move_in_doubt(status, body):
    with pytest.raises(errors.WhiteBitError) as caught:
        client_of(status, body).send_move(INVEST, nonce=1)
    assert caught.value.money_moved is None


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b'{"error":"no"}', b'{"response":null,"status":422,"errors":{"a":["x"]}}', b'{"data":[{}]}']
)
def test_a_switch_without_its_documented_success_is_not_made(body):
    with pytest.raises(errors.WhiteBitUnavailableError):
        client_of(200, body).switch_auto_reinvest(PLAN, enabled=True)
    client_of(200, b'{"data":[]}').switch_auto_reinvest(PLAN, enabled=True)


@pytest.mark.parametrize("call", [calls.flex_probe_call(), calls.fixed_probe_call(), calls.balance_probe_call("p")])
def test_a_nonce_is_claimed_only_by_an_answer_of_the_exchange(call):
    for status, body in ((200, b"{}"), (200, b'{"error":"no"}'), (202, b'{"data":[]}'), (200, b'{"errors":{"a":[]}}')):
        with pytest.raises(errors.WhiteBitUnavailableError) as caught:
            client_of(status, body).claim_nonce(1, call=call)
        assert caught.value.money_moved is False
    client_of(200, b'{"%s":[]}' % call.field.encode()).claim_nonce(1, call=call)


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"[]"), (200, b"{}"), (200, b'{"data":[],"errors":{"a":["x"]}}'), (202, b'{"data":[]}')]
)
@pytest.mark.parametrize("read", [MovingClient.flex_history, MovingClient.fixed_investments])
def test_no_other_answer_proves_that_there_are_no_records(read, status, body):
    with pytest.raises(errors.WhiteBitUnavailableError):
        list(read(client_of(status, body)))
    assert list(read(client_of(200, b'{"data":[]}'))) == []
