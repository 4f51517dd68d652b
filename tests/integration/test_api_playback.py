"""Videos at the HTTP level: who gets which bytes, who gets none, and what players leave behind that go away."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from uuid import uuid4

import psutil
import pytest
import urllib3

from b3lb.db.engine import count_statements, create_engine, transaction
from b3lb.db.playback import find_published
from b3lb.recordings.links import link_query
from b3lb.storage.directory import DirectoryStorage
from b3lb.storage.interface import Storage, StorageError
from b3lb_api import connection
from dev.processes import free_ports, wait_until
from dev.s3 import S3Server
from tests.integration.database_farm import Farm
from tests.integration.playback_stage import POSTER, ask, begin, figures, publish
from tests.integration.recordings_stage import Recordings
from tests.integration.upload_server import Server, serving, settings_for

pytestmark = pytest.mark.integration

DATA = bytes(range(256)) * 5000
LARGE = 48 << 20


class Stage(NamedTuple):
    """Recordings that are published, the storage that they are in, and a way to serve them."""

    recordings: Recordings
    storage: DirectoryStorage
    start: Callable[..., Server]


@pytest.fixture(scope="module")
def stage(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("storage")
    engine = create_engine(module_database_url, application_name="b3lb-tests", pool_size=5)
    storage = DirectoryStorage(directory)
    farm = Farm(engine)
    farm.fill(1)
    recordings = Recordings(farm)
    publish(recordings, storage, "good", DATA, name="Übung 1")
    publish(recordings, storage, "large", b"")
    # Sparse: it takes no room and no time to write.
    os.truncate(directory / "sets/large/video.mp4", LARGE)
    farm.run("UPDATE records SET file_bytes = :size WHERE nonce = 'nonce-default-large'", size=LARGE)
    with ExitStack() as stack:

        def start(of: Storage = storage, **more: Any) -> Server:
            settings = settings_for(farm, module_database_url, directory, **more)
            return stack.enter_context(serving(settings, of))

        yield Stage(recordings, storage, start)
    engine.dispose()


@pytest.fixture(scope="module")
def server(stage: Stage) -> Server:
    return stage.start()


@pytest.fixture
def metrics_port() -> int:
    return free_ports(1)[0]


def test_a_video_is_played_whole_or_in_parts_with_all_that_players_need(server: Server) -> None:
    whole = ask(server, "/b3lb/r/nonce-default-good")
    assert (whole.status, whole.body) == (200, DATA)
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["accept-ranges"] == "bytes"
    assert (
        whole.headers["content-disposition"] == "inline; filename=\"_bung 1.mp4\"; filename*=UTF-8''%C3%9Cbung%201.mp4"
    )
    part = ask(server, "/b3lb/r/nonce-default-good", Range="bytes=1000-1009", If_Range=whole.headers["etag"])
    assert (part.status, part.body) == (206, DATA[1000:1010])
    assert part.headers["content-range"] == f"bytes 1000-1009/{len(DATA)}"
    last = ask(server, "/b3lb/r/nonce-default-good", Range="bytes=-5")
    assert (last.status, last.body) == (206, DATA[-5:])
    other = ask(server, "/b3lb/r/nonce-default-good", Range="bytes=0-1", If_Range='"other"')
    assert (other.status, len(other.body)) == (200, len(DATA))
    assert ask(server, "/b3lb/r/nonce-default-good", Range=f"bytes={len(DATA)}-").status == 416
    known = ask(server, "/b3lb/r/nonce-default-good", If_None_Match=whole.headers["etag"])
    assert (known.status, known.body) == (304, b"")
    head = ask(server, "/b3lb/r/nonce-default-good", method="HEAD")
    assert (head.status, head.headers["content-length"], head.body) == (200, str(len(DATA)), b"")
    file = ask(server, "/b3lb/r/nonce-default-good?download=1")
    assert file.headers["content-disposition"].startswith("attachment; ")
    assert ask(server, "/b3lb/r/nonce-default-good", method="POST").status == 405


def test_a_videos_still_picture_is_beside_it(server: Server) -> None:
    poster = ask(server, "/b3lb/r/nonce-default-good/poster")
    assert (poster.status, poster.body, poster.headers["content-type"]) == (200, POSTER, "image/png")
    assert "bung 1.png" in poster.headers["content-disposition"]
    assert poster.headers["etag"] != ask(server, "/b3lb/r/nonce-default-good", method="HEAD").headers["etag"]
    assert ask(server, "/b3lb/r/nonce-default-good/poster", If_None_Match=poster.headers["etag"]).status == 304


def test_what_is_not_published_or_no_more_looks_like_what_never_was(server: Server, stage: Stage) -> None:
    recordings = stage.recordings
    publish(recordings, stage.storage, "deleting", b"x")
    recordings.farm.run("UPDATE record_sets SET state = 'DELETING' WHERE record_id = 'deleting'")
    publish(recordings, stage.storage, "cancelled", b"x")
    recordings.farm.run("UPDATE records SET state = 'CANCELLED' WHERE nonce = 'nonce-default-cancelled'")
    publish(recordings, stage.storage, "plain", b"x")
    recordings.farm.run("UPDATE records SET poster_key = NULL WHERE nonce = 'nonce-default-plain'")
    recordings.add("elsewhere", namespace="other")
    names = ["nobody", "nonce-default-deleting", "nonce-default-cancelled", "nonce-other-elsewhere", "x" * 200, "a%00b"]
    told = [ask(server, f"/b3lb/r/{name}") for name in names]
    told += [ask(server, f"/b3lb/r/{name}/poster") for name in [*names, "nonce-default-plain"]]
    assert {(one.status, one.body) for one in told} == {(404, b"there is no such recording, or it was deleted\n")}
    assert {one.headers["cache-control"] for one in told} == {"no-store"}


def test_a_nonce_costs_one_statement_whatever_it_names(stage: Stage) -> None:
    engine = stage.recordings.farm.engine
    for nonce in ("nobody", "nonce-default-good"):
        with transaction(engine, timeout_seconds=5) as open_connection, count_statements(engine) as counter:
            find_published(open_connection, "default", nonce)
        assert counter.count == 1


def test_where_links_are_signed_only_a_signed_one_shows_something(stage: Stage) -> None:
    server = stage.start(playback_signed_links=True, playback_link_max_seconds=3600)
    nonce, keys, now = "nonce-default-good", stage.recordings.farm.keys, datetime.now(UTC)
    good = link_query(nonce, now + timedelta(minutes=10), keys)
    assert ask(server, f"/b3lb/r/{nonce}?{good}").body == DATA
    assert ask(server, f"/b3lb/r/{nonce}/poster?{good}").body == POSTER
    refused = {
        "": b"the link is not signed\n",
        good.replace("signature=", "signature=x"): b"the link's signature is wrong\n",
        link_query(nonce, now - timedelta(seconds=1), keys): b"the link has expired\n",
        link_query(nonce, now + timedelta(days=1), keys): b"the link would be good for longer than a link may be\n",
    }
    for query, text in refused.items():
        told = ask(server, f"/b3lb/r/{nonce}?{query}")
        assert (told.status, told.body) == (403, text)
    unknown = ask(server, "/b3lb/r/nobody")
    assert (unknown.status, unknown.body) == (403, b"the link is not signed\n")


def open_files(path: str) -> int:
    """How often this process has such a file open."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            count += str(descriptor.readlink()).endswith(path)
        except OSError:
            continue
    return count


def connections(server: Server) -> int:
    """How many connections the server holds."""
    found = psutil.Process().net_connections("tcp")
    return sum(one.laddr.port == server.port and one.status != psutil.CONN_LISTEN for one in found)


def test_a_player_is_sent_no_more_than_it_takes_and_may_go_at_any_time(stage: Stage, metrics_port: int) -> None:
    server = stage.start(metrics_port=metrics_port)
    with closing(begin(server, "/b3lb/r/nonce-default-large")) as player:
        assert player.recv(100).startswith(b"HTTP/1.1 200 ")
        assert wait_until(lambda: figures(metrics_port)["b3lb_api_playback_bytes_total"] > 0, timeout=5)
        assert open_files("large/video.mp4") == 1
        before = figures(metrics_port)
        assert before["b3lb_api_playbacks_in_flight"] == 1
        # The rest waits in the file, not in memory or in the network.
        assert before["b3lb_api_playback_bytes_total"] < LARGE // 3
    assert wait_until(lambda: figures(metrics_port)["b3lb_api_playbacks_in_flight"] == 0, timeout=5)
    assert wait_until(lambda: open_files("large/video.mp4") == 0, timeout=5)
    after = figures(metrics_port)
    assert after['b3lb_api_playbacks_broken_total{cause="HungUp"}'] == 1
    assert after["b3lb_api_playback_bytes_total"] < LARGE // 3
    assert after['b3lb_api_playbacks_total{code="200",kind="video"}'] == 1


def test_a_player_that_takes_nothing_loses_its_place_and_others_are_told_to_come_again(
    stage: Stage, metrics_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LOOK_SECONDS", 0.3)
    server = stage.start(playbacks_at_once=1, playback_idle_seconds=1, metrics_port=metrics_port)
    with closing(begin(server, "/b3lb/r/nonce-default-large")):
        assert wait_until(lambda: figures(metrics_port)["b3lb_api_playbacks_in_flight"] == 1, timeout=5)
        busy = ask(server, "/b3lb/r/nonce-default-good")
        assert (busy.status, busy.headers["retry-after"]) == (503, "5")
        assert wait_until(lambda: ask(server, "/b3lb/r/nonce-default-good").status == 200, timeout=10)
        assert figures(metrics_port)['b3lb_api_playbacks_broken_total{cause="Idle"}'] == 1
        # Nobody reads, so it cannot be closed in peace; it is not kept for that.
        assert wait_until(lambda: connections(server) == 0, timeout=5)


def test_a_request_that_never_gets_whole_is_cut(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LOOK_SECONDS", 0.3)
    server = stage.start()
    with closing(begin(server, "/livez")) as opened:
        came = b""
        while not came.endswith(b"ok\n"):
            came += opened.recv(1000)
        opened.sendall(b"GET /livez HT")
        opened.settimeout(10)
        assert opened.recv(1000) == b""


def test_a_storage_that_fails_is_told_before_the_answer_and_breaks_it_off_later(
    stage: Stage,
    metrics_port: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """What is logged of it names no video: its nonce is the permission to see it."""
    caplog.set_level(logging.DEBUG)
    server = stage.start(metrics_port=metrics_port)

    def fail(*_arguments: object, **_more: object) -> BinaryIO:
        raise StorageError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(DirectoryStorage, "open", fail)
        told = ask(server, "/b3lb/r/nonce-default-good")
        assert (told.status, told.body) == (503, b"the recording cannot be shown now; come again\n")
    publish(stage.recordings, stage.storage, "gone", b"x")
    stage.storage.delete("sets/gone/video.mp4")
    assert ask(server, "/b3lb/r/nonce-default-gone").status == 404
    publish(stage.recordings, stage.storage, "short", DATA)
    stage.recordings.farm.run("UPDATE records SET file_bytes = :size WHERE nonce = 'nonce-default-short'", size=LARGE)
    with closing(begin(server, "/b3lb/r/nonce-default-short")) as player:
        came = bytearray()
        while piece := player.recv(1 << 20):
            came += piece
    assert came.endswith(DATA)
    assert figures(metrics_port)['b3lb_api_playbacks_broken_total{cause="StorageUnavailable"}'] == 1
    logged = caplog.text + "".join(capfd.readouterr())
    assert "broke off in the storage" in logged
    assert "nonce-" not in logged


def test_s3_serves_its_videos_itself_or_through_here_where_players_cannot_reach_it(
    stage: Stage, s3_server: S3Server
) -> None:
    storage = s3_server.storage(f"b3lb-{uuid4().hex}")
    nonce = publish(stage.recordings, storage, "in-s3", DATA, name="Übung")
    server = stage.start(storage)
    told = ask(server, f"/b3lb/r/{nonce}?download=1")
    assert (told.status, told.body, told.headers["cache-control"]) == (302, b"", "no-store")
    answer = urllib3.request("GET", told.headers["location"], headers={"Range": "bytes=10-19"})
    assert (answer.status, answer.data) == (206, DATA[10:20])
    assert answer.headers["Content-Disposition"] == 'attachment; filename="_bung.mp4"'
    through = stage.start(storage, playback_redirect=False)
    part = ask(through, f"/b3lb/r/{nonce}", Range="bytes=10-19")
    assert (part.status, part.body) == (206, DATA[10:20])
    assert ask(through, f"/b3lb/r/{nonce}/poster").body == POSTER
