from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import airflow_provider_whitebit
from airflow_provider_whitebit.hooks.connection_form import FIELDS, conn_fields, ui_behaviour

DESIGNED = {
    "region",
    "timeout",
    "read_only",
    "max_move",
    "allowed_tickers",
    "allowed_operations",
    "max_per_day",
    "max_moves_per_hour",
    "nonce_window",
    "reconcile_margin",
    "verify_tls",
    "allow_custom_host",
    "previous_conn_id",
}


def test_the_form_has_the_designed_fields():
    assert {entry.name for entry in FIELDS} == set(conn_fields()) == DESIGNED
    assert conn_fields()["region"]["schema"]["enum"] == ["global", "eu"]
    assert ui_behaviour()["relabeling"]["login"] == "API key"


def test_provider_info():
    info = airflow_provider_whitebit.get_provider_info()
    [connection] = info["connection-types"]
    assert connection["connection-type"] == "whitebit"
    module, _, name = connection["hook-class-name"].rpartition(".")
    hook = getattr(__import__(module, fromlist=[name]), name)
    assert (hook.conn_type, hook.conn_name_attr, hook.default_conn_name) == (
        "whitebit",
        "whitebit_conn_id",
        "whitebit_default",
    )
    for group in ("hooks", "operators", "sensors", "triggers"):
        for entry in info[group]:
            for python_module in entry["python-modules"]:
                __import__(python_module)


def test_entry_points():
    [provider] = [entry for entry in entry_points(group="apache_airflow_provider") if "whitebit" in entry.value]
    assert provider.load() is airflow_provider_whitebit.get_provider_info
    assert any("whitebit" in entry.value for entry in entry_points(group="pytest11"))


def test_airflow_accepts_it():
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    assert "airflow-provider-whitebit" in manager.providers
    assert manager.hooks["whitebit"].hook_name == "WhiteBIT"


def test_provider_info_imports_nothing_heavy():
    source = (
        "import sys; import airflow_provider_whitebit as p; p.get_provider_info(); "
        "print([m for m in sys.modules if m.split('.')[0] in ('airflow', 'requests', 'pendulum', 'fastapi')])"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_operators_import_only_airflow_at_parse_time():
    source = (
        "import sys; import airflow.sdk; from airflow.sdk import BaseOperator; before = set(sys.modules); "
        "import airflow_provider_whitebit.operators.flex, airflow_provider_whitebit.operators.account, "
        "airflow_provider_whitebit.operators.treasury, airflow_provider_whitebit.operators.forecast, "
        "airflow_provider_whitebit.operators.digest; "
        "own = ('airflow_provider_whitebit', 'airflow.sdk.'); "
        "print(sorted(m for m in set(sys.modules) - before if not m.startswith(own)))"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_every_module_of_operators_sensors_and_triggers_is_listed():
    root = Path(airflow_provider_whitebit.__file__).parent
    inner = {"arguments", "base", "parameters", "export", "files", "filters", "links", "mapping", "people", "retries"}
    inner |= {"polls", "state_store", "book_files", "periods"}
    for room, key in (("operators", "operators"), ("sensors", "sensors"), ("triggers", "triggers")):
        listed = {
            name for entry in airflow_provider_whitebit.get_provider_info()[key] for name in entry["python-modules"]
        }
        there = {file.stem for file in (root / room).glob("*.py")} - {"__init__"} - inner
        assert listed == {f"airflow_provider_whitebit.{room}.{name}" for name in there}
