"""How long parsing a DAG file takes, as the DAG processor does it: in a process of its own, with serialisation.

The same DAGs are parsed twice: with this package's operators, and with operators that only have as many parameters and
template fields, on Airflow's own base classes. ``parsing.py FILE`` parses one file and prints how long that took.

A file of few DAGs is mostly its fixed start. So the cost of each further DAG is measured too, from the difference of
the two largest files.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import sys
import time
from pathlib import Path
from typing import Any

from figure import REPO, Figure, child, command

ROUNDS = 5
DAGS = (1, 10, 100)
#: Most that a further DAG may take, against the same DAG with Airflow's own operators.
GOAL = 1.25
HEADER = """
from airflow.sdk import BaseOperator, BaseSensorOperator
from airflow.triggers.base import BaseEventTrigger
class Trigger(BaseEventTrigger):
    def __init__(self, **ignored):
        super().__init__()
    def serialize(self):
        return "bench.Trigger", {}
    async def run(self):
        yield
"""


def parse(file: Path) -> dict[str, object]:
    """Milliseconds of one file, and how many DAGs are in it."""
    import airflow.sdk  # noqa: F401
    from airflow.dag_processing.processor import (
        DagFileParseRequest,
        _parse_file,  # type: ignore[attr-defined]
        _pre_import_airflow_modules,  # type: ignore[attr-defined]
    )
    from structlog import get_logger

    request = DagFileParseRequest(file=str(file), bundle_path=file.parent, bundle_name="bench")
    _pre_import_airflow_modules(str(file), get_logger())
    begin = time.process_time()
    result = _parse_file(request, get_logger())
    taken = time.process_time() - begin
    if result is None or result.import_errors:
        raise RuntimeError(f"{file} cannot be parsed: {result and result.import_errors}")
    return {"ms": taken * 1000, "dags": len(result.serialized_dags)}


def examples() -> str:
    """All example DAGs in one file."""
    future, sources = "from __future__ import annotations\n", []
    for file in sorted((REPO / "dags_examples").glob("*.py")):
        here = f"__file__ = {str(file)!r}\n"
        sources.append(here + file.read_text().replace(future, ""))
    return future + "\n".join(sources)


def chain(count: int) -> str:
    """This many DAGs of the four steps."""
    return f"""
from airflow.sdk import DAG
from airflow_provider_whitebit.operators.flex import (
    WhiteBitFlexInvestmentsOperator, WhiteBitFlexInvestOperator, WhiteBitFlexPlansOperator, WhiteBitFlexWithdrawOperator
)
for number in range({count}):
    with DAG(f"bench_{{number}}", schedule=None) as dag:
        plans = WhiteBitFlexPlansOperator(task_id="plans", ticker="USDT")
        invest = WhiteBitFlexInvestOperator(task_id="invest", ticker="USDT", amount="100")
        status = WhiteBitFlexInvestmentsOperator(task_id="status", plan_id=invest.output["plan_id"])
        withdraw = WhiteBitFlexWithdrawOperator(task_id="withdraw", plan_id=invest.output["plan_id"], amount="all")
        plans >> invest >> status >> withdraw
    globals()[f"dag_{{number}}"] = dag
"""


def without(source: str) -> str:
    """The same DAGs and tasks, with operators that have as many parameters and do nothing."""
    lines = source.splitlines()
    for node in reversed(ast.parse(source).body):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("airflow_provider_whitebit"):
            module = importlib.import_module(node.module or "")
            names = [alias.name for alias in node.names]
            lines[node.lineno - 1 : node.end_lineno] = [_plain(name, getattr(module, name)) for name in names]
    future = "from __future__ import annotations"
    return f"{future}\n{HEADER}" + "\n".join(line for line in lines if line != future) + "\n"


def _plain(name: str, known: Any) -> str:
    """Source that replaces one name of this package."""
    if name.endswith("Trigger"):
        return f"{name} = Trigger"
    if inspect.isfunction(known):
        return f"def {name}():\n    return {known()!r}"
    if not name.endswith(("Operator", "Sensor")):
        return f"{name} = ''"
    own = [one.name for one in inspect.signature(known.__init__).parameters.values() if one.kind is one.KEYWORD_ONLY]
    base = "BaseSensorOperator" if name.endswith("Sensor") else "BaseOperator"
    return "\n".join(
        (
            f"class {name}({base}):",
            f"    template_fields = {tuple(field for field in known.template_fields if field in own)}",
            f"    def __init__(self, *, {', '.join(f'{one}=None' for one in own)}, **kwargs):",
            "        super().__init__(**kwargs)",
            *(f"        self.{one} = {one}" for one in own),
        )
    )


def measured(home: Path, name: str, source: str) -> tuple[float, float, int]:
    """Milliseconds with this package and without it, the least of rounds that take turns, and the number of DAGs."""
    folder = home / "parsed"
    folder.mkdir(exist_ok=True)
    file, plain = folder / f"{name}.py", folder / f"{name}_plain.py"
    file.write_text(source)
    plain.write_text(without(source))
    turns = [[child("parsing.py", one, home=home) for one in (file, plain)] for _ in range(ROUNDS)]
    ours, bare = (min(turn[at]["ms"] for turn in turns) for at in (0, 1))
    if turns[0][0]["dags"] != turns[0][1]["dags"]:
        raise RuntimeError("both files must have the same DAGs")
    return ours, bare, turns[0][0]["dags"]


def figures(home: Path) -> list[Figure]:
    """Milliseconds of the examples, and what one more DAG of four tasks takes."""
    ours, plain, dags = measured(home, "examples", examples())
    name = f"all {dags} example DAGs in one file"
    found = [
        Figure(name, ours, "ms"),
        Figure(f"{name}, with Airflow's own operators", plain, "ms"),
        Figure("what the package adds to it", ours - plain, "ms"),
    ]
    chains = {}
    for count in DAGS:
        ours, plain, _ = chains[count] = measured(home, f"chain_{count}", chain(count))
        found.append(Figure("DAGs of four tasks in one file", ours / count, "ms/DAG", count, "DAGs"))
        found.append(Figure("the same with Airflow's own operators", plain / count, "ms/DAG", count, "DAGs"))
    _, less, most = DAGS
    ours, plain = ((chains[most][at] - chains[less][at]) / (most - less) for at in (0, 1))
    found.append(Figure("each further DAG of four tasks", ours, "ms/DAG"))
    found.append(Figure("each further DAG, with Airflow's own operators", plain, "ms/DAG"))
    against = "each further DAG against Airflow's own operators with as many parameters"
    return [*found, Figure(against, ours / plain, "ratio", goal=GOAL)]


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].endswith(".py"):
        print(json.dumps(parse(Path(sys.argv[1]))))
    else:
        command(figures)
