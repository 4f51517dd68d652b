"""The command line of ``b3lb``: what goes in, and one clear line with its exit code for what is wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from b3lb import settings
from b3lb.settings import SettingsError, load_settings
from b3lb_cli import cli
from b3lb_cli.outcome import MEANINGS, ExitCode
from b3lb_cli.settings import CommandSettings

ASK = ("meetings", "--secret", "unia-001")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.startswith("B3LB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    # Nothing listens there.
    monkeypatch.setenv("B3LB_DATABASE_URL", "postgresql://user:hidden@127.0.0.1:1/b3lb")
    monkeypatch.setattr(settings, "_NAMESPACE_FILE", tmp_path / "namespace")
    return monkeypatch


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["meetings", "--help"]])
def test_version_and_help_end_well(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 0
    assert "b3lb" in capsys.readouterr().out


def test_help_has_every_exit_code_and_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["meetings", "--help"]):
        with pytest.raises(SystemExit):
            cli.main(arguments)
    out = capsys.readouterr().out
    assert set(MEANINGS) == set(ExitCode)
    assert all(f"  {code:<4} {meaning}" in out for code, meaning in MEANINGS.items())
    assert "b3lb meetings --secret unia-001 -o xml" in out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "COMMAND"),
        (["rooms"], "invalid choice: 'rooms'"),
        (["meetings"], "--secret"),
        (["meetings", "--sec", "unia-001"], "--secret"),
        ([*ASK, "-o", "csv"], "invalid choice: 'csv'"),
        (["accounting", "--month", "2026-13"], "'2026-13' is not a month: write YYYY-MM, such as 2026-11"),
        (["accounting", "--tenant", "U N"], "lower-case letters"),
        (["run", "check-nodes", "--wait", "--timeout", "5x"], "write seconds or e.g. 90s, 5m, 1h30m"),
        (["result", "7"], "'7' is not the ID of a run; b3lb runs lists them"),
        (["runs", "--limit", "00000000011234"], "is not a number from 1 to 1000"),
        (["dashboard", "--port", "0000000008000000"], "is not a number from 0 to 65535"),
        (["runs", "--limit", "1" * 5000], "is not a number from 1 to 1000"),
        (["nodes", "--server", "ftp://x"], "such as http://localhost:8080"),
        (["inspect", "workers"], "invalid choice: 'workers' (choose from 'ping', 'active'"),
        (["completion", "tcsh"], "(choose from 'bash', 'zsh', 'fish')"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_2(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    error = capsys.readouterr().err
    assert (ended.value.code, error.count("\n")) == (2, 1)
    assert reason in error
    assert "--help" in error


@pytest.mark.parametrize(
    "arguments",
    [
        ["meetings", "--secret", "UNIA-001"],
        ["meetings", "--secret", ""],
        ["meetings", "--secret", "a\udc80"],
        [*ASK, "-n", "Two Words"],
        [*ASK, "-n", ""],
        [*ASK, "-n", "x" * 64],
    ],
)
def test_a_name_that_nothing_can_have_is_one_line_and_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    error = capsys.readouterr().err
    assert (ended.value.code, error.count("\n")) == (2, 1)
    assert "lower-case letters" in error


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("B3LB_DATABASE_URL", "", "b3lb: no kubeconfig: name one by KUBECONFIG or --kubeconfig, or give"),
        ("B3LB_DATABASE_URL", "mysql://user:hidden@db/b3lb", "b3lb: B3LB_DATABASE_URL: "),
        ("B3LB_NAMESPACE", "No Name", "b3lb: B3LB_NAMESPACE: a namespace's name"),
        (
            "B3LB_NAMESPACES",
            "one,two",
            "b3lb: B3LB_NAMESPACES names several namespaces, choose one with -n: one, two\n",
        ),
    ],
)
def test_a_wrong_setting_is_one_line_without_its_value_and_78(
    name: str, value: str, expected: str, environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv(name, value)
    assert cli.main(ASK) == 78
    error = capsys.readouterr().err
    assert error.startswith(expected)
    assert error.count("\n") == 1
    assert "hidden" not in error


def test_a_database_that_is_away_is_one_line_and_75(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(ASK) == 75
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("b3lb: database: ")
    assert captured.err.count("\n") == 1
    assert "hidden" not in captured.err


def test_the_namespace_comes_from_the_nearest_place(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert load_settings(CommandSettings).default_namespace == "default"
    (tmp_path / "namespace").write_text("pod\n")
    assert load_settings(CommandSettings).default_namespace == "pod"
    environment.setenv("B3LB_NAMESPACES", " watched ")
    assert load_settings(CommandSettings).default_namespace == "watched"
    environment.setenv("B3LB_NAMESPACES", "one,two")
    with pytest.raises(SettingsError, match="one, two"):
        _ = load_settings(CommandSettings).default_namespace
    environment.setenv("B3LB_NAMESPACE", "mine")
    assert load_settings(CommandSettings).default_namespace == "mine"


def test_a_fault_of_the_program_is_70(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("b3lb_cli.database_meetings.meetings", fail)
    assert cli.main(ASK) == 70
    assert capsys.readouterr().err.endswith("b3lb: ZeroDivisionError\n")


def test_an_interrupt_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("b3lb_cli.database_meetings.meetings", interrupt)
    assert cli.main(ASK) == 130


def test_as_a_plugin_it_speaks_of_kubectl() -> None:
    assert cli.program_name("/usr/local/bin/kubectl-b3lb") == "kubectl b3lb"
    assert cli.program_name("/venv/bin/b3lb") == "b3lb"
    assert cli.parser("kubectl b3lb").format_usage().startswith("usage: kubectl b3lb ")


@pytest.mark.parametrize(
    ("imports", "heavy"),
    [
        ("b3lb_cli.cli", "'kubernetes', 'sqlalchemy', 'pydantic', 'lxml', 'yaml', 'shtab'"),
        ("b3lb_cli.database_meetings, b3lb_cli.settings", "'kubernetes', 'aiohttp'"),
        ("b3lb_cli.operator_runs", "'sqlalchemy', 'lxml', 'aiohttp'"),
    ],
)
def test_nothing_is_imported_that_the_command_does_not_need(imports: str, heavy: str) -> None:
    script = f"import sys, {imports}; print({{{heavy}, 'kopf', 'b3lb_jobs', 'b3lb_operator'}} & set(sys.modules))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("B3LB_")}
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=30, check=True
    )
    assert result.stdout == "set()\n"


def test_a_reader_that_goes_away_does_not_hide_how_a_command_ended() -> None:
    script = (
        "import sys; from b3lb_cli import cli, completion; from b3lb_cli.outcome import CommandError, ExitCode\n"
        "def fail(_):\n sys.stdout.write('some'); raise CommandError(ExitCode.NOT_FOUND, 'something is wrong')\n"
        "completion._completion = fail; sys.exit(cli.main(['completion', 'bash']))"
    )
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", script]
    read_end, write_end = os.pipe()
    os.close(read_end)
    ended = subprocess.run(command, env=buffered, stdout=write_end, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(write_end)
    assert (ended.returncode, ended.stderr) == (1, b"")
