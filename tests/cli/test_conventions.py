"""What all commands have in common: help in plain words, JSON, --quiet, NO_COLOR, exit codes."""

from __future__ import annotations

import json
import os
import pty
import re
import stat
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.text import Text
from typer.testing import CliRunner

from analysis import audit, certify, review, winrates
from analysis.votes.__main__ import app as votes
from qsched import command_line
from qsched.cli import bench_exchange
from qsched.cli.analysis import COMMANDS as FORWARDED
from qsched.cli.main import app
from qsched.cli.progress import progress_bar

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"
COLOUR = re.compile(r"\x1b\[(?:\d;)*3\d")
#: Typer's names of Python types.
PYTHON = re.compile(r"<(?:bool|str|int|float|path|Path|int range|float range|list\[\w+\])>|list\[")


def all_commands() -> dict[str, Any]:
    """Every command and group by its words; those of the analysis with their own options."""

    def below(command: Any, name: str) -> dict[str, Any]:
        found = {name: command}
        for word, each in getattr(command, "commands", {}).items():
            if name != "qsched" or word not in FORWARDED:
                found |= below(each, f"{name} {word}")
        return found

    own = {f"qsched {name}": typer.main.get_command(import_module(f"analysis.{name}").app) for name in FORWARDED}
    own |= {f"qsched votes {name}": each for name, each in typer.main.get_command(votes).commands.items()}
    return below(typer.main.get_command(app), "qsched") | own


ALL = all_commands()


@pytest.mark.parametrize("name", ALL)
def test_help_fits_80_columns_and_names_no_type_of_python(name, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    ALL[name].get_help(ALL[name].context_class(ALL[name], info_name=name))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 5
    assert not [line for line in lines if len(line.rstrip()) > 80]
    assert not PYTHON.findall("\n".join(lines))


LEAVES = [name for name, each in ALL.items() if not getattr(each, "commands", {})]


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_takes_quiet_and_refuses_what_it_does_not_know_without_colours(name):
    settings = ALL[name].get_params(ALL[name].context_class(ALL[name], info_name=name))
    assert [p.help for p in settings if "--quiet" in p.opts] == [command_line.QUIET_HELP]
    done = CliRunner().invoke(app, [*name.split()[1:], "--no-such-option"])
    assert done.exit_code == 2 and done.stdout == ""
    assert "--no-such-option" in done.stderr and "\x1b" not in done.stderr


@pytest.mark.parametrize("name", ALL)
def test_every_option_says_what_it_is_and_rich_eats_no_brackets(name):
    for param in ALL[name].params:
        words = getattr(param, "help", None) or ""
        assert words or param.hidden, f"{name} {param.name} has no help"
        assert Text.from_markup(words).plain == words, f"{name} {param.name}: write no [...]: {words}"


def test_the_way_to_find_eaten_brackets_works():
    assert Text.from_markup("Pixels. [default: the backbone's]").plain != "Pixels. [default: the backbone's]"


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    from pydantic import SecretStr

    from study_server.db import Database
    from study_server.db.migrate import upgrade
    from study_server.settings import ServerSettings

    folder = tmp_path_factory.mktemp("json")
    url = f"sqlite:///{folder / 'study.db'}"
    opened = Database(ServerSettings(database_url=url, data_folder=folder, secret_key=SecretStr("s" * 40)))
    upgrade(opened)
    opened.close()
    return url


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("doctor", dict),
        ("info {set}", list),
        ("verify {set}", dict),
        ("diff {set} {set}", dict),
        ("study list --db {db}", list),
        ("study log --db {db}", list),
        ("admin list --db {db}", list),
        ("admin token list --db {db}", list),
        ("admin webhook list --db {db}", list),
        ("plan --half-width 0.1 --prompts 50", dict),
        ("power --annotators 9 --prompts 9 --votes-per-pair 2", dict),
        ("admin webhook log --db {db}", list),
        ("admin token create new --db {db}", dict),
        ("pairs {set}", list),
    ],
)
def test_json_is_all_that_is_printed(words, kind, small_image_set, database):
    line = words.format(set=small_image_set, db=database).split()
    done = CliRunner().invoke(app, [*line, "--json", "-"])
    assert done.exit_code == 0, done.output
    assert isinstance(json.loads(done.stdout), kind)


def test_json_goes_into_a_file_beside_the_text(small_image_set, tmp_path):
    done = CliRunner().invoke(app, ["verify", str(small_image_set), "--json", str(tmp_path / "new" / "v.json")])
    assert "ok" in done.output and json.loads((tmp_path / "new" / "v.json").read_text())["ok"] is True


def test_a_file_with_a_secret_is_readable_by_its_owner_only(database, tmp_path):
    file = tmp_path / "token.json"
    file.write_text("{}", encoding="utf-8")
    done = CliRunner().invoke(app, ["admin", "token", "create", "other", "--db", database, "--json", str(file)])
    assert done.exit_code == 0 and json.loads(file.read_text("utf-8"))["token"] in done.output
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_page_names_every_command_with_json():
    listed = set(
        re.findall(r"`([a-z -]+)`", PAGE.read_text("utf-8").partition("**JSON.**")[2].partition("**Quiet.**")[0])
    )
    have = {name.removeprefix("qsched ") for name, each in ALL.items() if any("--json" in p.opts for p in each.params)}
    assert have <= listed
    assert listed - have <= {"--json -"}


#: Commands without --json: what they make is a file or a folder, or they change one thing and say so in a line.
NOTHING_TO_READ = re.split(
    r",\s+",
    """demo, generate-pairs, merge, convert, import, calibrate, score, serve, simulate, winrates, review, metrics,
    certify, jnd, study init, study create, study update, study pause, study resume, study close, study delete,
    study register, study exclude, study include, study forget, study cleanup, study links, study revoke, study preview,
    study publish, study preregister, study evidence, study prolific approve, study prolific reject,
    study prolific return, study prolific bonus, admin create, admin password, admin remove, admin backup,
    admin token revoke, admin webhook test, admin webhook remove, votes export, votes content, votes count, bench run,
    bench submit, bench merge""",
)


def test_every_command_that_answers_a_question_has_json():
    without = {
        name.removeprefix("qsched ") for name in LEAVES if not any("--json" in param.opts for param in ALL[name].params)
    }
    assert without == set(NOTHING_TO_READ)


def run(*words, **more):
    command = [sys.executable, "-m", "qsched", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **more)


def test_quiet_leaves_errors_and_json(small_image_set):
    assert run("-q", "verify", small_image_set).stdout == ""
    assert json.loads(run("--quiet", "verify", small_image_set, "--json", "-").stdout)["ok"] is True
    assert json.loads(run("-q", "verify", "--quiet", small_image_set, "--json", "-").stdout)["ok"] is True
    assert run("power", "--annotators", 9, "--prompts", 9, "--votes-per-pair", 3, "-q").stdout == ""
    failed = run("--quiet", "verify", small_image_set / "nowhere")
    assert failed.returncode == 2 and "is not an image set" in failed.stderr and failed.stdout == ""


def test_quiet_leaves_what_is_shown_once(database):
    done = run("admin", "token", "create", "hushed", "--db", database, "--quiet")
    assert done.returncode == 0 and len(done.stdout.split()) == 1 and "hushed may" in done.stderr


@pytest.mark.parametrize("quiet", [False, True])
def test_progress_is_on_standard_error_and_not_there_with_quiet(quiet, monkeypatch, capfd):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then believes that it writes to a terminal
    if quiet:
        monkeypatch.setenv(command_line.QUIET, "1")
    with progress_bar() as bar:
        bar.advance(bar.add_task("scoring", total=1))
    out, err = capfd.readouterr()
    assert out == "" and ("scoring" in err) is not quiet


@pytest.mark.parametrize(("setting", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_no_color_is_heeded_on_a_terminal(setting, coloured, small_image_set):
    for words in (["verify", small_image_set], ["verify", small_image_set / "nowhere"], ["--help"]):
        assert (COLOUR.search(on_a_terminal(words, setting)) is not None) is coloured, words


def on_a_terminal(words, setting):
    """What a command writes if both its streams are a terminal."""
    ours, theirs = pty.openpty()
    clean = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "CI")}
    command = [sys.executable, "-m", "qsched", *map(str, words)]
    environment = {**clean, "TERM": "xterm", **setting}
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL, env=environment)
    os.close(theirs)
    text = b""
    try:
        while part := os.read(ours, 4096):
            text += part
    except OSError:  # how Linux says that the other end is closed
        pass
    process.wait()
    os.close(ours)
    return text.decode()


def test_completion_is_installed_and_completes(tmp_path):
    here = {**os.environ, "HOME": str(tmp_path), "COMPLETE": "", "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}

    def bash(script):
        return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env=here).stdout

    bash("qsched --install-completion; true")  # two commands: bash stays, so that its name can be found
    script = tmp_path / ".bash_completions" / "qsched.sh"
    assert str(script) in (tmp_path / ".bashrc").read_text()
    assert script.read_text().strip() == bash("qsched --show-completion; true").strip()
    # What the script does when somebody presses Tab, for a command, an option, and an option of the analysis.
    for line, found in {
        "qsched wi": "winrates",
        "qsched verify --de": "--decode",
        "qsched audit --se": "--seals",
    }.items():
        words = f'COMP_WORDS="{line}" COMP_CWORD={len(line.split()) - 1} _QSCHED_COMPLETE=complete_bash qsched'
        assert found in bash(words).splitlines(), line


def test_the_table_of_exit_codes_is_that_of_the_code():
    rows = {
        int(code): named for code, named in re.findall(r"^\| (\d+) \|.*\| ([^|]*) \|$", PAGE.read_text("utf-8"), re.M)
    }
    assert set(rows) == {0, 1, 2, 3, 130}
    assert (command_line.EXIT_BAD_INPUT, command_line.EXIT_INTERRUPTED) == (2, 130)
    assert {winrates.EXIT_NO_ESTIMATE, review.EXIT_NO_ESTIMATE, certify.EXIT_NOT_SHOWN, audit.EXIT_UNANCHORED} == {3}
    assert audit.EXIT_PROBLEM == 1
    assert (bench_exchange.EXIT_PROBLEM, bench_exchange.EXIT_UNANCHORED) == (1, 3)
    no, neither = ("diff", "gate", "audit"), ("winrates", "review", "certify", "gate", "audit")
    for code, names in {1: (*no, "bench verify"), 3: (*neither, "bench verify")}.items():
        assert rows[code] == ", ".join(f"`{name}`" for name in names)
