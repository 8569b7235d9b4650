"""The API server reads the spending logs that tasks have written."""

from __future__ import annotations

import json
from contextlib import nullcontext

import pytest
from treasury_rows import ACCOUNT, history, intent

from airflow_provider_whitebit.client.errors import WhiteBitJournalError
from airflow_provider_whitebit.control import spending
from airflow_provider_whitebit.hooks.journals import VariableSpendingLog


@pytest.fixture
def log(tables, monkeypatch):
    monkeypatch.setattr(spending, "create_session", lambda: nullcontext(tables.session))
    return spending.SpendingInDatabase(ACCOUNT)


def test_every_page_under_the_names_that_tasks_use(tables, log):
    assert log.read("limit|USDT").documents == []
    names = VariableSpendingLog(ACCOUNT)
    for number in (1, 2):
        tables.variable(names.name("limit|USDT", number), json.dumps(history(intent(f"int-{number}"))), "Moves")
    tables.variable(VariableSpendingLog("another").name("limit|USDT", 1), json.dumps(history(intent("other"))), "Moves")
    assert log.read("limit|USDT").documents == [history(intent("int-1")), history(intent("int-2"))]
    assert log.read("limit").documents == []


def test_a_damaged_page_is_no_empty_log(tables, log):
    tables.variable(VariableSpendingLog(ACCOUNT).name("limit", 1), "[]", "Moves")
    with pytest.raises(WhiteBitJournalError):
        log.read("limit")
