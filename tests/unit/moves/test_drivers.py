"""The blocking driver: which API key an execution uses."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_provider_whitebit.client import errors
from airflow_provider_whitebit.moves import drivers, effects
from airflow_provider_whitebit.moves.execution import ApiKey
from tests.protocol_script import MOVE, executed, execution, history, in_doubt

PREVIOUS = ApiKey(None, "old", "", None)


@pytest.mark.parametrize("previous", [None, PREVIOUS])
@pytest.mark.parametrize("later", [in_doubt(account="old"), in_doubt(account="old").last_refused()])
def test_a_move_that_another_run_begins_meanwhile_is_finished_with_its_own_key(monkeypatch, previous, later):
    used = []

    def execute(execution):
        used.append(execution.api_key.fingerprint)
        if used[-1] == "old":
            return executed(account="old").receipt
        execution.journal.write(history(later).to_json())
        raise errors.WhiteBitInDoubtError("sent with another API key", intent_id=later.id)
        yield

    monkeypatch.setattr(drivers.protocol, "execute", execute)
    if previous is None:
        with pytest.raises(errors.WhiteBitInDoubtError):
            drivers.execute_move(execution(account="new"))
    else:
        assert drivers.execute_move(execution(account="new", previous_key=previous)).transaction_id == "tx_old"
    assert used == ["new", "old"][: 1 if previous is None else 2]


def test_a_doubt_that_names_no_move_is_not_repeated_with_the_previous_key(monkeypatch):
    used = []

    def execute(execution):
        used.append(execution.api_key.fingerprint)
        raise errors.WhiteBitInDoubtError("the journal cannot be read")
        yield

    monkeypatch.setattr(drivers.protocol, "execute", execute)
    with pytest.raises(errors.WhiteBitInDoubtError, match="cannot be read"):
        drivers.execute_move(execution(account="new", previous_key=PREVIOUS))
    assert used == ["new"]


def test_records_of_every_action_are_read():
    """An action with an unknown number may be the move, so the exchange must not leave it out."""
    asked = []

    def flex_history(*, on_unreadable, **filters):
        asked.append(filters)
        on_unreadable("a record that cannot be read")
        return []

    client = SimpleNamespace(flex_history=flex_history)
    assert drivers.ask_exchange(client, effects.ReadRecords(MOVE, 1)) == ["a record that cannot be read"]
    assert asked == [{"plan": MOVE.plan_id, "date_from": 1, "strict": True}]
