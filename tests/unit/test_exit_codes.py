"""How runs end: exit codes, their words, and the termination message."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from b3lb import __version__
from b3lb.crypto import KeyRing
from b3lb_jobs import termination
from b3lb_jobs.cli import main
from b3lb_jobs.errors import Outcome, PermanentError, TransientError, outcome_of
from b3lb_jobs.exit_codes import MEANINGS, ExitCode


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (TransientError("away"), Outcome("RETRY", ExitCode.TRANSIENT, "away")),
        (TransientError("busy", countdown=20), Outcome("RETRY", ExitCode.TRANSIENT, "busy", countdown=20)),
        (PermanentError("bad"), Outcome("FAILURE", ExitCode.BAD_INPUT, "bad")),
        (
            PermanentError("no key", exit_code=ExitCode.CONFIGURATION),
            Outcome("FAILURE", ExitCode.CONFIGURATION, "no key"),
        ),
        (MemoryError(), Outcome("FAILURE", ExitCode.OUT_OF_MEMORY, "out of memory")),
        (KeyError("x"), Outcome("FAILURE", ExitCode.INTERNAL, "KeyError: 'x'", expected=False)),
        (
            ExceptionGroup("two", [ExceptionGroup("one", [MemoryError()]), ValueError()]),
            Outcome("FAILURE", ExitCode.OUT_OF_MEMORY, "out of memory"),
        ),
    ],
)
def test_every_exception_has_a_state_and_an_exit_code(error: Exception, outcome: Outcome) -> None:
    assert outcome_of(error) == outcome


def test_the_numbers_are_those_that_pod_failure_policies_rely_on() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "DONE": 0,
        "USAGE": 2,
        "BAD_INPUT": 65,
        "OUT_OF_MEMORY": 69,
        "INTERNAL": 70,
        "TRANSIENT": 75,
        "CONFIGURATION": 78,
        "INTERRUPTED": 130,
        "STOPPED": 143,
    }
    assert set(MEANINGS) == set(ExitCode)


def test_exactly_the_permanent_ends_lie_where_pod_failure_policies_give_up() -> None:
    final = {*range(64, 71), 78}
    assert {code for code in ExitCode if code in final} == {
        code for code, meaning in MEANINGS.items() if meaning.startswith("permanent")
    }


def test_help_holds_examples_and_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "b3lb-job core --once" in text
    for code, meaning in MEANINGS.items():
        assert f"{int(code)}" in text
        assert meaning in text


_STOPPED_WHILE_IMPORTING = """
import os, signal, sys, types
class Field:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), signal.{name})
class Program(types.ModuleType):
    def __getattr__(self, name):
        return type("Owner", (), {{"field": Field()}})
sys.modules["b3lb_jobs.program"] = Program("b3lb_jobs.program")
from b3lb_jobs.cli import main
sys.exit(main(["core"]))
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_while_the_programs_modules_are_imported_ends_it_without_a_traceback(name: str, code: int) -> None:
    """Python wraps what is raised while a class is made: nothing may be raised then."""
    script = _STOPPED_WHILE_IMPORTING.format(name=name)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", "")


def test_an_interrupt_before_the_run_begins_is_exit_130_without_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_flags: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("b3lb_jobs.program.execute", interrupted)
    monkeypatch.setattr("b3lb_jobs.cli.signal.signal", lambda *_: None)
    assert main(["core"]) == 130
    assert capsys.readouterr() == ("", "")


def test_version_and_list(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"b3lb-job {__version__}\n"
    assert main(["--list"]) == 0
    assert "check-nodes" in capsys.readouterr().out


def test_an_unknown_name_is_one_line_and_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-node"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "b3lb-job: 'check-node' is neither a task nor a queue; tasks: check-nodes, update-secrets-lists,"
        " update-statistics, deliver-callbacks, housekeeping-recordings, finish-deletions, sweep-storage, forget-rows,"
        " delete-recording, render-record; queues: core, statistics, housekeeping, record\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["core", "--tick-seconds", "7"],
        ["core", "--max-in-flight", "0"],
        ["core", "--max-in-flight", "many"],
        ["core", "--onc"],
    ],
)
def test_a_wrong_command_line_is_exit_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "B3LB_ENCRYPTION_KEYS is not set; B3LB_DATABASE_URL is not set"),
        ({"B3LB_DATABASE_URL": "mysql://u:hunter2@h/d"}, "B3LB_DATABASE_URL: a database URL begins with postgresql://"),
        ({"B3LB_TICK_SECONDS": "7"}, "B3LB_TICK_SECONDS: must be one of 5, 10, 15, 20, 30, 60"),
        ({"B3LB_ENCRYPTION_KEYS": "hunter2"}, "B3LB_ENCRYPTION_KEYS: encryption key 1 is not of the form id:base64"),
    ],
)
def test_wrong_settings_are_one_line_without_values_and_exit_78(
    variables: dict[str, str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name in [name for name in os.environ if name.startswith("B3LB_")]:
        monkeypatch.delenv(name)
    if variables:
        monkeypatch.setenv("B3LB_DATABASE_URL", "postgresql://u@127.0.0.1:1/d")
        monkeypatch.setenv("B3LB_ENCRYPTION_KEYS", KeyRing.generate().export())
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("B3LB_TERMINATION_LOG", str(tmp_path / "message"))
    monkeypatch.setattr("b3lb_jobs.cli.signal.signal", lambda *_: None)
    assert main(["core"]) == 78
    assert capsys.readouterr().err == f"b3lb-job: {message}\n"
    summary = json.loads((tmp_path / "message").read_bytes())
    assert summary == {"state": "FAILURE", "exit_code": 78, "error": message}


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MemoryError(), 69, "b3lb-job: out of memory\n"),
        (KeyboardInterrupt(), 130, ""),
        (ZeroDivisionError("oops"), 70, "b3lb-job: ZeroDivisionError: oops\n"),
    ],
)
def test_whatever_escapes_has_an_exit_code_of_its_own(
    error: BaseException,
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def execute(_flags: object) -> ExitCode:
        raise error

    monkeypatch.setattr("b3lb_jobs.program.execute", execute)
    monkeypatch.setattr("b3lb_jobs.cli.signal.signal", lambda *_: None)
    assert main(["core"]) == code
    errors = capsys.readouterr().err
    assert errors.endswith(said)
    assert ("Traceback" in errors) == (code == 70)


def test_nothing_heavy_is_imported_for_help() -> None:
    heavy = "{'sqlalchemy', 'aiohttp', 'pydantic'}"
    code = f"import sys, b3lb_jobs.cli as cli; cli.parser(); print({heavy} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"


texts = st.builds(lambda text, times: text * times, st.text(max_size=10), st.sampled_from([1, 30, 1000]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=5).map(lambda items: items * 8) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=10,
)


@settings(max_examples=50)
@given(st.dictionaries(texts, json_values, max_size=8))
def test_any_summary_becomes_valid_json_of_at_most_4096_bytes(summary: dict[str, object]) -> None:
    rendered = termination.render(summary)
    assert len(rendered) <= 4096
    assert isinstance(json.loads(rendered), dict)


def test_a_usual_summary_is_kept_whole_and_a_long_text_is_shortened() -> None:
    summary = {"state": "RETRY", "exit_code": 75, "tasks": [{"task": "check-nodes", "done": 3}]}
    assert json.loads(termination.render(summary)) == summary
    shortened = json.loads(termination.render({**summary, "error": "x" * 10_000}))
    assert shortened["state"] == "RETRY"
    assert shortened["error"] == "x" * 999 + "…"


def test_the_summary_goes_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("B3LB_TERMINATION_LOG", str(tmp_path / "message"))
    assert termination.write({"state": "SUCCESS"})
    assert (tmp_path / "message").read_text() == '{"state":"SUCCESS"}'


def test_a_summary_that_cannot_be_left_does_not_fail_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("B3LB_TERMINATION_LOG", str(tmp_path))
    assert not termination.write({"state": "SUCCESS"})


def test_outside_of_a_pod_no_default_file_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("B3LB_TERMINATION_LOG", raising=False)
    monkeypatch.setattr(termination, "DEFAULT_PATH", str(tmp_path / "termination-log"))
    assert not termination.write({"state": "SUCCESS"})
    assert list(tmp_path.iterdir()) == []
