"""Finding and building the programs of the control plane; a script stands in for the Go toolchain."""

import re
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from dev import toolchain
from dev.toolchain import PROGRAMS, TARGETS, ToolchainError

TOOLS = Path(toolchain.__file__).parent / "tools"

FAKE_GO = """#!/bin/sh
if [ "$1" = version ]; then echo "go version go{version} linux/amd64"; exit 0; fi
echo "$@" >> {record}
{extra}
while [ $# -gt 0 ]; do
  if [ "$1" = -o ]; then output="$2"; shift 2; packages="$@"; break; fi
  shift
done
for package in $packages; do
  case "$output" in */) file="$output$(basename $package)";; *) file="$output";; esac
  echo program > "$file"; chmod 755 "$file"
done
"""


def program(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="ascii")
    path.chmod(0o755)
    return path


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The command lines of the fake Go toolchain on the PATH; cache and PATH are the test's own."""
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    use_go(tmp_path)
    return tmp_path / "record"


def use_go(tmp_path: Path, *, version: str = "1.26.3", extra: str = "") -> None:
    program(tmp_path / "bin" / "go", FAKE_GO.format(version=version, record=tmp_path / "record", extra=extra))


def copied_tools(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TOOLS, tmp_path / "tools"))


@pytest.mark.parametrize("name", ["kubernetes/go.sum", "kubernetes/go.mod", "etcd/go.sum", "etcd/go.mod"])
def test_the_cache_key_changes_with_every_pinned_file(tmp_path: Path, name: str) -> None:
    tools = copied_tools(tmp_path)
    before = toolchain.cache_key(tools)
    (tools / name).write_text((tools / name).read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert toolchain.cache_key(tools) != before


def test_the_cache_key_changes_with_the_options_of_the_build() -> None:
    changed = (replace(TARGETS[0], flags=(*TARGETS[0].flags, "-race")), *TARGETS[1:])
    assert toolchain.cache_key(TOOLS, changed) != toolchain.cache_key(TOOLS)


def test_the_cache_key_ignores_modules_that_are_not_built(tmp_path: Path) -> None:
    tools = copied_tools(tmp_path)
    before = toolchain.cache_key(tools)
    (tools / "another").mkdir()
    (tools / "another" / "go.sum").write_text("x", encoding="ascii")
    assert toolchain.cache_key(tools) == before == toolchain.cache_key(TOOLS)


def test_the_versions_are_those_of_the_pinned_modules() -> None:
    kubernetes = (TOOLS / "kubernetes" / "go.mod").read_text(encoding="utf-8")
    etcd = (TOOLS / "etcd" / "go.mod").read_text(encoding="utf-8")
    assert re.search(rf"k8s\.io/kubernetes v{re.escape(toolchain.KUBERNETES_VERSION)}\b", kubernetes)
    assert re.search(rf"go\.etcd\.io/etcd/server/v3 v{re.escape(toolchain.ETCD_VERSION)}\b", etcd)
    helm = (TOOLS / "helm" / "go.mod").read_text(encoding="utf-8")
    assert re.search(rf"helm\.sh/helm/v4 v{re.escape(toolchain.HELM_VERSION)}\b", helm)
    assert any(f"gitVersion=v{toolchain.KUBERNETES_VERSION}" in flag for flag in TARGETS[1].flags)


def test_a_chosen_directory_with_every_program_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROGRAMS:
        program(tmp_path / name, "#!/bin/sh\n")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    assert toolchain.assets_directory() == tmp_path


def test_a_chosen_directory_may_hold_helm(record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "chosen"))
    built = toolchain.helm_path()
    assert built.is_relative_to(tmp_path / "cache" / "b3lb" / "helm")
    assert toolchain.helm_path() == built
    assert len(record.read_text(encoding="ascii").splitlines()) == 1
    chosen = program(tmp_path / "chosen" / "helm", "#!/bin/sh\n")
    assert toolchain.helm_path() == chosen


@pytest.mark.parametrize("missing", PROGRAMS)
def test_the_program_missing_in_a_chosen_directory_is_named(tmp_path: Path, missing: str) -> None:
    for name in PROGRAMS:
        if name != missing:
            program(tmp_path / name, "#!/bin/sh\n")
    with pytest.raises(ToolchainError, match=rf"where {missing} cannot be executed"):
        toolchain.check_assets(tmp_path)


def test_a_chosen_directory_that_does_not_exist_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "absent"))
    assert toolchain.main() == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert all(name in captured.err for name in PROGRAMS)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26)),
        ("go version go1.9 linux/amd64", (1, 9)),
        ("go version go1.27rc1 linux/amd64", (1, 27)),
        ("go version devel +abcdef linux/amd64", None),
        ("", None),
    ],
)
def test_the_version_of_a_go_toolchain_is_read(text: str, version: tuple[int, int] | None) -> None:
    assert toolchain.parse_go_version(text) == version


@pytest.mark.parametrize(("version", "usable"), [("1.25.9", False), ("1.9.1", False), ("1.26.0", True), ("2.0", True)])
def test_a_go_toolchain_that_is_too_old_is_not_used(tmp_path: Path, version: str, usable: bool) -> None:
    use_go(tmp_path, version=version)
    go = str(tmp_path / "bin" / "go")
    assert toolchain.usable_go(go) == (go if usable else None)


def test_a_go_toolchain_that_is_missing_or_no_program_is_not_used(tmp_path: Path) -> None:
    assert toolchain.usable_go(None) is None
    assert toolchain.usable_go(str(tmp_path / "absent")) is None
    assert toolchain.usable_go(str(program(tmp_path / "go", "no program"))) is None


def test_programs_are_built_once_and_then_taken_from_the_cache(record: Path, tmp_path: Path) -> None:
    directory = toolchain.assets_directory()
    assert directory.is_relative_to(tmp_path / "cache" / "b3lb" / "assets")
    assert sorted(path.name for path in directory.iterdir()) == sorted(PROGRAMS)
    assert toolchain.check_assets(directory) == directory
    lines = record.read_text(encoding="ascii").splitlines()
    assert toolchain.assets_directory() == directory
    assert record.read_text(encoding="ascii").splitlines() == lines
    assert len(lines) == len(TARGETS)


def test_two_builds_at_once_build_only_once(record: Path, tmp_path: Path) -> None:
    use_go(tmp_path, extra="sleep 0.1")
    threads = [threading.Thread(target=toolchain.assets_directory) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(record.read_text(encoding="ascii").splitlines()) == len(TARGETS)


def test_a_failed_build_says_what_to_do_leaves_nothing_behind_and_can_be_repeated(
    record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    use_go(tmp_path, extra="echo 'dial modules.example: no route'; exit 1")
    assert toolchain.main() == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "building etcd failed: check network" in captured.err
    assert "modules.example" not in captured.err
    log = tmp_path / "cache" / "b3lb" / "assets" / "build.log"
    assert str(log) in captured.err
    assert "modules.example" in log.read_text(encoding="ascii")
    assert sorted(path.name for path in log.parent.iterdir()) == ["build.log", "lock"]
    use_go(tmp_path)
    assert toolchain.main() == 0
    assert record.exists()


def test_a_too_old_go_toolchain_is_replaced_by_the_wheel(
    record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_go(tmp_path, version="1.25.1")
    installed: list[Path] = []

    def install(directory: Path, _log: Path) -> None:
        installed.append(directory)
        content = FAKE_GO.format(version="1.26.6", record=record, extra="")
        program(directory / "go" / "bin" / "go", content)

    monkeypatch.setattr(toolchain, "_install_go", install)
    directory = toolchain.assets_directory()
    shutil.rmtree(directory)
    assert toolchain.assets_directory() == directory
    assert len(installed) == 1


def test_the_kubectl_of_the_python_environment_is_found() -> None:
    assert toolchain.kubectl_path().is_file()
