"""What the farm knows: the truth about meetings, nodes and API secrets, for the control port."""

from collections.abc import Collection

from dev.farm.messages import MeetingTruth, NodeDetail, NodeTruth, PlacedMeeting, SecretDetail, SecretTruth
from dev.farm.model import Meeting
from dev.farm.server import NodeServer
from dev.farm.tenants import Book, Secret, split
from dev.farm.world import World


def meeting_truth(meeting: Meeting) -> MeetingTruth:
    """What the farm knows of a meeting."""
    return MeetingTruth(
        meeting_id=meeting.meeting_id,
        internal_meeting_id=meeting.internal_id,
        name=meeting.name,
        create_time=meeting.create_time,
        begun_at=meeting.begun_at,
        secret=None if meeting.secret is None else str(meeting.secret),
        client_id=split(meeting.meeting_id)[1],
        user_ids=[attendee.user_id for attendee in meeting.attendees],
        running=meeting.running,
        forcibly_ended=meeting.forcibly_ended,
        is_breakout=meeting.breakout is not None,
        parent_meeting_id=None if meeting.breakout is None else meeting.breakout.parent_internal_id,
        breakout_rooms=list(meeting.breakout_rooms),
        attendees=len(meeting.attendees),
        moderators=meeting.moderator_count,
        listeners=meeting.listener_count,
        voices=meeting.voice_count,
        videos=meeting.video_count,
        muted=sum(attendee.muted for attendee in meeting.attendees),
        screens=sum(attendee.screen for attendee in meeting.attendees),
    )


def node_truth(server: NodeServer) -> NodeTruth:
    """What the farm knows of a node."""
    node = server.node
    return NodeTruth(
        name=node.name,
        api_url=server.api_url,
        load_url=server.load_url,
        behaviour=server.behaviour,
        seconds=server.seconds,
        algorithms=sorted(server.algorithms),
        clock_offset=node.clock_offset,
        load=node.load,
        meetings=len(node.meetings),
        breakouts=node.breakout_count,
        attendees=node.attendee_count,
    )


def node_detail(server: NodeServer) -> NodeDetail:
    """What the farm knows of a node and of its meetings."""
    meetings = [meeting_truth(meeting) for meeting in server.node.meetings.values()]
    return NodeDetail(**dict(node_truth(server)), meeting_list=meetings)


def secret_truths(world: World) -> list[SecretTruth]:
    """What the farm knows of each secret that ever had a meeting or was named at the start."""
    return [_truth(world, [secret], slug=secret.slug, sub_id=secret.sub_id) for secret in sorted(world.books)]


def secret_detail(world: World, secret: Secret) -> SecretDetail:
    """What the farm knows of a secret and of its own meetings."""
    return _detail(world, [secret], _truth(world, [secret], slug=secret.slug, sub_id=secret.sub_id))


def tenant_detail(world: World, slug: str) -> SecretDetail:
    """What the farm knows of all meetings of a tenant."""
    secrets = [secret for secret in world.books if secret.slug == slug]
    return _detail(world, secrets, _truth(world, secrets, slug=slug, sub_id=None))


def _truth(world: World, secrets: Collection[Secret], *, slug: str, sub_id: int | None) -> SecretTruth:
    meetings = [meeting for _, meeting in world.meetings_of(*secrets)]
    books = [world.books.get(secret, Book()) for secret in secrets]
    return SecretTruth(
        slug=slug,
        sub_id=sub_id,
        meetings=len(meetings),
        attendees=sum(len(meeting.attendees) for meeting in meetings),
        listeners=sum(meeting.listener_count for meeting in meetings),
        voices=sum(meeting.voice_count for meeting in meetings),
        videos=sum(meeting.video_count for meeting in meetings),
        moderators=sum(meeting.moderator_count for meeting in meetings),
        users_joined=sum(book.users_of_ended for book in books) + sum(len(meeting.ever_joined) for meeting in meetings),
        meetings_created=sum(book.created for book in books),
        meetings_ended=sum(book.ended for book in books),
    )


def _detail(world: World, secrets: Collection[Secret], truth: SecretTruth) -> SecretDetail:
    placed = sorted(world.meetings_of(*secrets), key=lambda pair: pair[1].begun_at)
    meetings = [PlacedMeeting(**dict(meeting_truth(meeting)), node=node.name) for node, meeting in placed]
    return SecretDetail(**dict(truth), meeting_list=meetings)
