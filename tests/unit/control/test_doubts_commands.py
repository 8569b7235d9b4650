"""``doubts list``, ``show`` and ``resolve``: what they print, and how they fail."""

from __future__ import annotations

import json

import pytest
from test_doubts import desk, kept  # noqa: F401 - a fixture

from airflow_provider_whitebit.moves.doubts import RECORD_STEPS
from airflow_provider_whitebit.moves.resolution import Answer

pytestmark = pytest.mark.usefixtures("desk")


def test_the_list_as_json(run, desk):  # noqa: F811
    status, text = run("doubts", "list", "--output", "json")
    (row,) = json.loads(text)
    assert status == 0
    assert (row["id"], row["task"], row["run"]) == ("int-1", "desk.invest", "manual__1")
    assert row["move"].startswith("flex_invest 100.5 USDT")
    assert (row["sent"], row["steps"]) == ("2025-11-23T12:13:20Z", list(RECORD_STEPS))


def test_the_list_as_a_table(run, desk):  # noqa: F811
    assert "int-1" in run("doubts", "list")[1]
    desk.set_state("success")
    assert run("doubts", "list") == (0, "No move is in doubt.\n")
    assert json.loads(run("doubts", "list", "-o", "json")[1]) == []


def test_the_list_as_csv_has_its_headings_without_a_doubt_too(run, desk):  # noqa: F811
    heading, _ = run("doubts", "list", "-o", "csv")[1].splitlines()
    assert heading == "id,move,sent,task,run,connection,unreadable,steps"
    desk.set_state("success")
    assert run("doubts", "list", "-o", "csv") == (0, f"{heading}\n")


def test_one_move_with_the_evidence(run, desk):  # noqa: F811
    status, text = run("doubts", "show", "int-1")
    assert status == 0
    for part in ("Sent: 2025-11-23T12:13:20+00:00", "tx-1", "tx-2", "2 records remain", "--ran TRANSACTION"):
        assert part in text
    (found,) = json.loads(run("doubts", "show", "int-1", "-o", "json")[1])
    assert (found["id"], found["needs_person"]) == ("int-1", True)


def test_what_needs_no_person_is_kept(run, desk):  # noqa: F811
    from test_doubts import RECEIPT

    desk.tables.event(RECEIPT, run="manual__2")
    text = run("doubts", "show", "int-1")[1]
    assert "Records that belong to other moves are excluded: tx-2." in text
    assert "No person is needed" in text
    assert kept(desk).answer is Answer.EXPLAINED


def test_an_answer(run, desk):  # noqa: F811
    status, text = run("doubts", "resolve", "int-1", "--ran", "tx-2", "--reason", "Seen")
    assert (status, kept(desk).reference, kept(desk).resolved_by) == (0, "tx-2", "jane")
    assert "jane says that move int-1 ran. It is tx-2." in text
    assert "Clear the task: task invest of desk, run manual__1." in text
    assert "Answered at" in run("doubts", "show", "int-1")[1]


def test_it_did_not_run(run, desk):  # noqa: F811
    assert run("doubts", "resolve", "int-1", "--did-not-run", "--reason", "Not seen")[0] == 0
    assert kept(desk).answer is Answer.DID_NOT_RUN


def test_an_answer_about_the_evidence_that_was_shown(run, desk):  # noqa: F811
    from test_doubts import trace

    (found,) = json.loads(run("doubts", "show", "int-1", "-o", "json")[1])
    answer = ("doubts", "resolve", "int-1", "--did-not-run", "--seen", found["mark"], "--reason", "Not seen")
    assert f"--did-not-run --seen {found['mark']} --reason" in run("doubts", "show", "int-1")[1]
    desk.traces.append(trace("tx-3", seconds=3))
    assert "The evidence has changed since you saw it. Nothing was changed." in run(*answer)[0]
    assert kept(desk) is None
    desk.traces.pop()
    assert run(*answer)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["int-1"], "Say either --ran or --did-not-run"),
        (["int-1", "--ran", "tx-1", "--did-not-run"], "Say either --ran or --did-not-run"),
        (["int-1", "--ran"], "Which record is this move?"),
        (["int-1", "--ran", "tx-5"], "none of the records"),
        (["int-9", "--did-not-run"], "No move 'int-9' is known"),
    ],
    ids=str,
)
def test_refused(run, desk, arguments, why):  # noqa: F811
    status, _ = run("doubts", "resolve", *arguments, "--reason", "x")
    assert why in str(status)
    assert "Nothing was changed." in status
    assert kept(desk) is None
