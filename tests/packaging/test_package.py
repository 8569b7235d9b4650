"""The wheel and the source archive: their content, and the wheel in a clean environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from importlib.metadata import version
from pathlib import Path

import pytest

import airflow_provider_whitebit

REPO = Path(__file__).resolve().parents[2]
PACKAGE = "airflow_provider_whitebit"
EXAMPLES = f"{PACKAGE}/example_dags"
AIRFLOW_VERSION = tuple(int(part) for part in version("apache-airflow").split(".")[:2])


def run(*command, expect=0, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600, **options)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


def files_below(folder):
    return {
        str(path.relative_to(REPO))
        for path in (REPO / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The source archive and the wheel, both built from the sources."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--sdist", "--wheel", "--outdir", folder, REPO)
    (archive,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return archive, wheel


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((REPO / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def metadata(built):
    """The wheel's metadata, as a package index reads it."""
    with zipfile.ZipFile(built[1]) as wheel:
        about = next(name for name in wheel.namelist() if name.endswith("/METADATA"))
        return Parser().parsestr(wheel.read(about).decode())


def contents(wheel):
    with zipfile.ZipFile(wheel) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("airflow")


@pytest.fixture(scope="module")
def clean(built, tmp_path_factory, home):
    """A new environment with the wheel in it, and the options to run something there, far from the sources."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    run(sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    version = run(sys.executable, "-c", "import airflow; print(airflow.__version__)").split()[-1]
    pinned = ("-c", REPO / "constraints" / f"airflow-{version}.txt", f"{built[1]}[sandbox]", "pytest")
    uv = Path(sys.executable).with_name("uv")
    if uv.exists():
        run(uv, "pip", "install", "--python", python, *pinned)
    else:
        run(python, "-m", "pip", "install", *pinned)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AIRFLOW"))}
    environment |= {"AIRFLOW_HOME": str(home), "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    return python, {"env": environment, "cwd": home}


def test_names_and_long_description(built):
    assert "FAILED" not in run(sys.executable, "-m", "twine", "check", "--strict", *built)


def test_the_wheel_holds_the_package_the_examples_and_nothing_else(built):
    held = contents(built[1])
    names = {name for name in held if ".dist-info/" not in name}
    examples = {f"{EXAMPLES}/{Path(name).name}": name for name in files_below("dags_examples")}
    assert names == files_below(PACKAGE) | examples.keys()
    assert [name for name, source in examples.items() if held[name] != (REPO / source).read_bytes()] == []
    assert {f"{PACKAGE}/py.typed", f"{PACKAGE}/static/uplot/LICENSE"} <= names
    (points,) = (text.decode() for name, text in held.items() if name.endswith(".dist-info/entry_points.txt"))
    for group in ("apache_airflow_provider", "airflow.plugins", "console_scripts", "pytest11"):
        assert f"[{group}]" in points


def test_the_metadata(metadata):
    assert metadata["Name"] == "airflow-provider-whitebit"
    assert metadata["Version"] == airflow_provider_whitebit.__version__
    assert metadata["License-Expression"] == "Apache-2.0"


def test_each_requirement_is_that_of_the_project_and_has_a_lowest_version(metadata, project):
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(f"{one}; extra == '{name}'" for name, each in extras.items() for one in each)]
    assert sorted(metadata.get_all("Requires-Dist")) == sorted(wanted)
    assert sorted(metadata.get_all("Provides-Extra")) == sorted(extras)
    assert [one for one in wanted if not re.fullmatch(r"[a-z0-9-]+>=\d+(\.\d+)*(; .*)?", one)] == []


def test_the_readme_says_which_python(metadata):
    """The first version that it runs on, and the versions that it is tested on."""
    first = metadata["Requires-Python"].removeprefix(">=")
    python = "Programming Language :: Python :: "
    tested = [name.removeprefix(python) for name in metadata.get_all("Classifier") if name.startswith(python)]
    assert f"Python {first} or newer (tested on {', '.join(tested)})" in metadata.get_payload()


def test_the_source_archive_is_enough(built, tmp_path):
    """Unpacked far from the sources, it makes the same wheel, file by file."""
    with tarfile.open(built[0]) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path / "dist", unpacked)
    (again,) = (tmp_path / "dist").glob("*.whl")
    first, second = contents(built[1]), contents(again)
    assert again.name == built[1].name
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_the_source_archive_is_the_whole_project(built):
    with tarfile.open(built[0]) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    wanted = {"Makefile", "LICENSE", "pyproject.toml", "PKG-INFO", ".gitignore", ".pre-commit-config.yaml", ".ci/run"}
    wanted |= {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "mkdocs.yml"}
    for folder in (PACKAGE, "constraints", "dags_examples", "docs", "scripts", "tests"):
        wanted |= files_below(folder)
    assert names == wanted


def test_airflow_knows_the_provider(clean):
    _, options = clean
    assert '"connection_type": "whitebit"' in run("airflow", "providers", "hooks", "--output", "json", **options)


USE = """
import os
from decimal import Decimal
import airflow_provider_whitebit
from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
from airflow_provider_whitebit.testing import SandboxProcess
assert "site-packages" in airflow_provider_whitebit.__file__, airflow_provider_whitebit.__file__
sandbox = SandboxProcess()
try:
    os.environ["AIRFLOW_CONN_WHITEBIT_DEFAULT"] = sandbox.connection_json
    receipt = WhiteBitHook().flex_invest(ticker="USDT", amount=Decimal(100))
    assert receipt.amount == 100 and sandbox.ledger()["balanced"]
finally:
    sandbox.stop()
"""


def test_it_moves_money_on_its_own_exchange(clean):
    python, options = clean
    run(python, "-c", USE, **options)
    assert "backtest" in run("whitebit-sandbox", "backtest", "--help", **options)


PARSE = """
import sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
assert not bag.import_errors, bag.import_errors
print(len(bag.dags))
"""


def test_the_examples_parse(clean):
    python, options = clean
    (package,) = python.parents[1].glob(f"lib/python*/site-packages/{EXAMPLES}")
    assert int(run(python, "-c", PARSE, package, **options).split()[-1]) >= 8


FIND = """
from airflow.dag_processing.bundles.manager import DagBundlesManager
print(*(bundle.path for bundle in DagBundlesManager().get_all_dag_bundles() if "whitebit" in bundle.name))
"""


@pytest.mark.skipif(AIRFLOW_VERSION < (3, 3), reason="Airflow looks for its own examples only")
@pytest.mark.parametrize("load", [True, False])
def test_airflow_finds_the_examples_if_it_loads_examples(clean, load):
    python, options = clean
    environment = options["env"] | {"AIRFLOW__CORE__LOAD_EXAMPLES": str(load)}
    found = run(python, "-c", FIND, **options | {"env": environment}).splitlines()[-1]
    assert found.endswith(f"site-packages/{EXAMPLES}") is load


USERS_FILE = """
from __future__ import annotations

from decimal import Decimal

from airflow_provider_whitebit.hooks.whitebit import WhiteBitHook
from airflow_provider_whitebit.operators.flex import WhiteBitFlexInvestOperator

invest = WhiteBitFlexInvestOperator(task_id="invest", ticker="USDT", amount="100")
receipt = WhiteBitHook("whitebit_default").flex_invest(ticker="USDT", amount=Decimal(100))
reveal_type(receipt)
reveal_type(receipt.amount)
reveal_type(WhiteBitHook().get_conn().flex_plans())
"""


def test_types_are_known_to_users(clean, tmp_path):
    python, _ = clean
    file = tmp_path / "users_file.py"
    file.write_text(USERS_FILE)
    output = run(
        *(sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "--config-file", os.devnull, file),
        cwd=tmp_path,
    )
    assert 'note: Revealed type is "airflow_provider_whitebit.moves.intent.Receipt"' in output
    assert "Decimal" in output.splitlines()[1]
    assert "FlexPlan" in output
