"""What parsing a DAG file takes, in the way the DAG processor parses it: in a process of its own, with serialisation.

The file with operators of this package against the same DAGs and tasks without any. ``parsing.py FILE`` parses one
file and says how long that took.

Of a file of few DAGs nearly all is its fixed start, which the cost of one DAG then shares out: so that of each further
DAG is given as well, from the difference of the two largest files. The examples have no load: they are what they are.
"""

from __future__ import annotations

import ast
import json
import statistics
import sys
import time
from pathlib import Path

from figure import REPO, Figure, child, command

ROUNDS = 3
DAGS = (1, 10, 100)
#: What a file without this package has in place of its names.
PLAIN = """
from airflow.sdk import BaseOperator
from airflow.triggers.base import BaseEventTrigger
class Operator(BaseOperator):
    def __init__(self, *, task_id, policy=None, whitebit_conn_id="", **ignored):
        super().__init__(task_id=task_id)
class Trigger(BaseEventTrigger):
    def __init__(self, **ignored):
        super().__init__()
    def serialize(self):
        return "bench.Trigger", {}
    async def run(self):
        yield
def policy_schema():
    return {"type": "object"}
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
    future, told = "from __future__ import annotations\n", []
    for file in sorted((REPO / "dags_examples").glob("*.py")):
        here = f"__file__ = {str(file)!r}\n"
        told.append(here + file.read_text().replace(future, ""))
    return future + "\n".join(told)


def chain(count: int) -> str:
    """So many DAGs of the four steps."""
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
    """The same DAGs and tasks; what comes from this package does nothing."""
    lines = source.splitlines()
    for node in reversed(ast.parse(source).body):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("airflow_provider_whitebit"):
            told = [f"{alias.name} = {_plain(alias.name)}" for alias in node.names if alias.name != "policy_schema"]
            lines[node.lineno - 1 : node.end_lineno] = told
    future = "from __future__ import annotations"
    return f"{future}\n{PLAIN}" + "\n".join(line for line in lines if line != future) + "\n"


def _plain(name: str) -> str:
    return next((kind for kind in ("Operator", "Trigger") if name.endswith(kind)), "''")


def measured(home: Path, name: str, source: str) -> tuple[float, float, int]:
    """Milliseconds with and without this package, medians of rounds that take turns, and the number of DAGs."""
    folder = home / "parsed"
    folder.mkdir(exist_ok=True)
    file, plain = folder / f"{name}.py", folder / f"{name}_plain.py"
    file.write_text(source)
    plain.write_text(without(source))
    turns = [[child("parsing.py", one, home=home) for one in (file, plain)] for _ in range(ROUNDS)]
    ours, bare = (statistics.median(turn[at]["ms"] for turn in turns) for at in (0, 1))
    if turns[0][0]["dags"] != turns[0][1]["dags"]:
        raise RuntimeError("both files must have the same DAGs")
    return ours, bare, turns[0][0]["dags"]


def figures(home: Path) -> list[Figure]:
    """Milliseconds of the examples, and what one more DAG of four tasks takes."""
    ours, plain, dags = measured(home, "examples", examples())
    name = f"all {dags} example DAGs in one file"
    found = [
        Figure(name, ours, "ms"),
        Figure(f"{name}, without this package", plain, "ms"),
        Figure("what the package adds to it", ours - plain, "ms"),
    ]
    chains = {}
    for count in DAGS:
        ours, plain, _ = chains[count] = measured(home, f"chain_{count}", chain(count))
        found.append(Figure("DAGs of four tasks in one file", ours / count, "ms/DAG", count, "DAGs"))
        found.append(Figure("the same without this package", plain / count, "ms/DAG", count, "DAGs"))
    _, less, most = DAGS
    for at, name in enumerate(("each further DAG of four tasks", "each further DAG, without this package")):
        found.append(Figure(name, (chains[most][at] - chains[less][at]) / (most - less), "ms/DAG"))
    return found


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].endswith(".py"):
        print(json.dumps(parse(Path(sys.argv[1]))))
    else:
        command(figures)
