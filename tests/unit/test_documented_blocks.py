"""Which commands of a document the tests run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e import documented
from tests.e2e.documented import Shell, command_blocks

TEXT = """\
# Title

```text
kubectl never
```

1. First:

   <!-- not run by the tests: needs Docker -->
   ```sh
   make images
   ```

   ```sh
   cat <<EOF
   indented
     more
   EOF
   ```

## Second

<!-- not run by the tests: the text in between takes the mark away -->
Text.

```console
$ export NAME=value
output
$ echo "$NAME"
```
"""


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A document of a checkout."""
    monkeypatch.setattr(documented, "REPOSITORY", tmp_path)
    path = tmp_path / "page.md"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.mark.usefixtures("document")
def test_blocks_with_commands_are_found_with_their_place_section_and_mark() -> None:
    first, second, third = command_blocks("page.md")
    assert (str(first), first.section, first.text) == ("page.md:10", "Title", "make images")
    assert first.mark == "not run by the tests: needs Docker"
    assert (second.text, second.mark) == ("cat <<EOF\nindented\n  more\nEOF", "")
    assert (third.section, third.text, third.mark) == ("Second", 'export NAME=value\necho "$NAME"', "")
    assert command_blocks("page.md", "Second") == [third]


def test_a_block_without_a_language_is_refused_with_its_place(document: Path) -> None:
    document.write_text("text\n\n```\nkubectl get nodes\n```\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"page.md:3: a block of the language ''"):
        command_blocks("page.md")


@pytest.mark.usefixtures("document")
def test_a_shell_keeps_what_was_exported_and_names_the_block_in_which_any_command_failed(tmp_path: Path) -> None:
    shell = Shell(tmp_path, {"GIVEN": "yes"})
    _, _, third = command_blocks("page.md")
    assert shell.run(third) == "value\n"
    page = tmp_path / "page.md"
    page.write_text('```sh\necho "$NAME $GIVEN"\n```\n\n```sh\nfalse | cat\necho not reached\n```\n', encoding="utf-8")
    kept, failing = command_blocks("page.md")
    assert shell.run(kept) == "value yes\n"
    with pytest.raises(AssertionError, match=r"page.md:5 failed"):
        shell.run(failing)


def test_a_block_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path, document: Path) -> None:
    document.write_text("```sh\necho begun\nsleep 60 | cat\n```\n", encoding="utf-8")
    (block,) = command_blocks("page.md")
    with pytest.raises(AssertionError, match=r"page.md:1 took longer than 0.3 s:\nbegun"):
        Shell(tmp_path, {}, seconds=0.3).run(block)


def test_a_program_in_the_background_that_ends_by_itself_is_an_error(tmp_path: Path, document: Path) -> None:
    document.write_text("```sh\nsleep 60\n```\n\n```sh\necho over\n```\n", encoding="utf-8")
    running, ending = command_blocks("page.md")
    shell = Shell(tmp_path, {})
    shell.start(running)
    shell.stop()
    shell = Shell(tmp_path, {})
    shell.start(ending)
    shell._background[0].wait(5)
    with pytest.raises(AssertionError, match=r"page.md:5 ended"):
        shell.stop()
