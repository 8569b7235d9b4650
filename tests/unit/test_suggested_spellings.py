"""Error texts that suggest a spelling: what they suggest is accepted."""

from __future__ import annotations

import json
import re
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_whitebit.client import models
from airflow_provider_whitebit.client.errors import WhiteBitError
from airflow_provider_whitebit.hooks.settings import read_settings
from airflow_provider_whitebit.moves import parsing
from airflow_provider_whitebit.operators.export import file_format
from airflow_provider_whitebit.treasury.policy import read_policy
from airflow_provider_whitebit.treasury.statement import read_reinvested_as


def setting(name, raw, **more):
    if name == "host" and not isinstance(raw, str):
        return None  # Airflow keeps a text
    if name == "max_move" and raw == "USDT":
        raw = {raw: "1"}  # the name of a limit
    extra = {**more.pop("extra", {}), **({} if name == "host" else {name: raw})}
    return read_settings("c", login="k", password="s", host=raw if name == "host" else None, extra=extra)


def policy(path, raw):
    for name in reversed(path.split(".")):
        raw = {name: raw}
    return read_policy({"USDT": raw})


def need(raw):
    return policy("liquidity", [{"amount": raw, "by": "2026-03-31T12:00:00Z"}])


def text_of_policy(path, raw):
    *outer, inner = ("USDT", *path.split("."))
    text = f"{{{json.dumps(inner)}: {raw if isinstance(raw, float) else json.dumps(raw, default=str)}}}"
    for name in reversed(outer):
        text = f"{{{json.dumps(name)}: {text}}}"
    return read_policy(text)


READERS = {
    "amount": parsing.read_amount,
    "amount or all": parsing.read_amount_or_all,
    "limit of a sensor": partial(parsing.read_limit, "at_least"),
    "boolean": partial(parsing.read_boolean, "dry_run"),
    "idempotency key": partial(parsing.read_key, "idempotency_key"),
    "account": partial(parsing.read_account, "source"),
    "ticker": parsing.read_ticker,
    "moment": partial(parsing.read_moment, "since"),
    "time": partial(parsing.read_time, "start"),
    "flex status": partial(parsing.read_choice, "status", models.InvestmentStatus, models.FlexInvestmentStatus),
    "fixed status": partial(parsing.read_choice, "status", models.InvestmentStatus, models.FixedInvestmentStatus),
    "action": partial(parsing.read_choice, "action_types", models.FlexActionType, models.FlexAction),
    "kind": partial(parsing.read_choice, "kind", models.MainMethodName, models.MainMethod),
    "direction": parsing.read_direction,
    "format": partial(file_format, "x"),
    "reinvested_as": read_reinvested_as,
    "policy": lambda raw: read_policy({raw: {}} if raw == "USDT" else raw),
    "reserve": partial(policy, "reserve"),
    "reserve as text": partial(text_of_policy, "reserve"),
    "share": partial(policy, "reserve_share"),
    "share as text": partial(text_of_policy, "plans.max_share"),
    "choose": lambda raw: policy("plans", {"choose": raw, "only": ["a"]}),
    "notice": partial(policy, "notice"),
    "auto_reinvest": partial(policy, "auto_reinvest"),
    "need": need,
    "by": lambda raw: policy("liquidity", [{"amount": "1", "by": raw}]),
    "region": partial(setting, "region"),
    "read_only": partial(setting, "read_only"),
    "max_move": partial(setting, "max_move"),
    "max_move of a ticker": lambda raw: setting(
        "max_move", raw if isinstance(raw, dict) or raw == "USDT" else {"USDT": raw}
    ),
    "allowed_tickers": partial(setting, "allowed_tickers"),
    "host": partial(setting, "host"),
    "host in eu": partial(setting, "host", extra={"region": "eu"}),
    "custom host": partial(setting, "host", extra={"allow_custom_host": True}),
}
WRONG = [
    *(None, "", " ", "x y", "?", 0, -1, 7, 1.5, 1e-8, 1e-300, 1e300, -0.5, 0.0, float("nan"), float("inf"), True),
    *(
        [],
        {},
        ["?"],
        "2026-01-31T00:00:00",
        "1e-08",
        "-5",
        "http://10.0.0.1",
        "http://whitebit.com",
        "http://whitebit.eu",
    ),
    *({"x y": 1}, {"USDT": "x"}, "{", "ftp://x", b"x", "maybe", "-0", "1,5"),
]


def suggested(text):
    """What an error text tells a person to write."""
    _, found, advice = " ".join(text.splitlines()).partition("rite ")
    if not found:
        return []
    if "{" in advice:
        return [json.loads(advice[advice.index("{") : advice.rindex("}") + 1])]
    if chosen := re.match(r"one of ([a-z_, ]+)\.", advice):
        return chosen[1].split(", ")
    if advice.startswith("true or false"):
        return ["true", "false"]
    return [
        *re.findall(r'"([^"]+)"', advice),
        *re.findall(r"like ([A-Z]{3,}(?:, [A-Z]+)*|[0-9][0-9T:+Z-]+)", advice),
        *re.findall(r"example ([0-9][0-9T:+Z-]+)", advice),
        *re.findall(r"(https://[a-z.0-9]+[a-z0-9])", advice),
    ]


def check(name, wrong):
    """Feed every suggestion back. Return them."""
    read = READERS[name]
    try:
        read(wrong)
    except WhiteBitError as error:
        found = suggested(str(error))
        for spelling in found:
            # Booleans of policies are JSON.
            read(spelling == "true" if name == "auto_reinvest" else spelling)
        return found
    return []


@pytest.mark.parametrize("name", READERS)
def test_suggestions_are_accepted(name):
    found = [spelling for wrong in WRONG for spelling in check(name, wrong)]
    assert found or name == "idempotency key"


@given(st.floats())
def test_suggestions_for_any_float_are_accepted(number):
    for name in ("amount", "limit of a sensor", "reserve", "reserve as text", "share", "share as text", "need"):
        if name.endswith("as text") and number - number != 0:
            continue
        assert check(name, number), name
