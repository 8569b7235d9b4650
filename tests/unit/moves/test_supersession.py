"""What a task has made, or may have made, under the key of a failed move or plan."""

from __future__ import annotations

import pytest

from airflow_provider_whitebit.client import errors
from tests.protocol_script import Script, executed, history, in_doubt, record

REFUSAL = errors.WhiteBitNotEnoughBalanceError("Not enough.", status=422)


def refused_beside(script, key):
    """The error of a move that comes after a failed one, and the transactions that it names."""
    with pytest.raises(errors.WhiteBitNotEnoughBalanceError, match="its move 'later' was not sent") as caught:
        script.run(failed={key: REFUSAL}, key="later")
    assert "Send" not in script.done
    return caught.value.money_moved, [one["transaction_id"] for one in caught.value.completed_moves]


def plan_of(highest, **given):
    script = Script(answers=["tx_1"], **given)
    script.journals["plan"] = [{"version": 1, "highest": highest}]
    return script


@pytest.mark.parametrize(
    ("records", "expected"),
    [([record("tx_late")], (True, ["tx_late"])), ([record(amount="26")], (None, []))],
)
@pytest.mark.parametrize("key", ["failed", "plan.0"])
def test_the_record_of_a_failed_move_may_appear_late(records, expected, key):
    """It was found absent. What appears is its own, or unclear."""
    absent = {"failed": history(in_doubt().found_absent()), "plan.2": history(in_doubt().found_absent())}
    assert refused_beside(plan_of(2, others=absent, records=records), key) == expected


def test_without_a_late_record_the_later_move_is_made():
    script = Script(answers=["tx_1"], others={"failed": history(in_doubt().found_absent())})
    assert script.run(failed={"failed": REFUSAL}, key="later").transaction_id == "tx_1"


def test_all_moves_of_a_failed_plan_count():
    others = {
        "plan.1": history(executed()),
        "plan.2": history(in_doubt().found_absent()),
        "plan.3": history(in_doubt()),
    }
    assert refused_beside(plan_of(2, others=others, records=[record("tx_late")]), "plan.0") == (
        True,
        ["tx_old", "tx_late"],
    )
    # One of them is in doubt.
    assert refused_beside(plan_of(3, others=others), "plan.0") == (None, ["tx_old"])


def test_a_plan_without_moves_is_none():
    script = Script(answers=["tx_1"], others={"plan.1": history(executed())})
    assert script.run(failed={"plan.0": REFUSAL}, key="later").transaction_id == "tx_1"


def test_what_an_earlier_version_of_the_task_made_as_one_move_is_found_under_the_plans_key():
    script = Script(answers=["tx_1"], others={"plan": history(executed())})
    assert refused_beside(script, "plan.0") == (True, ["tx_old"])


def test_a_move_that_a_plan_superseded_looks_at_the_plans_moves():
    script = plan_of(1, journal=[in_doubt().last_refused()], others={"plan.1": history(executed())})
    script.journals[""].append(history().superseded("plan.0", REFUSAL).to_json())
    with pytest.raises(errors.WhiteBitNotEnoughBalanceError, match=r"went on to its move 'plan\.0'") as caught:
        script.run()
    assert caught.value.money_moved is True
    assert "Send" not in script.done


def test_a_move_whose_key_looks_like_that_of_a_plan_is_found_under_its_own_key():
    script = Script(answers=["tx_1"], others={"step.0": history(executed())})
    assert refused_beside(script, "step.0") == (True, ["tx_old"])


@pytest.mark.parametrize(("key", "journal"), [("", "memory"), ("failed", r"memory\.failed")])
def test_a_journal_that_cannot_be_read_is_named(key, journal):
    script = Script()
    script.journals[key] = [{"version": 99}]
    with pytest.raises(errors.WhiteBitInDoubtError, match=f"The journal '{journal}' holds"):
        script.run(failed={"failed": REFUSAL}, key="later")
