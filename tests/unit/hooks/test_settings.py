from __future__ import annotations

import json
from decimal import Decimal

import pytest
from airflow.sdk import Connection
from airflow.sdk.execution_time.comms import MaskSecret

from airflow_provider_whitebit.client.errors import WhiteBitConfigurationError, WhiteBitUnavailableError
from airflow_provider_whitebit.hooks import settings
from airflow_provider_whitebit.hooks.connection_form import FIELDS
from airflow_provider_whitebit.hooks.settings import read_settings, settings_of
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook


def read(extra=None, **fields):
    given = {"login": "the-key", "password": "the-secret", "host": None, **fields}
    return read_settings("my_conn", extra=extra or {}, **given)


@pytest.mark.parametrize(
    ("fields", "extra", "url"),
    [
        ({}, {}, "https://whitebit.com"),
        ({"host": ""}, {"region": "eu"}, "https://whitebit.eu"),
        ({"host": "whitebit.com"}, {}, "https://whitebit.com"),
        ({"host": "https://whitebit.com/"}, {}, "https://whitebit.com"),
        ({"host": "https://WhiteBIT.com:443"}, {}, "https://whitebit.com"),
        ({"host": "whitebit.com", "port": 443}, {}, "https://whitebit.com"),
        ({"host": "https://whitebit.com:8443"}, {}, "https://whitebit.com:8443"),
        ({"host": "http://127.0.0.1:80"}, {}, "http://127.0.0.1"),
        ({"host": "http://127.0.0.1", "port": 443}, {}, "http://127.0.0.1:443"),
        ({"host": "127.0.0.1", "port": 8787}, {}, "http://127.0.0.1:8787"),
        ({"host": "localhost:8787"}, {}, "http://localhost:8787"),
        ({"host": "localhost.:8787"}, {}, "http://localhost:8787"),
        ({"host": " whitebit.com.\n"}, {}, "https://whitebit.com"),
        ({"host": "http://127.0.0.1:8787"}, {}, "http://127.0.0.1:8787"),
        ({"host": "http://[::1]:8787"}, {}, "http://[::1]:8787"),
        ({"host": "whitebit.com", "schema": "https"}, {}, "https://whitebit.com"),
        ({"host": "https://proxy.example.com"}, {"allow_custom_host": True}, "https://proxy.example.com"),
        ({"host": "proxy.example.com"}, {"allow_custom_host": "true"}, "https://proxy.example.com"),
    ],
)
def test_hosts(fields, extra, url):
    assert read(extra, **fields).base_url == url


SPELLINGS = {
    "localhost:8787": ["127.0.0.1:8787", "http://LOCALHOST:8787/", "[::1]:8787", " localhost.:8787 ", "127.0.0.2:8787"],
    "whitebit.com": ["", "https://WhiteBIT.com:443", "whitebit.com.", "www.whitebit.com", "https://www.whitebit.com./"],
    "relay.example": ["RELAY.example.", "https://relay.example:443"],
}


@pytest.mark.parametrize(("host", "other"), [(host, other) for host, others in SPELLINGS.items() for other in others])
def test_one_host_in_several_spellings_is_one_account_and_one_count(host, other):
    one, two = (read({"allow_custom_host": True}, host=spelled) for spelled in (host, other))
    assert (one.account, one.exchange) == (two.account, two.exchange)


def test_the_account_is_the_key_and_each_exchange_has_a_count_of_its_own():
    direct, relayed = read(), read({"allow_custom_host": True}, host="relay.example", login="\tthe-key \n")
    assert direct.account == relayed.account != read(login="the-Key").account
    hosts = ({"host": "localhost:8787"}, {"host": "localhost:8788"}, {"extra": {"region": "eu"}}, {})
    assert len({relayed.exchange, *(read(**given).exchange for given in hosts)}) == 5


@pytest.mark.parametrize(
    ("fields", "extra", "field"),
    [
        ({"login": ""}, {}, "login"),
        ({"login": None}, {}, "login"),
        ({"password": "  "}, {}, "password"),
        ({"password": None}, {}, "password"),
        ({"login": "a b"}, {}, "login"),
        ({"login": "ключ"}, {}, "login"),
        ({"password": "line\nbreak"}, {}, "password"),
        ({"host": "https://evil.example.com"}, {}, "host"),
        ({"host": "https://whitebit.com.evil.example"}, {}, "host"),
        ({"host": "https://whitebit.com@evil.example"}, {}, "host"),
        ({"host": "http://whitebit.com"}, {}, "host"),
        ({"host": "http://10.0.0.1"}, {"allow_custom_host": True}, "host"),
        ({"host": "ftp://whitebit.com"}, {}, "host"),
        ({"host": "https://whitebit.com/api"}, {}, "host"),
        ({"host": "https://whitebit.com?x=1"}, {}, "host"),
        ({"host": "https://user:pw@whitebit.com"}, {}, "host"),
        ({"host": "https://whitebit.com:99999"}, {}, "host"),
        ({"host": "https://"}, {}, "host"),
        ({"host": "whitebit.com", "port": 99999}, {}, "port is 99999"),
        ({"host": "whitebit.com", "port": -1}, {}, "port is -1"),
        ({"host": "\u200bwhitebit.com"}, {}, r"host is '\u200bwhitebit.com'"),
        ({"host": "whit\u0435bit.com"}, {}, r"host is 'whit\u0435bit.com'"),
        ({"host": 5}, {}, "host is not a text"),
        ({"login": 123456}, {}, "login (API key) is not a text"),
        ({"password": 123456}, {}, "password (API secret) is not a text"),
        ({"host": "whitebit.eu"}, {}, "region"),
        ({"host": "whitebit.com"}, {"region": "eu"}, "region"),
        ({}, {"region": "mars"}, "region"),
        ({}, {"timeout": "soon"}, "timeout"),
        ({}, {"timeout": 0}, "timeout"),
        ({}, {"timeout": -1}, "timeout"),
        ({}, {"timeout": True}, "timeout"),
        ({}, {"timeout": "9" * 30}, "timeout"),
        ({}, {"reconcile_margin": "1.5"}, "reconcile_margin"),
        ({}, {"read_only": "perhaps"}, "read_only"),
        ({}, {"verify_tls": 2}, "verify_tls"),
        ({}, {"max_move": "5000"}, "max_move"),
        ({}, {"max_move": "{broken"}, "max_move"),
        ({}, {"max_move": '{"USDT": "lots"}'}, "max_move"),
        ({}, {"max_move": '{"USDT": -1}'}, "max_move"),
        ({}, {"max_move": '{"USDT": NaN}'}, "max_move"),
        ({}, {"max_move": {}}, "max_move names no tickers"),
        ({}, {"max_move": "{}"}, "max_move names no tickers"),
        ({}, {"max_move": "null"}, "max_move is not an object"),
        ({}, {"max_per_day": {}}, "max_per_day names no tickers"),
        ({}, {"previous_conn_id": False}, "previous_conn_id"),
        ({}, {"max_per_day": "{broken"}, "max_per_day"),
        ({}, {"max_per_day": {"USDT": -1}}, "max_per_day"),
        ({}, {"max_per_day": {"BTC": 1}, "allowed_tickers": "USDT"}, "max_per_day"),
        ({}, {"max_per_days": {"BTC": 1}}, "max_per_day"),
        ({}, {"max_moves_per_hour": 0}, "max_moves_per_hour"),
        ({}, {"max_moves_per_hour": "many"}, "max_moves_per_hour"),
        ({}, {"max_moves_per_hour": True}, "max_moves_per_hour"),
        ({}, {"max_moves_per_hour": "1.5"}, "max_moves_per_hour"),
        ({}, {"allowed_tickers": 5}, "allowed_tickers"),
        ({}, {"allowed_tickers": "[broken"}, "allowed_tickers"),
        ({}, {"allowed_tickers": [1]}, "allowed_tickers"),
        ({}, {"allowed_tickers": ","}, "allowed_tickers names no tickers"),
        ({}, {"allowed_tickers": []}, "allowed_tickers names no tickers"),
        ({}, {"allowed_operations": ","}, "allowed_operations names no operations"),
        ({}, {"allowed_operations": []}, "allowed_operations names no operations"),
        ({}, {"allowed_operations": [" "]}, "allowed_operations names no operations"),
        ({}, {"allowed_operations": "[broken"}, "allowed_operations"),
        ({}, {"allowed_operations": False}, "allowed_operations"),
        ({}, {"allowed_operations": {"flex_close": True}}, "allowed_operations"),
        ({}, {"allowed_operations": ["flex_close", 1]}, "allowed_operations"),
        ({}, {"allowed_operations": "flex_close; flex_withdraw"}, "allowed_operations"),
        ({}, {"allowed_operations": "flex_close, flex-withdrawal"}, "did you mean flex_withdraw"),
        ({}, {"allowed_operations": "deposit"}, "the operations are flex_invest, flex_withdraw, flex_close"),
    ],
)
def test_errors_name_the_field(fields, extra, field):
    with pytest.raises(WhiteBitConfigurationError) as caught:
        read(extra, **fields)
    text = str(caught.value)
    assert "'my_conn'" in text
    assert field in text
    assert "the-secret" not in text
    assert "pw" not in text.split("'my_conn'")[1].split()
    assert caught.value.money_moved is False


def test_fields():
    settings = read(
        {
            "timeout": "20",
            "read_only": "True",
            "max_move": '{"usdt": 5000.5, "BTC": "0.1"}',
            "allowed_tickers": "usdt, BTC,",
            "allowed_operations": "flex_withdraw, Flex_Close,",
            "max_per_day": '{"usdt": "20000"}',
            "max_moves_per_hour": "12",
            "nonce_window": "false",
            "reconcile_margin": 30,
            "verify_tls": False,
        }
    )
    assert (settings.timeout, settings.limits.read_only, settings.nonce_window) == (20, True, False)
    assert settings.limits.max_move == {"USDT": Decimal("5000.5"), "BTC": Decimal("0.1")}
    assert settings.limits.allowed_tickers == {"USDT", "BTC"}
    assert settings.limits.allowed_operations == {"flex_withdraw", "flex_close"}
    assert settings.limits.max_per_day == {"USDT": Decimal(20000)}
    assert settings.limits.max_moves_per_hour == 12
    assert settings.reconcile_margin_ms == 30_000
    assert settings.verify_tls is False


def test_defaults_and_prefixed_names():
    settings = read({"extra__whitebit__timeout": 7, "max_move": {"USDT": 1.5}, "allowed_tickers": ["usdt"]})
    assert settings.timeout == 7
    assert settings.limits.max_move == {"USDT": Decimal("1.5")}
    assert settings.limits.allowed_operations == frozenset()
    assert read({"allowed_operations": ["flex_close"]}).limits.allowed_operations == {"flex_close"}
    assert (settings.nonce_window, settings.verify_tls, settings.reconcile_margin_ms) == (True, True, 10_000)


def test_earlier_names_are_read():
    settings = read({"settle_margin": 30, "extra__whitebit__former_connection": "old"})
    assert (settings.reconcile_margin_ms, settings.previous_conn_id) == (30_000, "old")


@pytest.mark.parametrize(
    "extra",
    [
        {"timeout": 5, "extra__whitebit__timeout": 7},
        {"settle_margin": 5, "reconcile_margin": 5},
        {"extra__whitebit__former_connection": "a", "previous_conn_id": "b"},
    ],
)
def test_two_spellings_of_one_field_are_refused(extra):
    with pytest.raises(WhiteBitConfigurationError, match="is given twice in the extra"):
        read(extra)


def test_an_empty_spelling_does_not_count():
    assert read({"read_only": "", "extra__whitebit__read_only": True}).limits.read_only is True
    assert read({"extra__whitebit__read_only": True, "read_only": None}).limits.read_only is True


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"timeout": "soon"}, "timeout is 'soon': write a whole number"),
        ({"timeout": 0}, "timeout is 0: write 1 or more"),
        ({"timeout": 601}, "timeout is 601: write 600 or less"),
        ({"timeout": "9" * 5000}, "write a whole number"),
        ({"read_only": "maybe"}, "read_only is 'maybe': write true or false"),
        ({"region": "mars"}, "region is 'mars': write one of global, eu"),
        ({"max_move": {"USDT": "x"}}, 'max_move has no amount for USDT; write it like {"USDT": "5000"}'),
        ({"max_move": {"U S": "1"}}, "max_move names 'U S', which is not a ticker; write it like USDT"),
        ({"previous_conn_id": ["x"]}, "previous_conn_id is ['x']: write text"),
    ],
)
def test_errors_say_how_to_write_a_field(extra, message):
    with pytest.raises(WhiteBitConfigurationError) as caught:
        read(extra)
    assert message in caught.value.message
    assert len(caught.value.message) < 200


LIMITS = {"read_only": True, "max_move": {"USDT": "5"}, "allowed_tickers": "USDT"}
NAMES = [field.name for field in FIELDS]


def misspelt(name):
    """Every spelling of a name with one letter too few, too many, wrong or swapped, and other ways to write it."""
    for at in range(len(name)):
        yield name[:at] + name[at + 1 :]
        yield name[:at] + name[at + 1 : at + 2] + name[at] + name[at + 2 :]
        yield from (name[:at] + letter + name[at + skipped :] for letter in "ax_-1 " for skipped in (0, 1))
    words = name.split("_")
    yield from (name.upper(), name.title(), name.capitalize(), f" {name}", f"{name} ", f"{name}s", f"extra__{name}")
    yield from (separator.join(words) for separator in ("", "-", " ", ".", "__"))
    yield from ("".join(word.capitalize() for word in words), f"extra__whitebit_{name}", f"EXTRA__WHITEBIT__{name}")
    yield from (words[0], words[-1], f"{name}_mode", f"is_{name}", f"{name}=", f"{name}:")


@pytest.mark.parametrize("name", NAMES)
def test_no_typing_error_switches_a_limit_off(name):
    for wrong in set(misspelt(name)) - set(NAMES):
        with pytest.raises(WhiteBitConfigurationError, match="is not a field of the extra"):
            read({wrong: LIMITS.get(name, "x")})


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("regoin", "region"),
        ("READ_ONLY", "read_only"),
        ("Read-Only", "read_only"),
        ("readOnly", "read_only"),
        ("MaxMove", "max_move"),
        ("tickers", "allowed_tickers"),
        ("allowed_operation", "allowed_operations"),
        ("AllowedOperations", "allowed_operations"),
    ],
)
def test_errors_say_which_field_is_meant(wrong, meant):
    with pytest.raises(WhiteBitConfigurationError, match=f"did you mean {meant}"):
        read({wrong: "eu"})


def test_fields_of_something_else_are_errors():
    with pytest.raises(
        WhiteBitConfigurationError, match="'owner' is not a field of the extra; the fields are region, "
    ):
        read({"owner": "treasury"})


@pytest.mark.parametrize("old_first", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_two_spellings_of_every_field_are_refused_in_any_order(name, old_first):
    value = {"read_only": False, "max_move": {"USDT": "9"}}.get(name, 7)
    pairs = [(name, value), (f"extra__whitebit__{name}", value)]
    with pytest.raises(WhiteBitConfigurationError, match=f"{name} is given twice in the extra"):
        read(dict(reversed(pairs) if old_first else pairs))


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ('{"read_only": true, "read_only": false}', "read_only is given twice"),
        ('{"read_only": true,}', "extra is not a JSON object"),
        ("{'read_only': true}", "extra is not a JSON object"),
        ('{"read_only": True}', "extra is not a JSON object"),
        ("read_only=true", "extra is not a JSON object"),
        ('["read_only"]', "extra is not a JSON object"),
        ('"read_only"', "extra is not a JSON object"),
        ("[" * 100_000, "extra is not a JSON object"),
        ('{"max_move": {"USDT": "5", "USDT": "5000"}}', "USDT is given twice"),
        ('{"max_move": {"USDT": "5", "usdt": "5000"}}', "max_move names USDT twice"),
        ('{"max_move": "{\\"USDT\\": \\"5\\", \\"USDT\\": \\"5000\\"}"}', "USDT is given twice"),
        ('{"max_move": {"USTD": "5"}, "allowed_tickers": "USDT"}', "max_move names USTD, not among allowed_tickers"),
    ],
)
def test_the_text_of_the_extra(extra, message):
    connection = Connection(conn_id="my_conn", conn_type="whitebit", login="k", password="s", extra=extra)
    with pytest.raises(WhiteBitConfigurationError) as caught:
        settings_of("my_conn", connection)
    assert message in caught.value.message


def test_a_secret_that_json_has_made_a_number_is_refused_and_not_shown():
    # As Connection.from_json makes it, which Airflow has from 3.1 on.
    connection = Connection(conn_id="my_conn", conn_type="whitebit", login=654321, password=123456)
    with pytest.raises(WhiteBitConfigurationError, match=r"login .* is not a text; write it in quotes") as caught:
        settings_of("my_conn", connection)
    assert "123456" not in str(caught.value)
    assert "654321" not in str(caught.value)


def test_what_is_masked_can_be_told_to_airflow(monkeypatch):
    told = []
    monkeypatch.setattr(settings, "mask_secret", lambda value: told.append(MaskSecret(value=value).value))
    extra = '{"max_move": {"USDT": 0.50}, "timeout": 10}'
    connection = Connection(conn_id="my_conn", conn_type="whitebit", login="k", password="s", extra=extra)
    assert settings_of("my_conn", connection).limits.max_move == {"USDT": Decimal("0.5")}
    assert told == ["s", "k", {"max_move": {"USDT": "0.50"}, "timeout": 10}]


@pytest.mark.parametrize("name", [None, "", " ", "None", 7])
def test_a_connection_without_a_name(name):
    with pytest.raises(WhiteBitConfigurationError, match=r"whitebit_conn_id is .*: write the name of a connection"):
        WhiteBitHook(name).get_conn()


def test_an_extra_that_a_secrets_backend_has_decoded():
    given = {"read_only": True, "max_move": {"USDT": 1.5}, "region": "eu"}
    connection = Connection(conn_id="my_conn", conn_type="whitebit", login="k", password="s", extra=given)
    settings = settings_of("my_conn", connection)
    as_text = Connection(conn_id="my_conn", conn_type="whitebit", login="k", password="s", extra=json.dumps(given))
    assert settings == settings_of("my_conn", as_text)
    assert settings.limits.read_only
    with pytest.raises(WhiteBitConfigurationError, match="did you mean read_only"):
        connection.extra = {"readonly": True}
        settings_of("my_conn", connection)


@pytest.mark.parametrize("extra", [None, "", " ", "{}", '{"read_only": null}', '{"read_only": ""}'])
def test_an_empty_extra_sets_no_limits(extra):
    connection = Connection(conn_id="my_conn", conn_type="whitebit", login="k", password="s", extra=extra)
    assert settings_of("my_conn", connection).limits.read_only is False


def answering(monkeypatch, *conn_ids):
    """Airflow answers a task with these connections, one after the other, and then with the last one."""
    names = list(conn_ids)
    asked = []

    def answer(cls, conn_id):
        asked.append(conn_id)
        name = names.pop(0) if len(names) > 1 else names[0]
        return Connection(conn_id=name, conn_type="whitebit", login=f"key-of-{name}", password="s")

    monkeypatch.setattr(WhiteBitHook, "get_connection", classmethod(answer))
    monkeypatch.setattr(f"{WhiteBitHook.__module__}.runs_for_airflow", lambda: True)
    monkeypatch.setattr(f"{WhiteBitHook.__module__}.questions_take_turns", lambda: True)
    return asked


def test_a_secrets_backend_may_translate_the_name_of_a_connection(monkeypatch):
    asked = answering(monkeypatch, "desk-production")
    hook = WhiteBitHook("desk")
    assert hook.settings.credentials.api_key == "key-of-desk-production"
    assert hook.settings.limits.conn_id == "desk"
    assert asked == ["desk"] * 3
    # Once is enough: sensors read their connection before each poll.
    assert hook.reread_connection() is False
    assert asked == ["desk"] * 4


@pytest.mark.parametrize("answers", [("desk_b", "desk_a"), ("desk_b", "desk_b", "desk_a"), ("desk_b", "desk_c")])
def test_the_answer_to_another_question_is_not_used(monkeypatch, answers):
    answering(monkeypatch, *answers)
    with pytest.raises(WhiteBitUnavailableError, match="answered with connection 'desk_b' instead of 'desk_a'"):
        WhiteBitHook("desk_a").get_conn()


def test_the_connection_of_another_thread_is_not_used(monkeypatch):
    """Before Airflow 3.2, threads of a task that ask at once can get each other's answers."""
    answering(monkeypatch, "desk_b")
    monkeypatch.setattr(f"{WhiteBitHook.__module__}.questions_take_turns", lambda: False)
    with pytest.raises(WhiteBitUnavailableError, match="answered with connection 'desk_b' instead of 'desk_a'"):
        WhiteBitHook("desk_a").get_conn()
    with pytest.raises(WhiteBitUnavailableError) as caught:
        WhiteBitHook("desk_a").flex_invest(ticker="USDT", amount="1")
    assert caught.value.money_moved is None


def test_the_fingerprint_differs_between_accounts():
    one, other = read(), read(login="other-key")
    assert one.account != other.account
    assert one.account == read(password="changed").account
    assert "the-key" not in one.account
    assert "the-secret" not in repr(one)


@pytest.mark.parametrize(("given", "used"), [(0, 2_000), (1, 2_000), (2, 2_000), (3, 3_000)])
def test_the_margin_covers_nodes_with_different_clocks(given, used):
    assert read({"reconcile_margin": given}).reconcile_margin_ms == used


@pytest.mark.parametrize("empty", [None, "", " "])
def test_no_limits_over_time(empty):
    limits = read({"max_per_day": empty, "max_moves_per_hour": empty}).limits
    assert (limits.max_per_day, limits.max_moves_per_hour) == ({}, None)
    assert limits.lock_names("USDT") == []
