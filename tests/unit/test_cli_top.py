"""A screen shows the most loaded first, fits the terminal, and says what it leaves out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb_cli import top
from b3lb_cli.outcome import CommandError, ExitCode
from b3lb_cli.table import width
from b3lb_cli.top import screen, shares, whole
from tests.unit.control_documents import DOCUMENTS, listing, node

MANY = {**DOCUMENTS, "/nodes": listing("NodeList", *(node(f"bbb{number:03d}", load=number) for number in range(300)))}


def test_the_most_loaded_node_comes_first() -> None:
    lines = screen(MANY, columns=200, lines=40)
    first = next(number for number, line in enumerate(lines) if line.startswith("NAME") and "LOAD" in line)
    assert [line.split()[0] for line in lines[first + 1 : first + 3]] == ["bbb299", "bbb298"]
    assert any(line.startswith("and 2") and line.endswith(" more") for line in lines)
    assert any("record" in line for line in lines)
    assert any("UNI" in line for line in lines)


@given(columns=st.integers(1, 250), lines=st.integers(1, 80), problem=st.sampled_from(["", "away" * 99]))
def test_a_screen_fits_any_terminal(columns: int, lines: int, problem: str) -> None:
    made = screen(MANY, columns=columns, lines=lines, problem=problem)
    assert len(made) <= lines
    assert all(width(line) <= columns for line in made)


@given(st.lists(st.integers(0, 500), max_size=6), st.integers(-5, 200))
def test_every_part_gets_what_it_wants_or_a_fair_share(wanted: list[int], room: int) -> None:
    given_lines = shares(wanted, room)
    assert sum(given_lines) <= max(room, 0)
    assert all(0 <= lines <= want for lines, want in zip(given_lines, wanted, strict=True))
    if wanted and room >= sum(wanted):
        assert given_lines == wanted


def test_everything_is_printed_once_without_a_terminal() -> None:
    text = whole(MANY)
    assert text.count("bbb") == 300
    assert text.startswith("operator 0.1.0, live, ready, leads, database up")


class Terminal:
    """What is written to a terminal."""

    def __init__(self) -> None:
        self.written = ""

    def write(self, text: str) -> int:
        self.written += text
        return len(text)

    def flush(self) -> None:
        """Nothing waits."""

    def isatty(self) -> bool:
        return True


def test_a_moment_without_the_operator_is_shown_and_watching_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([DOCUMENTS, CommandError(ExitCode.AWAY, "cannot be reached"), DOCUMENTS])

    def read(*_: object) -> object:
        answer = next(answers)
        if isinstance(answer, CommandError):
            raise answer
        return answer

    looks = iter([False, False, True])
    terminal = Terminal()
    monkeypatch.setattr(top, "read", read)
    monkeypatch.setattr(top, "operator", lambda _options: None)
    monkeypatch.setattr(top, "_ends_within", lambda _seconds: next(looks))
    monkeypatch.setattr("sys.stdout", terminal)
    options = type("Options", (), {"namespace": None, "once": False, "interval": 2.0})
    top._top(options)  # type: ignore[arg-type]  # what it reads of the command line
    assert terminal.written.startswith("\x1b[?1049h")
    assert terminal.written.endswith("\x1b[?1049l")
    assert terminal.written.count("cannot be reached") == 1
    assert terminal.written.count("bbb1") == 3


def test_what_cannot_pass_by_itself_ends_watching_and_gives_the_terminal_back(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([DOCUMENTS])

    def read(*_: object) -> object:
        for answer in answers:
            return answer
        raise CommandError(ExitCode.FORBIDDEN, "no more")

    terminal = Terminal()
    monkeypatch.setattr(top, "read", read)
    monkeypatch.setattr(top, "operator", lambda _options: None)
    monkeypatch.setattr(top, "_ends_within", lambda _seconds: False)
    monkeypatch.setattr("sys.stdout", terminal)
    options = type("Options", (), {"namespace": None, "once": False, "interval": 2.0})
    with pytest.raises(CommandError, match="no more"):
        top._top(options)  # type: ignore[arg-type]  # what it reads of the command line
    assert terminal.written.endswith("\x1b[?1049l")
