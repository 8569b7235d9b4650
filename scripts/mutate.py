"""``make mutate``: change the modules that keep a move from running twice, and see whether the fast tests notice.

mutmut makes the changes (*mutants*) and runs the tests that reach each one (``[tool.mutmut]`` in ``pyproject.toml``).
This script leaves out changes of wording, and compares what survived with ``tests/mutation/explained.txt``.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import resource
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parent.parent
EXPLAINED = REPO / "tests" / "mutation" / "explained.txt"
#: How many mutants may survive without an explanation.
LIMIT = 0.02
#: Tests of one mutant may take this much memory: some mutants never stop collecting.
MEMORY = 4 << 30
#: Worlds of the short simulation (``tests/simulation/test_once.py``).
SEEDS = "250"
#: Keyword arguments that hold wording, or only check what the types promise.
IMMATERIAL = {"next_step", "strict"}
#: Methods whose argument is compared with data, so that it is no wording.
COMPARING = {"startswith", "endswith", "removeprefix", "removesuffix", "split", "partition"}


class WithoutWording(ast.NodeTransformer):
    """Leave out what no money depends on: log calls, sentences, and what only type checkers read."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        text = ast.unparse(node)
        return None if text.startswith(("log.", "'", '"')) else self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Attribute) and node.func.attr in COMPARING:
            return node
        if isinstance(node.func, ast.Name) and node.func.id == "cast":
            return self.visit(node.args[-1])
        node.keywords = [keyword for keyword in node.keywords if keyword.arg not in IMMATERIAL]
        if ast.unparse(node.func) == "pendulum.from_timestamp":
            # Its default is UTC too, and the name of a time zone has no case.
            node.keywords = [one for one in node.keywords if ast.unparse(one).lower() != "tz='utc'"]
        return self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if not isinstance(node.value, str):
            return node
        # The names of time zones have no case.
        return ast.Constant(None if " " in node.value else "UTC" if node.value.lower() == "utc" else node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        literal = "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
        return ast.Constant(None) if " " in literal else self.generic_visit(node)


def meaning(code: str) -> str:
    """The code of a function without its wording, to compare it with a mutant's."""
    return ast.dump(WithoutWording().visit(ast.parse(code)))


def leave_out_wording(create: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap mutmut's ``create_mutations``."""
    import libcst

    def code_of(function: libcst.FunctionDef) -> str:
        return libcst.Module([function.with_changes(leading_lines=[], decorators=[])]).code

    def create_mutations(*arguments: Any, **options: Any) -> Any:
        module, mutations, *others = create(*arguments, **options)
        meanings: dict[Any, str] = {}
        kept = []
        for mutation in mutations:
            function = mutation.contained_by_top_level_function
            if not isinstance(function, libcst.FunctionDef):
                continue
            if function not in meanings:
                meanings[function] = meaning(code_of(function))
            mutated = function.deep_replace(mutation.original_node, mutation.mutated_node)
            if meaning(code_of(mutated)) != meanings[function]:
                kept.append(mutation)
        return module, kept, *others

    return create_mutations


def explained() -> dict[tuple[str, str, str], str]:
    """What is written about survivors, by function, original line and mutated line."""
    found = {}
    function = before = after = ""
    for line in EXPLAINED.read_text().splitlines():
        mark, text = line[:2], line[2:].strip()
        if mark == "- ":
            before, after = text, ""
        elif mark == "+ ":
            after = text
        elif mark == "= ":
            found[function, before, after] = text
        elif line and not line.startswith("#"):
            function = line.strip()
    return found


def change(diff: str) -> tuple[str, str]:
    """The lines that a mutant replaces, and those that replace them."""
    lines = diff.splitlines()[2:]
    return tuple(" ".join(line[1:].strip() for line in lines if line[0] == mark) for mark in "-+")  # type: ignore[return-value]


def name_of(mutant: str) -> str:
    """A mutant's function as people write it: ``moves.nonce_lock.take_lock``."""
    module, _, function = mutant.partition("__mutmut_")[0].rpartition(".")
    function = function.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
    return f"{module.removeprefix('airflow_provider_whitebit.')}.{function}"


def run(only: list[str], tests: list[str], sample: int, seed: int) -> Iterator[tuple[str, str, str, str]]:
    """Test mutants, and yield of each its function, its status, its original line and its mutated line."""
    import mutmut.__main__ as tool
    from mutmut.configuration import config
    from mutmut.mutation import file_mutation

    if tests:
        config().pytest_add_cli_args_test_selection = tests
    if only:
        paths = [path for pattern in config().only_mutate for path in Path().glob(pattern)]
        config().only_mutate = [str(path) for path in paths if path.stem in only]
    chosen: list[tuple[Any, str]] = []
    collect = tool.collect_source_file_mutation_data

    def choose(*, mutant_names: Any) -> Any:
        mutants, data = collect(mutant_names=mutant_names)
        if sample:
            mutants = random.Random(seed).sample(mutants, min(sample, len(mutants)))
        chosen[:] = [(data, name) for data, name, _ in mutants]
        # Tests may have changed since something survived.
        return [(one, name, result if status(result) == "killed" else None) for one, name, result in mutants], data

    def status(result: int | None) -> str:
        word = tool.status_by_exit_code[result]
        return "killed" if word in ("timeout", "segfault", "caught by type check") else word

    file_mutation.create_mutations = leave_out_wording(file_mutation.create_mutations)
    tool.collect_source_file_mutation_data = choose
    tool._run((), 1)
    for data, name in chosen:
        yield (
            name_of(name),
            status(data.exit_code_by_key[name]),
            *change(tool.get_diff_for_mutant(name, path=data.path)),
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="modules, by the names of their files, with commas")
    parser.add_argument("--tests", default="", help="test files, with commas, instead of those in pyproject.toml")
    parser.add_argument("--sample", type=int, default=0, help="try this many mutants instead of all")
    parser.add_argument("--seed", type=int, default=1, help="which sample")
    options = parser.parse_args()
    os.chdir(REPO)
    os.environ["WHITEBIT_SIMULATION_SEEDS"] = SEEDS
    # mutmut calls mypy by its name.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    # mutmut copies tests, but removes none, and keeps which tests reach a function.
    shutil.rmtree("mutants/tests", ignore_errors=True)
    Path("mutants/mutmut-stats.json").unlink(missing_ok=True)
    # It takes a file without mutants for one whose mutants are made.
    chosen = Path("mutants/only")
    if chosen.exists() and chosen.read_text() != options.only:
        shutil.rmtree("mutants")
    chosen.parent.mkdir(exist_ok=True)
    chosen.write_text(options.only)
    words = explained()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    only, tests = ([*filter(None, names.split(","))] for names in (options.only, options.tests))
    for function, status, before, after in run(only, tests, options.sample, options.seed):
        if status != "killed" and (function, before, after) in words:
            status = "explained"
        elif status != "killed":
            print(f"\n{function}\n- {before}\n+ {after}\n({status})")
            status = "survived"
        counts[".".join(function.split(".")[:2])][status] += 1
    total = sum(counts.values(), Counter())
    print(f"\n{'':24}{'mutants':>9}{'killed':>9}{'explained':>11}{'survived':>10}")
    for name, count in [*sorted(counts.items()), ("all", total)]:
        figures = f"{count.total():9}{count['killed']:9}{count['explained']:11}{count['survived']:10}"
        print(f"{name:24}{figures}")
    return 1 if total["survived"] > LIMIT * total.total() else 0


if __name__ == "__main__":
    sys.exit(main())
