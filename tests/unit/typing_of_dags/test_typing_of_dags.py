"""What type checkers and ``help()`` say about a user's DAG: every mistake is found, and correct DAGs are clean."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import pydoc
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import airflow.sdk
import pytest
from airflow.sdk import BaseOperator, BaseSensorOperator

from airflow_provider_whitebit import get_provider_info
from airflow_provider_whitebit.operators import arguments

REPO = Path(__file__).parents[3]
SAMPLES = Path(__file__).parent
EXAMPLES = sorted((REPO / "dags_examples").glob("*.py"))
FILES = [SAMPLES / "correct.py", SAMPLES / "wrong.py", *EXAMPLES]
#: Parameters that Airflow has since 3.3; older versions refuse them at run time.
NEW_IN_3_3 = {"retry_policy", "render_template_as_native_obj"}
#: Airflow converts a mapping to a ParamsDict with an attrs converter, which pyright does not see.
FAULT_OF_AIRFLOW = '"ParamsDict"'


NEWEST = pytest.mark.skipif(not hasattr(airflow.sdk, "RetryPolicy"), reason="the types are those of Airflow 3.3")


def run(*command: str) -> str:
    environment = os.environ | {"MYPYPATH": str(REPO), "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, env=environment)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def pyright(folder: Path) -> dict[str, dict[int, str]]:
    config = {
        "include": list(map(str, FILES)),
        "typeCheckingMode": "basic",
        "extraPaths": [str(REPO)],
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(config))
    report = json.loads(
        run(
            *(sys.executable, "-m", "basedpyright", "-p", str(folder), "--outputjson"),
            *("--pythonpath", sys.executable, "--level", "error"),
        )
    )
    assert report["summary"]["filesAnalyzed"] == len(FILES)
    found: dict[str, dict[int, str]] = {}
    for one in report["generalDiagnostics"]:
        if one["severity"] == "error" and FAULT_OF_AIRFLOW not in one["message"]:
            found.setdefault(Path(one["file"]).name, {})[one["range"]["start"]["line"] + 1] = one["message"]
    return found


def mypy(folder: Path) -> dict[str, dict[int, str]]:
    cache_dir = str(REPO / ".mypy_cache" / "dags")
    empty = folder / "mypy.ini"
    empty.write_text("[mypy]\n")
    output = run(
        *(sys.executable, "-m", "mypy", "--config-file", str(empty), "--cache-dir", cache_dir),
        *("--no-error-summary", "--hide-error-context", "--follow-imports=silent", *map(str, FILES)),
    )
    found: dict[str, dict[int, str]] = {}
    for path, line, message in re.findall(r"^(.+?):(\d+): error: (.+)$", output, re.MULTILINE):
        found.setdefault(Path(path).name, {})[int(line)] = message
    return found


CHECKERS = {"pyright": pyright, "mypy": mypy}


@pytest.fixture(scope="module")
def errors(tmp_path_factory):
    """The errors of a checker in all files, by file and line. Each checker runs once."""
    return cache(lambda checker: CHECKERS[checker](tmp_path_factory.mktemp(checker)))


@NEWEST
@pytest.mark.slow
@pytest.mark.parametrize("checker", CHECKERS)
def test_every_mistake_is_found(errors, checker):
    lines = (SAMPLES / "wrong.py").read_text().splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}
    assert len(wrong) > 30
    assert set(errors(checker)["wrong.py"]) == wrong


@NEWEST
@pytest.mark.slow
@pytest.mark.parametrize("checker", CHECKERS)
def test_nothing_is_found_in_correct_dags(errors, checker):
    assert {name: found for name, found in errors(checker).items() if name != "wrong.py"} == {}


@NEWEST
def test_the_correct_dags_can_be_parsed():
    sys.path.insert(0, str(SAMPLES))
    try:
        assert len(importlib.import_module("correct").dag.tasks) > 30
    finally:
        sys.path.remove(str(SAMPLES))


#: They have no instances of their own.
BASES = {"WhiteBitPlanOperator", "WhiteBitSensor"}
#: They ask people. Which connection a move in doubt was sent with is in the task's report.
WITHOUT_CONNECTION = {"WhiteBitApprovalOperator", "WhiteBitDoubtOperator"}


def public_classes():
    for group in ("operators", "sensors", "triggers"):
        for entry in get_provider_info()[group]:
            for name in entry["python-modules"]:
                for kind in vars(importlib.import_module(name)).values():
                    own = inspect.isclass(kind) and kind.__module__ == name
                    if own and kind.__name__.startswith("WhiteBit") and kind.__name__ not in BASES:
                        yield kind


CLASSES = list(public_classes())


@pytest.mark.parametrize(
    "kind", [kind for kind in CLASSES if kind.__name__ not in BASES], ids=lambda kind: kind.__name__
)
def test_help_shows_and_explains_every_parameter(kind):
    parameters = inspect.signature(kind.__init__).parameters
    text = pydoc.plain(pydoc.render_doc(kind))
    for name, parameter in list(parameters.items())[1:]:
        assert parameter.annotation is not parameter.empty, name
        assert name in text
        assert f":param {name}:" in (kind.__doc__ or ""), name
    documented = re.findall(r":param (\w+):", kind.__doc__ or "")
    assert set(documented) == set(parameters) - {"self"}
    if issubclass(kind, BaseOperator):
        assert ("whitebit_conn_id" in parameters) is (kind.__name__ not in WITHOUT_CONNECTION)
        keywords = "BaseSensorKwargs" if issubclass(kind, BaseSensorOperator) else "BaseOperatorKwargs"
        assert parameters["kwargs"].annotation == f"Unpack[{keywords}]"
        assert set(kind.template_fields) <= set(parameters)


@pytest.mark.parametrize(
    ("keywords", "operator", "inherited"),
    [
        (arguments.BaseOperatorKwargs, BaseOperator, set()),
        (arguments.BaseSensorKwargs, BaseSensorOperator, set(arguments.BaseOperatorKwargs.__annotations__)),
    ],
)
def test_the_keywords_are_those_of_the_installed_airflow(keywords, operator, inherited):
    parameters = {
        name
        for name, parameter in inspect.signature(operator.__init__).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    assert parameters <= set(keywords.__annotations__)
    newer = set(keywords.__annotations__) - inherited - parameters
    assert newer <= (set() if "retry_policy" in parameters | inherited else NEW_IN_3_3)
