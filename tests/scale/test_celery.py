"""Many moves at once on Celery while workers, broker and database are killed: each moves its money once."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections import Counter
from decimal import Decimal

import pytest

from tests.scale.chaos import Chaos
from tests.scale.conftest import CONNECTIONS, OWN, PLANS, SHARED
from tests.scale.person import Person

MOVES = int(os.environ.get("WHITEBIT_MOVES", "20"))
SEED = int(os.environ.get("WHITEBIT_SEED", "1"))
#: With so many moves everything goes wrong once, with more again and again.
FEW = 40
DAG = "whitebit_scale"
FAULTS = ("lost_reply_after", "lost_reply_before", "error_500_after", "duplicate", "duplicate_reply", "unavailable")
INVEST, WITHDRAW = OPERATIONS = ("invest", "withdraw")
#: Moves that look alike and are wanted in the same moment: each waits some six seconds for the one before.
ALIKE = 3


def wanted_moves(chance):
    """Half invests, half withdrawals; half with keys of their own, half with a shared key; most look alike."""
    each = MOVES // 4
    wanted = {name: [] for name in OPERATIONS}
    plans = PLANS[: max(1, each // 10)]
    sharing = [name for name, key in CONNECTIONS.items() if key == SHARED]
    alone = [name for name, key in CONNECTIONS.items() if key != SHARED]
    for moves in wanted.values():
        for number in range(each):
            plan = plans[number // ALIKE % len(plans)]
            moves.append({"whitebit_conn_id": sharing[number % len(sharing)], "plan_id": plan})
            moves.append({"whitebit_conn_id": alone[number // ALIKE % len(alone)], "plan_id": plan})
        for number, move in enumerate(moves):
            move |= {"amount": "10", "deferrable": number % 4 < 2}
    # Those that look alike stay close together, or they would rarely meet.
    for name, moves in wanted.items():
        groups = [moves[first : first + 2 * ALIKE] for first in range(0, len(moves), 2 * ALIKE)]
        chance.shuffle(groups)
        wanted[name] = [move for group in groups for move in group]
    return wanted


def begin_with_something_invested(cluster, monkeypatch):
    """So that there is something to withdraw."""
    from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook

    for name in (*(own.replace("-", "_") for own in OWN), "shared_0"):
        variable = f"AIRFLOW_CONN_{name.upper()}"
        monkeypatch.setenv(variable, cluster.env[variable])
        for plan in PLANS:
            WhiteBitHook(name).flex_invest(plan_id=plan, amount="5000")


def made(cluster):
    """The transactions that the exchange made because somebody asked for them."""
    return {
        entry["transaction_id"]: entry
        for entry in cluster.sandbox.ledger()["transactions"]
        if entry["nonce"] is not None
    }


def figures(cluster, chaos, person, instances, seconds):
    """What happened in a run, for whoever reads the test's output."""
    tries = [instance["try_number"] for instance in instances if instance["map_index"] >= 0]
    found = {
        name: len(log_entries(cluster, name))
        for name in ("heartbeat timeout", "stuck in queued reschedule", "state mismatch")
    }
    yield f"{len(tries)} moves, seed {SEED}: {seconds:.0f} s; {sum(tries)} tries, most for one move {max(tries)}"
    yield f"{chaos.processes_killed} processes killed; {dict(chaos.done)}"
    yield f"ended by themselves {dict(cluster.ended_by_themselves)}; found by Airflow {found}"
    yield f"done by hand {dict(person.did)}"


def log_entries(cluster, event):
    path = f"/api/v2/eventLogs?event={event.replace(' ', '%20')}&dag_id={DAG}&limit=100"
    found = []
    while True:
        page = cluster.api.call("GET", f"{path}&offset={len(found)}")
        found += page["event_logs"]
        if not page["event_logs"] or len(found) >= page["total_entries"]:
            return found


def to_the_end(cluster, chaos, person, run_id):
    """Let things go wrong until the run has ended well."""
    pace = (1, 4) if MOVES <= FEW else (8, 22)
    due = chaos.round()
    moment = time.monotonic() + chaos.chance.uniform(*pace)
    deadline = time.monotonic() + 240 + 6 * MOVES
    while True:
        assert time.monotonic() < deadline, states(cluster, run_id)
        cluster.keep_up()
        chaos.tend()
        if time.monotonic() >= moment:
            for name in due:
                if chaos.happen(name):
                    due.remove(name)
                    break
            if not due and MOVES > FEW:
                due = chaos.round()
            moment = time.monotonic() + chaos.chance.uniform(*pace)
        with contextlib.suppress(OSError):
            reached = cluster.api.call("GET", f"/api/v2/dags/{DAG}/dagRuns/{run_id}")["state"]
            if reached == "success":
                return
            if reached == "failed":
                person.attend()
        time.sleep(0.5)


def states(cluster, run_id):
    return Counter((instance["task_id"], instance["state"]) for instance in cluster.tasks(DAG, run_id))


@pytest.mark.skipif(MOVES < 20 or MOVES % 4, reason="WHITEBIT_MOVES is a multiple of 4, at least 20")
def test_every_move_is_made_once_whatever_is_killed(cluster, monkeypatch, capsys):
    wanted = wanted_moves(random.Random(SEED))
    begin_with_something_invested(cluster, monkeypatch)
    before = made(cluster)
    accounts = cluster.sandbox.ledger()["accounts"]
    for name in OPERATIONS:
        for fault in FAULTS:
            cluster.sandbox.fault(fault, path=f"*/investments/{name}", probability="0.06")
    begin = time.monotonic()
    run_id = cluster.begin(DAG, wanted)
    chaos, person = Chaos(cluster, SEED), Person(cluster, DAG, run_id)
    with capsys.disabled():
        print(f"\n{MOVES} moves on Celery, seed {SEED}")
    try:
        to_the_end(cluster, chaos, person, run_id)
    finally:
        chaos.settle()
    seconds = time.monotonic() - begin
    cluster.api.wait("a healthy Airflow", cluster.healthy, 240)
    cluster.sandbox.clear_faults()
    instances = cluster.tasks(DAG, run_id)
    with capsys.disabled():
        print("\n".join(f"  {line}" for line in figures(cluster, chaos, person, instances, seconds)))
    assert {instance["state"] for instance in instances} == {"success"}
    for what in ("worker", "broker", "database"):
        assert any(name.startswith(what) for name in chaos.done), f"no {what} was killed: {chaos.done}"
    once(cluster, person, wanted, before, accounts)


def once(cluster, person, wanted, before, accounts):
    """The books hold what was wanted, each move once, and every receipt is its own task's."""
    books = cluster.sandbox.ledger()
    assert books["balanced"]
    new = {name: entry for name, entry in made(cluster).items() if name not in before}
    told = {
        (name, number): person.receipt(name, number) for name, moves in wanted.items() for number in range(len(moves))
    }
    named = Counter(receipt["transaction_id"] for receipt in told.values())
    assert not [name for name, count in named.items() if count > 1], "two tasks claim one transaction"
    assert set(named) == set(new), "a receipt without a record, or a record without a receipt"
    assert len(new) == sum(map(len, wanted.values()))
    change = Counter()
    for (name, number), receipt in told.items():
        move = wanted[name][number]
        record = new[receipt["transaction_id"]]
        key = CONNECTIONS[move["whitebit_conn_id"]]
        assert record["account"].endswith(key), (move, record)
        assert (record["action"] in (1, 6)) == (name == INVEST), (move, record)
        assert (record["plan"], Decimal(record["amount"])) == (move["plan_id"], Decimal(move["amount"])), (move, record)
        if (name, number) not in person.marked:
            assert (receipt["plan_id"], receipt["amount"]) == (move["plan_id"], move["amount"]), (move, receipt)
        change[f"main:{key}"] += Decimal(move["amount"]) * (-1 if name == INVEST else 1)
    for account in (f"main:{key}" for key in (*OWN, SHARED)):
        # A run over midnight is paid interest.
        earned = sum(
            Decimal(entry["amount"])
            for entry in books["transactions"]
            if entry["action"] == 4 and account.endswith(entry["account"])
        )
        held = Decimal(books["accounts"][account]["USDT"])
        assert held == Decimal(accounts[account]["USDT"]) + change[account] + earned, account
