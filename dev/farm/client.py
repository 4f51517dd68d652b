"""A client of the farm's control port, for demos and tests. It blocks: call it in a thread from asynchronous code."""

from collections.abc import Iterable, Mapping
from http.client import HTTPConnection
from typing import Final, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, TypeAdapter

from dev.farm.messages import (
    AlgorithmsChange,
    Behaviour,
    BehaviourChange,
    Clock,
    ClockOffsetChange,
    FarmCounts,
    LoadChange,
    MeetingOrder,
    MeetingTruth,
    NodeDetail,
    NodeTruth,
    RoomsOrder,
    SecretChange,
    SecretDetail,
    SecretTruth,
    StepOrder,
    UsersOrder,
)

_T = TypeVar("_T")
_NODES: Final = TypeAdapter(list[NodeTruth])
_SECRETS: Final = TypeAdapter(list[SecretTruth])
_BEHAVIOURS: Final = TypeAdapter(dict[str, BehaviourChange])
_OK: Final = 200


class FarmError(Exception):
    """The control port refused a request; ``status`` is the HTTP status."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"status {status}: {reason}")
        self.status = status


class FarmClient:
    """What a demo or a test wants of a farm.

    All methods raise :class:`FarmError` if the farm refuses (unknown node or meeting, bad value), and
    :class:`OSError` if it does not answer in time.

    Args:
        url: the control port's URL.
        timeout: seconds that connecting, and every wait for data, may take.
    """

    def __init__(self, url: str, *, timeout: float = 30) -> None:
        self.url = url
        self._timeout = timeout

    def nodes(self) -> list[NodeTruth]:
        """All nodes as the farm knows them."""
        return self._call("GET", "/nodes", _NODES)

    def node(self, name: str) -> NodeDetail:
        """One node with its meetings."""
        return self._call("GET", _path(name), TypeAdapter(NodeDetail))

    def set_behaviour(self, name: str, behaviour: Behaviour | str, *, seconds: float = 1.0) -> NodeTruth:
        """Changes how a node answers; ``seconds`` is for ``slow`` and ``drip``."""
        change = BehaviourChange(behaviour=Behaviour(behaviour), seconds=seconds)
        return self._change(name, "behaviour", change)

    def set_behaviours(self, behaviours: Mapping[str, Behaviour | str], *, seconds: float = 1.0) -> list[NodeTruth]:
        """Changes how many nodes answer; all or none."""
        changes = {
            name: BehaviourChange(behaviour=Behaviour(behaviour), seconds=seconds)
            for name, behaviour in behaviours.items()
        }
        return self._call("PUT", "/behaviours", _NODES, body=_BEHAVIOURS.dump_json(changes, by_alias=True))

    def create_meeting(
        self, node: str, *, meeting_id: str | None = None, name: str | None = None, attendees: int | None = None
    ) -> MeetingTruth:
        """Creates a meeting; what is not given is invented."""
        order = MeetingOrder(meeting_id=meeting_id, name=name, attendees=attendees)
        return self._call("POST", f"{_path(node)}/meetings", TypeAdapter(MeetingTruth), body=_body(order))

    def end_meeting(self, node: str, meeting_id: str) -> NodeTruth:
        """Ends a meeting with its breakout rooms at once."""
        return self._call("DELETE", _path(node, meeting_id), TypeAdapter(NodeTruth))

    def end_meetings(self, node: str) -> NodeTruth:
        """Ends all meetings of a node at once."""
        return self._call("DELETE", f"{_path(node)}/meetings", TypeAdapter(NodeTruth))

    def join(
        self, node: str, meeting_id: str, *, count: int | None = None, user_ids: Iterable[str] = ()
    ) -> MeetingTruth:
        """Lets so many new users join a meeting (one if nothing is said), and those with the given IDs."""
        return self._users(node, meeting_id, "join", count, user_ids)

    def leave(
        self, node: str, meeting_id: str, *, count: int | None = None, user_ids: Iterable[str] = ()
    ) -> MeetingTruth:
        """Lets so many users leave a meeting (one if nothing is said; at most all), and those with the given IDs."""
        return self._users(node, meeting_id, "leave", count, user_ids)

    def open_breakouts(self, node: str, meeting_id: str, *, rooms: int = 2) -> MeetingTruth:
        """Opens breakout rooms, which are ended like meetings; answers the parent."""
        path = f"{_path(node, meeting_id)}/breakouts"
        return self._call("POST", path, TypeAdapter(MeetingTruth), body=_body(RoomsOrder(rooms=rooms)))

    def secrets(self) -> list[SecretTruth]:
        """All API secrets whose prefix a meeting ever had, each with its own meetings only."""
        return self._call("GET", "/secrets", _SECRETS)

    def secret(self, slug: str, sub_id: int) -> SecretDetail:
        """An API secret with its own meetings."""
        return self._call("GET", f"/secrets/{slug}-{sub_id:03d}", TypeAdapter(SecretDetail))

    def tenant(self, slug: str) -> SecretDetail:
        """A tenant with the meetings of all its secrets: what sub-id 0 sees."""
        return self._call("GET", f"/tenants/{slug}", TypeAdapter(SecretDetail))

    def set_clock_offset(self, name: str, seconds: float) -> NodeTruth:
        """Sets a node's clock ahead (or behind): its answers' Date, and the times of what it creates from now on."""
        return self._change(name, "clock", ClockOffsetChange(seconds=seconds))

    def set_load(self, name: str, load: int | None) -> NodeTruth:
        """Pins a node's load (0 to 10000); None lets it follow the meetings again."""
        return self._change(name, "load", LoadChange(load=load))

    def set_secret(self, name: str, secret: str) -> NodeTruth:
        """Changes a node's shared secret."""
        return self._change(name, "secret", SecretChange(secret=secret))

    def set_algorithms(self, name: str, algorithms: Iterable[str]) -> NodeTruth:
        """Changes the checksum algorithms that a node accepts."""
        change = AlgorithmsChange.model_validate({"algorithms": list(algorithms)})
        return self._change(name, "algorithms", change)

    def step(self, count: int = 1, *, nodes: int | None = None) -> Clock:
        """Lets so many steps pass, also in a frozen farm; only on the first ``nodes``, None means all."""
        return self._call("POST", "/step", TypeAdapter(Clock), body=_body(StepOrder(count=count, nodes=nodes)))

    def set_frozen(self, *, frozen: bool) -> Clock:
        """Stops the farm's own clock or lets it run."""
        return self._call("PUT", "/frozen", TypeAdapter(Clock), body=b"true" if frozen else b"false")

    def counters(self) -> FarmCounts:
        """The request counters of the farm and of each node."""
        return self._call("GET", "/counters", TypeAdapter(FarmCounts))

    def reset_counters(self) -> FarmCounts:
        """Sets the request counters to zero."""
        return self._call("DELETE", "/counters", TypeAdapter(FarmCounts))

    def _change(self, name: str, what: str, change: BaseModel) -> NodeTruth:
        return self._call("PUT", f"{_path(name)}/{what}", TypeAdapter(NodeTruth), body=_body(change))

    def _users(self, node: str, meeting_id: str, what: str, count: int | None, user_ids: Iterable[str]) -> MeetingTruth:
        order = UsersOrder(count=count, user_ids=list(user_ids))
        path = f"{_path(node, meeting_id)}/{what}"
        return self._call("POST", path, TypeAdapter(MeetingTruth), body=_body(order))

    def _call(self, method: str, path: str, adapter: TypeAdapter[_T], *, body: bytes | None = None) -> _T:
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=self._timeout)
        try:
            connection.request(method, path, body=body, headers={"Content-Type": "application/json"})
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.status != _OK:
            raise FarmError(response.status, content.decode(errors="replace"))
        return adapter.validate_json(content)


def _path(node: str, meeting_id: str | None = None) -> str:
    path = f"/nodes/{quote(node, safe='')}"
    return path if meeting_id is None else f"{path}/meetings/{quote(meeting_id, safe='')}"


def _body(message: BaseModel) -> bytes:
    return message.model_dump_json(by_alias=True, exclude_unset=True).encode()
