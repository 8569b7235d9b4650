from __future__ import annotations

from decimal import Decimal

import pytest

from airflow_provider_whitebit.client.errors import WhiteBitConfigurationError
from airflow_provider_whitebit.hooks.settings import read_settings


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
        ({"host": "http://127.0.0.1:8787"}, {}, "http://127.0.0.1:8787"),
        ({"host": "http://[::1]:8787"}, {}, "http://[::1]:8787"),
        ({"host": "whitebit.com", "schema": "https"}, {}, "https://whitebit.com"),
        ({"host": "https://proxy.example.com"}, {"allow_custom_host": True}, "https://proxy.example.com"),
        ({"host": "proxy.example.com"}, {"allow_custom_host": "true"}, "https://proxy.example.com"),
    ],
)
def test_hosts(fields, extra, url):
    assert read(extra, **fields).base_url == url


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
        ({"host": "whitebit.eu"}, {}, "region"),
        ({"host": "whitebit.com"}, {"region": "eu"}, "region"),
        ({}, {"region": "mars"}, "region"),
        ({}, {"timeout": "soon"}, "timeout"),
        ({}, {"timeout": 0}, "timeout"),
        ({}, {"timeout": -1}, "timeout"),
        ({}, {"timeout": True}, "timeout"),
        ({}, {"timeout": "9" * 30}, "timeout"),
        ({}, {"settle_margin": "1.5"}, "settle_margin"),
        ({}, {"read_only": "perhaps"}, "read_only"),
        ({}, {"verify_tls": 2}, "verify_tls"),
        ({}, {"max_move": "5000"}, "max_move"),
        ({}, {"max_move": "{broken"}, "max_move"),
        ({}, {"max_move": '{"USDT": "lots"}'}, "max_move"),
        ({}, {"max_move": '{"USDT": -1}'}, "max_move"),
        ({}, {"max_move": '{"USDT": NaN}'}, "max_move"),
        ({}, {"allowed_tickers": 5}, "allowed_tickers"),
        ({}, {"allowed_tickers": "[broken"}, "allowed_tickers"),
        ({}, {"allowed_tickers": [1]}, "allowed_tickers"),
    ],
)
def test_what_is_wrong_is_named(fields, extra, field):
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
            "nonce_window": "false",
            "settle_margin": 30,
            "verify_tls": False,
        }
    )
    assert (settings.timeout, settings.read_only, settings.nonce_window) == (20, True, False)
    assert settings.max_move == {"USDT": Decimal("5000.5"), "BTC": Decimal("0.1")}
    assert settings.allowed_tickers == {"USDT", "BTC"}
    assert settings.settle_margin_ms == 30_000
    assert settings.verify_tls is False


def test_defaults_and_prefixed_names():
    settings = read({"extra__whitebit__timeout": 7, "max_move": {"USDT": 1.5}, "allowed_tickers": ["usdt"]})
    assert settings.timeout == 7
    assert settings.max_move == {"USDT": Decimal("1.5")}
    assert (settings.nonce_window, settings.verify_tls, settings.settle_margin_ms) == (True, True, 10_000)


def test_unknown_fields_are_named(caplog):
    read({"owner": "eu"})
    assert "owner" in caplog.text


def test_a_misspelt_field_is_an_error():
    with pytest.raises(WhiteBitConfigurationError, match="did you mean region"):
        read({"regoin": "eu"})


def test_the_fingerprint_tells_accounts_apart():
    one, other = read(), read(login="other-key")
    assert one.account != other.account
    assert one.account == read(password="changed").account
    assert "the-key" not in one.account
    assert "the-secret" not in repr(one)
