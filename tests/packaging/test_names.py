"""What the wheel brings: one name for Python, no weights, and imports that say what things are called there."""

from __future__ import annotations

import ast
import sys
import tarfile
import zipfile

import pytest

from hatch_build import IMPORT, PLACES, SUFFIXES, installed, wheel_files
from qsched import __version__
from tests.packaging.conftest import ROOT, UV, command, run

RENAMED = ("analysis", "study_server")


@pytest.fixture(scope="module")
def modules(wheel):
    """The Python files of the wheel, by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist() if name.endswith(".py")}


#: What studies and databases leave in a working copy.
STRAY = {".db", ".db-wal", ".db-shm", ".secret", ".lock"}


def stale_names(source):
    """Imports of a name of the repository that the wheel does not have, and strings that look like one."""
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "." in node.value:
            names += [node.value] if node.value.replace(".", "_").isidentifier() else []
        yield from (name for name in names if name.split(".")[0] in RENAMED)


@pytest.mark.slow
def test_everything_is_below_one_name(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"qsched", f"qsched-{__version__}.dist-info"}
    for kept in ("analysis/winrates.py", "study_server/static/i18n/en.json", "study_server/_templates/base.html"):
        assert f"qsched/{kept}" in names
    assert any(name.startswith("qsched/study_server/_migrations/versions/") for name in names)


@pytest.mark.slow
def test_no_module_asks_for_a_name_that_is_not_there(modules):
    assert len(modules) > 400
    assert {name: found for name, source in modules.items() if (found := list(stale_names(source)))} == {}


@pytest.mark.parametrize(
    "line",
    ["from analysis.votes import read", "import study_server", "x = import_module('analysis.winrates')"],
)
def test_such_a_name_is_noticed(line):
    assert list(stale_names(line))


def test_imports_are_renamed_and_words_are_not():
    source = 'from analysis import options\n    from study_server.db import models\n"""Read from analysis imports."""\n'
    first, second, words = source.splitlines(keepends=True)
    renamed = first.replace("analysis", "qsched.analysis") + second.replace("study_server", "qsched.study_server")
    assert installed(source, ROOT) == renamed + words and len(IMPORT.findall(source)) == 2
    with pytest.raises(ValueError, match="write `from analysis import"):
        installed("import analysis.votes\n", ROOT)


def test_the_wheel_has_every_file_of_the_packages_but_the_weights():
    files = dict(wheel_files(ROOT))
    assert len(set(files.values())) == len(files)
    there = {path for folder in PLACES for path in (ROOT / folder).rglob("*") if path.is_file()}
    left_out = {path.relative_to(ROOT) for path in there if path not in files}
    left_out = {path for path in left_out if path.parts[:3] != ("qsched", "tiny", "weights")}
    assert {path for path in left_out if "__pycache__" not in path.parts and path.suffix not in STRAY} == set()
    assert {path.suffix for path in files} == SUFFIXES


@pytest.mark.parametrize(
    "stray",
    [
        "study.db",
        "study.db-wal",
        "study.db.secret",
        ".env",
        ".mypy_cache/3.11/a.json",
        "runs/demo/manifest.json",
        "x.key",
    ],
)
def test_what_lies_in_a_working_copy_is_no_part_of_the_wheel(tmp_path, stray):
    for name in ("a.py", "page.html", stray):
        path = tmp_path / "qsched" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert [place for _, place in wheel_files(tmp_path)] == ["qsched/a.py", "qsched/page.html"]


@pytest.mark.slow
def test_the_wheel_is_small_and_the_models_are_in_a_package_of_their_own(dist, wheel):
    (source,) = dist.glob("qsched-*.tar.gz")
    (models,) = dist.glob("qsched_tiny_models-*.whl")
    assert wheel.stat().st_size < 2_500_000 and source.stat().st_size < 2_500_000
    with zipfile.ZipFile(models) as archive:
        packed = {name for name in archive.namelist() if "/weights/" in name}
    weights = ROOT / "qsched" / "tiny" / "weights"
    kept = {path.relative_to(weights).as_posix() for path in weights.rglob("*") if path.is_file()}
    assert packed == {f"qsched_tiny_models/weights/{name}" for name in kept}
    with tarfile.open(source) as archive:
        assert not [name for name in archive.getnames() if name.endswith(".safetensors")]


@pytest.mark.slow
def test_the_models_are_found_in_their_package(install):
    python = install("tiny")
    code = "from qsched.tiny import model_path; print(model_path('tiny-clip'))"
    assert "site-packages/qsched_tiny_models/weights/tiny-clip" in run(python, "-I", "-c", code)


@pytest.mark.slow
def test_the_audit_of_an_installed_wheel_runs_its_own_analysis(install, place):
    """A package named `analysis` of the user's own is not in the way."""
    (place / "analysis").mkdir()
    (place / "analysis" / "__init__.py").write_text("raise SystemExit('the wrong package')", encoding="utf-8")
    python = install("analysis")
    code, output = command(
        python, "winrates {tmp}/v.csv --out {tmp}/report --resamples 100", place, PYTHONPATH=str(place)
    )
    assert code == 0, output
    code = (
        "from pathlib import Path; from qsched.analysis.auditing.recompute import PACKAGE, _ROOT; "
        "assert (_ROOT / 'qsched' / 'analysis').is_dir() and PACKAGE == 'qsched.analysis'"
    )
    run(python, "-I", "-c", code)


@pytest.mark.slow
def test_one_run_needs_no_installation(wheel, tmp_path):
    """As `uvx --from qsched qsched ...` does from an index."""
    shown = run(UV, "tool", "run", "--python", sys.executable, "--from", wheel, "qsched", "--version", cwd=tmp_path)
    assert shown.split() == ["qsched", __version__]
