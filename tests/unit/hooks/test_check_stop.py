"""What a task finds out about a stop before it sends a move."""

from __future__ import annotations

import pytest

from airflow_provider_whitebit.client import errors as e
from airflow_provider_whitebit.hooks import airflow_compat, stores
from airflow_provider_whitebit.hooks.stop import check_stop, read_only_is_set
from airflow_provider_whitebit.moves.stop import Stop


@pytest.fixture
def variable(monkeypatch):
    """Sets what Airflow answers to a task: a text, ``None``, or an error."""
    monkeypatch.setattr(airflow_compat, "runs_for_airflow", lambda: True)

    def set_to(answer):
        def read(names):
            assert names == ["whitebit_stop"]
            if isinstance(answer, Exception):
                raise answer
            return {} if answer is None else {"whitebit_stop": answer}

        monkeypatch.setattr(stores, "stored_variables", read)

    set_to(None)
    return set_to


def test_nothing_is_stopped(variable):
    check_stop()


@pytest.mark.parametrize("text", ["", "false", Stop("jane", "why", None).to_text()])
def test_a_variable_stops_every_move(variable, text):
    variable(text)
    with pytest.raises(e.WhiteBitStoppedError, match="All moves are stopped") as caught:
        check_stop()
    assert caught.value.money_moved is False


@pytest.mark.parametrize("error", [OSError("down"), RuntimeError("API server"), KeyError("x")])
def test_without_an_answer_nothing_is_sent(variable, error):
    variable(error)
    with pytest.raises(e.WhiteBitUnavailableError) as caught:
        check_stop()
    assert str(caught.value).splitlines() == [
        "It is not known whether people have stopped all moves, so this one was not sent. The Airflow Variable could "
        f"not be read ({type(error).__name__}).",
        "No money moved.",
        "Next step: Run the task again when Airflow answers.",
    ]
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("name", "value", "stops"),
    [
        ("READ_ONLY", "True", e.WhiteBitStoppedError),
        ("READ_ONLY", "1", e.WhiteBitStoppedError),
        ("READ_ONLY", "t", e.WhiteBitStoppedError),
        ("READ_ONLY", "False", None),
        ("READ_ONLY", "0", None),
        ("READ_ONLY", "ture", e.WhiteBitConfigurationError),
        ("READ_ONLY", "yes please", e.WhiteBitConfigurationError),
        ("READONLY", "True", e.WhiteBitConfigurationError),
        ("READ_ONLY_CMD", "echo True", e.WhiteBitConfigurationError),
    ],
)
def test_the_configuration(variable, monkeypatch, name, value, stops):
    monkeypatch.setenv(f"AIRFLOW__WHITEBIT__{name}", value)
    if stops is None:
        check_stop()
        assert read_only_is_set() is False
        return
    with pytest.raises(stops, match=r"\[whitebit\]") as caught:
        check_stop()
    assert caught.value.money_moved is False
    assert caught.value.next_step


def test_outside_airflow_only_the_environment_counts(monkeypatch):
    monkeypatch.setattr(stores, "stored_variables", lambda names: pytest.fail("there is no database to ask"))
    check_stop()
    monkeypatch.setenv("AIRFLOW_VAR_WHITEBIT_STOP", "")
    with pytest.raises(e.WhiteBitStoppedError):
        check_stop()
