"""With a package missing, every command ends with the line that installs it, never with a traceback."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from qsched.extras import EXTRAS

ROOT = Path(__file__).parents[2]
# Runs a command in a process in which some packages cannot be found, as if their extra had not been installed.
WITHOUT = """
import sys
from importlib.abc import MetaPathFinder

missing, program, *arguments = sys.argv[1:]
class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in missing.split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
sys.argv = [program, *arguments]
import importlib
importlib.import_module(program).main()
"""
SERVER = "fastapi,starlette,uvicorn,sqlalchemy,alembic,psycopg,polars,pyarrow,filelock,httpx"
GENERATE = "torch,diffusers,transformers,accelerate,safetensors,torchao,bitsandbytes"
SCORE = "open_clip,lpips,scipy,matplotlib"
ANALYSIS = "scipy,polars,pyarrow,matplotlib,sqlalchemy"


def without(missing, program, *arguments):
    command = [sys.executable, "-c", WITHOUT, missing, program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def study_file(small_image_set, tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "study.yaml"
    path.write_text(f"slug: s\ntitle: t\nimages: {small_image_set}\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("missing", "extra", "command"),
    [
        (SERVER, "server", ["serve", "{images}", "--db", "sqlite:///{tmp}/x.db"]),
        (SERVER, "server", ["study", "create", "{study}", "--db", "sqlite:///{tmp}/x.db"]),
        (SERVER, "server", ["simulate", "http://127.0.0.1:9", "--study", "s"]),
        (SERVER, "server", ["votes", "export", "--study", "s", "--db", "sqlite:///{tmp}/x.db", "{tmp}/v.parquet"]),
        (
            GENERATE,
            "generate",
            ["generate-pairs", "--backbone", "tiny-sdxl", "--arms", "fp32", "--prompts", "demo", "--out", "{tmp}/o"],
        ),
        (
            GENERATE,
            "generate",
            [
                "calibrate",
                "--backbone",
                "tiny-sdxl",
                "--precision",
                "w3a8",
                "--prompts",
                "demo",
                "--out",
                "{tmp}/c.json",
            ],
        ),
        (
            f"{GENERATE},{SCORE}",
            "score",
            ["score", "{images}", "--metrics", "clipscore", "--weights", "clipscore={tmp}"],
        ),
        (SCORE, "score", ["score", "{images}", "--metrics", "clipscore", "--weights", "clipscore={tmp}"]),
        (ANALYSIS, "analysis", ["winrates", "{tmp}/v.csv", "--out", "{tmp}/report"]),
        (
            ANALYSIS,
            "analysis",
            ["power", "--annotators", "9", "--prompts", "9", "--votes-per-pair", "1", "--simulate", "2"],
        ),
    ],
    ids=[
        "serve",
        "create",
        "simulate",
        "export",
        "generate",
        "calibrate",
        "score-of-nothing",
        "score",
        "winrates",
        "power",
    ],
)
def test_a_command_without_its_extra_names_the_line_that_installs_it(
    missing, extra, command, small_image_set, study_file, tmp_path
):
    (tmp_path / "x.db").touch()
    (tmp_path / "v.csv").write_text("model_a,model_b,winner\na,b,model_a\n", encoding="utf-8")
    words = {"images": small_image_set, "study": study_file, "tmp": tmp_path}
    done = without(missing, "qsched.cli.main", *(part.format(**words) for part in command))
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert re.search(rf"pip install 'qsched\[{extra}\]'", " ".join(done.stderr.split())), done.stderr


def test_the_analysis_scripts_name_their_extra_too(tmp_path):
    (tmp_path / "v.csv").write_text("model_a,model_b,winner\na,b,model_a\n", encoding="utf-8")
    done = without(ANALYSIS, "analysis.winrates", tmp_path / "v.csv", "--out", tmp_path / "report")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "qsched[analysis]" in done.stderr


def test_the_table_of_extras_is_that_of_the_project_file():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    brings = {
        extra: {re.split(r"[\[<>=~ ]", line)[0].lower().replace("_", "-") for line in lines}
        for extra, lines in project["optional-dependencies"].items()
    }
    distributions = {
        module: {name.lower().replace("_", "-") for name in names} for module, names in packages_distributions().items()
    }
    # Of an editable installation, as in a clone, no list of modules is kept.
    distributions.setdefault("qsched_tiny_models", {"qsched-tiny-models"})
    for module, extras in EXTRAS.items():
        for extra in extras:
            implied = {"starlette": "fastapi", "torch": "open-clip-torch"}.get(module)
            assert distributions[module] & brings[extra] or implied in brings[extra], (module, extra)


def test_a_folder_named_analysis_is_not_run_instead_of_ours(tmp_path):
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "__init__.py").write_text("raise SystemExit('the wrong package')", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "qsched", "winrates", "--help"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "--baseline" in done.stdout
