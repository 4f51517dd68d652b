"""The farm's control port: its truth, its behaviours and its clock as JSON over HTTP.

=======  ===========================  ======================================================================
GET      /nodes                       list of :class:`~dev.farm.messages.NodeTruth`
GET      /nodes/NAME                  :class:`~dev.farm.messages.NodeDetail`
PUT      /nodes/NAME/behaviour        :class:`~dev.farm.messages.BehaviourChange`
PUT      /behaviours                  object: name of a node to BehaviourChange; all or none are applied
POST     /nodes/NAME/meetings         :class:`~dev.farm.messages.MeetingOrder` or nothing; answers MeetingTruth
DELETE   /nodes/NAME/meetings[/ID]    ends one meeting or all, at once (the ID percent-encoded)
POST     /nodes/NAME/meetings/ID/X    X: ``join``, ``leave`` (:class:`~dev.farm.messages.UsersOrder` or nothing) or
                                      ``breakouts`` (:class:`~dev.farm.messages.RoomsOrder` or nothing); MeetingTruth
PUT      /nodes/NAME/clock            :class:`~dev.farm.messages.ClockOffsetChange`: its Date, new meetings' times
PUT      /nodes/NAME/load             :class:`~dev.farm.messages.LoadChange`
PUT      /nodes/NAME/secret           :class:`~dev.farm.messages.SecretChange`
PUT      /nodes/NAME/algorithms       :class:`~dev.farm.messages.AlgorithmsChange`
GET      /secrets                     list of :class:`~dev.farm.messages.SecretTruth`, all that ever had meetings
GET      /secrets/SLUG-NNN            :class:`~dev.farm.messages.SecretDetail` of its own meetings
GET      /tenants/SLUG                :class:`~dev.farm.messages.SecretDetail` of all the tenant's meetings
POST     /step                        :class:`~dev.farm.messages.StepOrder` or nothing; answers Clock
PUT      /frozen                      ``true`` or ``false``; answers :class:`~dev.farm.messages.Clock`
GET      /counters                    :class:`~dev.farm.messages.FarmCounts`
DELETE   /counters                    sets them to zero
=======  ===========================  ======================================================================

Errors are ``{"error": "..."}`` with status 400 (body), 404 (node, meeting, user, secret, path) or 409 (the meeting
exists, has been ended, or has the user).
"""

import json
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from aiohttp import web
from pydantic import BaseModel, TypeAdapter, ValidationError

from dev.farm.messages import (
    AlgorithmsChange,
    BehaviourChange,
    ClockOffsetChange,
    LoadChange,
    MeetingOrder,
    NodeTruth,
    RoomsOrder,
    SecretChange,
    SecretTruth,
    StepOrder,
    UsersOrder,
)
from dev.farm.model import Meeting
from dev.farm.server import HOST, NodeServer
from dev.farm.simulation import Simulation
from dev.farm.tenants import parse_secret
from dev.farm.truth import meeting_truth, node_detail, node_truth, secret_detail, secret_truths, tenant_detail
from dev.farm.world import (
    MeetingEndedError,
    MeetingExistsError,
    UnknownMeetingError,
    UnknownUserError,
    UserExistsError,
)

_T = TypeVar("_T")
_SIMULATION: Final = web.AppKey("simulation", Simulation)
_NODES: Final = TypeAdapter(list[NodeTruth])
_SECRETS: Final = TypeAdapter(list[SecretTruth])
_BEHAVIOURS: Final = TypeAdapter(dict[str, BehaviourChange])
_FLAG: Final = TypeAdapter(bool)
routes: Final = web.RouteTableDef()


class UnknownNodeError(LookupError):
    """The farm has no node with this name."""


_REFUSALS: Final[dict[type[Exception], tuple[int, str]]] = {
    UnknownNodeError: (404, "no node {}"),
    UnknownMeetingError: (404, "no meeting {}"),
    UnknownUserError: (404, "no user {}"),
    MeetingExistsError: (409, "there is a meeting {} already"),
    MeetingEndedError: (409, "the meeting {} has been ended"),
    UserExistsError: (409, "the user is in the meeting {} already"),
}


async def _read(request: web.Request, adapter: TypeAdapter[_T]) -> _T:
    return adapter.validate_json(await request.read() or b"{}")


def _json(message: BaseModel) -> web.Response:
    return web.json_response(text=message.model_dump_json(by_alias=True))


def _server(request: web.Request) -> NodeServer:
    name = request.match_info["name"]
    try:
        return request.app[_SIMULATION].servers[name]
    except KeyError:
        raise UnknownNodeError(name) from None


async def _change_users(request: web.Request, change: Callable[..., Meeting]) -> web.Response:
    """Lets users join or leave a meeting as the request orders."""
    server, meeting_id = _server(request), request.match_info["meeting_id"]
    order = await _read(request, TypeAdapter(UsersOrder))
    return _json(meeting_truth(change(server.node, meeting_id, count=order.number, user_ids=order.user_ids)))


def _error(status: int, reason: str) -> web.Response:
    return web.json_response({"error": reason}, status=status)


@web.middleware
async def _errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except ValidationError as error:
        # Never the input itself: it may be a secret.
        return _error(400, json.dumps(error.errors(include_url=False, include_input=False, include_context=False)))
    except tuple(_REFUSALS) as error:
        status, reason = _REFUSALS[type(error)]
        return _error(status, reason.format(error))
    except web.HTTPException as error:
        return _error(error.status, error.reason)


@routes.get("/nodes")
async def _get_nodes(request: web.Request) -> web.StreamResponse:
    truths = [node_truth(server) for server in request.app[_SIMULATION].servers.values()]
    return web.Response(body=_NODES.dump_json(truths, by_alias=True), content_type="application/json")


@routes.get("/nodes/{name}")
async def _get_node(request: web.Request) -> web.Response:
    return _json(node_detail(_server(request)))


@routes.put("/nodes/{name}/behaviour")
async def _put_behaviour(request: web.Request) -> web.Response:
    server = _server(request)
    change = await _read(request, TypeAdapter(BehaviourChange))
    await request.app[_SIMULATION].set_behaviours({server.node.name: change})
    return _json(node_truth(server))


@routes.put("/behaviours")
async def _put_behaviours(request: web.Request) -> web.StreamResponse:
    simulation = request.app[_SIMULATION]
    changes = await _read(request, _BEHAVIOURS)
    for name in changes.keys() - simulation.servers.keys():
        raise UnknownNodeError(name)
    await simulation.set_behaviours(changes)
    return await _get_nodes(request)


@routes.post("/nodes/{name}/meetings")
async def _post_meeting(request: web.Request) -> web.Response:
    server = _server(request)
    order = await _read(request, TypeAdapter(MeetingOrder))
    meeting = request.app[_SIMULATION].world.begin(
        server.node, meeting_id=order.meeting_id, name=order.name, attendees=order.attendees
    )
    return _json(meeting_truth(meeting))


@routes.delete("/nodes/{name}/meetings")
async def _delete_meetings(request: web.Request) -> web.Response:
    server = _server(request)
    request.app[_SIMULATION].world.end_all(server.node)
    return _json(node_truth(server))


@routes.post("/nodes/{name}/meetings/{meeting_id:.+}/join")
async def _post_join(request: web.Request) -> web.Response:
    return await _change_users(request, request.app[_SIMULATION].world.join)


@routes.post("/nodes/{name}/meetings/{meeting_id:.+}/leave")
async def _post_leave(request: web.Request) -> web.Response:
    return await _change_users(request, request.app[_SIMULATION].world.leave)


@routes.post("/nodes/{name}/meetings/{meeting_id:.+}/breakouts")
async def _post_breakouts(request: web.Request) -> web.Response:
    server, meeting_id = _server(request), request.match_info["meeting_id"]
    order = await _read(request, TypeAdapter(RoomsOrder))
    return _json(
        meeting_truth(request.app[_SIMULATION].world.open_breakouts(server.node, meeting_id, rooms=order.rooms))
    )


@routes.delete("/nodes/{name}/meetings/{meeting_id:.+}")
async def _delete_meeting(request: web.Request) -> web.Response:
    server = _server(request)
    request.app[_SIMULATION].world.end(server.node, request.match_info["meeting_id"])
    return _json(node_truth(server))


@routes.put("/nodes/{name}/load")
async def _put_load(request: web.Request) -> web.Response:
    server = _server(request)
    server.node.pinned_load = (await _read(request, TypeAdapter(LoadChange))).load
    return _json(node_truth(server))


@routes.put("/nodes/{name}/secret")
async def _put_secret(request: web.Request) -> web.Response:
    server = _server(request)
    server.secret = (await _read(request, TypeAdapter(SecretChange))).secret
    return _json(node_truth(server))


@routes.put("/nodes/{name}/algorithms")
async def _put_algorithms(request: web.Request) -> web.Response:
    server = _server(request)
    server.algorithms = frozenset((await _read(request, TypeAdapter(AlgorithmsChange))).algorithms)
    return _json(node_truth(server))


@routes.put("/nodes/{name}/clock")
async def _put_clock(request: web.Request) -> web.Response:
    server = _server(request)
    server.node.clock_offset = (await _read(request, TypeAdapter(ClockOffsetChange))).seconds
    return _json(node_truth(server))


@routes.get("/secrets")
async def _get_secrets(request: web.Request) -> web.Response:
    truths = secret_truths(request.app[_SIMULATION].world)
    return web.Response(body=_SECRETS.dump_json(truths, by_alias=True), content_type="application/json")


@routes.get("/secrets/{secret}")
async def _get_secret(request: web.Request) -> web.Response:
    try:
        secret = parse_secret(request.match_info["secret"])
    except ValueError as error:
        return _error(404, str(error))
    return _json(secret_detail(request.app[_SIMULATION].world, secret))


@routes.get("/tenants/{slug}")
async def _get_tenant(request: web.Request) -> web.Response:
    return _json(tenant_detail(request.app[_SIMULATION].world, request.match_info["slug"]))


@routes.post("/step")
async def _post_step(request: web.Request) -> web.Response:
    simulation = request.app[_SIMULATION]
    order = await _read(request, TypeAdapter(StepOrder))
    await simulation.step(order.count, nodes=order.nodes)
    return _json(simulation.clock)


@routes.put("/frozen")
async def _put_frozen(request: web.Request) -> web.Response:
    simulation = request.app[_SIMULATION]
    simulation.frozen = await _read(request, _FLAG)
    return _json(simulation.clock)


@routes.get("/counters")
async def _get_counters(request: web.Request) -> web.Response:
    return _json(request.app[_SIMULATION].counts())


@routes.delete("/counters")
async def _delete_counters(request: web.Request) -> web.Response:
    request.app[_SIMULATION].reset_counts()
    return _json(request.app[_SIMULATION].counts())


class ControlServer:
    """The control port of a simulation.

    Args:
        simulation: what it controls.
        port: the TCP port of the loopback interface; 0 takes a free one.
    """

    def __init__(self, simulation: Simulation, *, port: int = 0) -> None:
        application = web.Application(middlewares=[_errors])
        application[_SIMULATION] = simulation
        application.add_routes(routes)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        self._port = port

    @property
    def url(self) -> str:
        """The control port's URL, once started."""
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def start(self) -> None:
        """Listens."""
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self._port).start()

    async def close(self) -> None:
        """Stops listening and drops all connections."""
        await self._runner.cleanup()
