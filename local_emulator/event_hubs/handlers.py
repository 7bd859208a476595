"""One function per operation: attaching links, sending events, tokens (``$cbs``) and ``$management``."""

import re
import time
from functools import partial

from local_emulator.event_hubs import codec, errors
from local_emulator.event_hubs.claims import TokenError, check_signature, covers, path_of
from local_emulator.event_hubs.consumer import MAX_MESSAGE_BYTES, NEVER, ConsumerLink
from local_emulator.event_hubs.errors import AmqpError
from local_emulator.event_hubs.frames import Attach
from local_emulator.event_hubs.links import AfterSettling, IncomingLink, Link, OutgoingLink
from local_emulator.event_hubs.message import BATCH_FORMAT, Event, take_apart, take_batch_apart
from local_emulator.event_hubs.position import first_sequence
from local_emulator.event_hubs.request import Reply, Request, encode_reply, map_body, read_request
from local_emulator.event_hubs.session import Session
from local_emulator.event_hubs.state import Hub, Namespace, Partition

_CBS, _MANAGEMENT = "$cbs", "$management"
_NODE_CREDIT, _HUB_CREDIT, _PARTITION_CREDIT = 100, 300, 1000
_ADDRESS = re.compile(r"([^/]+)(?:/consumergroups/([^/]+))?(?:/partitions/([^/]+))?")
_OK, _ACCEPTED, _BAD_REQUEST, _UNAUTHORIZED, _NOT_FOUND, _NOT_IMPLEMENTED = 200, 202, 400, 401, 404, 501


class _EventSink(IncomingLink):
    """A producer's link to a hub or to one partition."""

    max_message_size = MAX_MESSAGE_BYTES


class Handlers:
    """The service's operations on a namespace; ``sends_to_reject`` throttles so many sends."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self.sends_to_reject = 0

    # Links

    def attach(self, session: Session, attach: Attach) -> Link:
        """Return the link that a client asks for, or raise why it cannot have it."""
        path = path_of(attach.address)
        if path == _CBS or path.endswith(_MANAGEMENT):
            return self._attach_node(session, attach, path)
        match = _ADDRESS.fullmatch(path)
        if match is None:
            raise errors.not_implemented(f"The address '{attach.address}'")
        if not session.connection.claims.allow(path):
            raise errors.unauthorized("Listen" if attach.client_receives else "Send", attach.address)
        name, group, partition_id = match.groups()
        hub = self._namespace.find(name)
        if hub is None:
            raise errors.not_found(attach.address)
        if attach.client_receives:
            return self._attach_consumer(session, attach, hub, group or "", partition_id or "")
        if group is not None:
            raise errors.not_implemented(f"Sending to '{attach.address}'")
        partition = None if partition_id is None else hub.partition(partition_id)
        credit = _HUB_CREDIT if partition is None else _PARTITION_CREDIT
        return _EventSink(session, attach, path, credit, partial(self._send, hub, partition))

    def _attach_node(self, session: Session, attach: Attach, path: str) -> Link:
        if attach.client_receives:
            return OutgoingLink(session, attach, None)
        operation = self._put_token if path == _CBS else self._manage

        def on_message(_: int, message: bytes) -> AfterSettling:
            request = read_request(message)
            reply = encode_reply(request, operation(session, request))
            return lambda: _reply_link(session, path, request.reply_to).send(reply)

        return IncomingLink(session, attach, None, _NODE_CREDIT, on_message)

    def _attach_consumer(
        self, session: Session, attach: Attach, hub: Hub, group: str, partition_id: str
    ) -> ConsumerLink:
        partition = hub.partition(partition_id)
        receivers = partition.receivers.get(group)
        if receivers is None:
            raise errors.not_found(attach.address)
        start = first_sequence(partition.log, attach.selector)
        link = ConsumerLink(session, attach, path_of(attach.address), partition.log, start)
        link.admit_to(receivers)
        return link

    # Events

    def _send(self, hub: Hub, partition: Partition | None, message_format: int, message: bytes) -> AfterSettling:
        if self.sends_to_reject:
            self.sends_to_reject -= 1
            raise errors.server_busy()
        if message_format == BATCH_FORMAT:
            events, key = take_batch_apart(message)
        else:
            event, key = take_apart(message)
            events = [event]
        append(partition or hub.choose(key), events)
        return None

    # Tokens

    def _put_token(self, session: Session, request: Request) -> Reply:
        """Check a token and remember what it allows."""
        if request.text("operation") != "put-token" or not isinstance(request.value, str):
            return Reply(_BAD_REQUEST, errors.with_tracking("The request is not a put-token."))
        audience = request.text("name")
        claims = session.connection.claims
        try:
            claims.put(request.value, request.text("type"), audience)
        except TokenError as error:
            return Reply(error.status, errors.with_tracking(error.reason))
        if self._namespace.find(path_of(audience).partition("/")[0]) is None:
            return Reply(_NOT_FOUND, errors.with_tracking(errors.not_found(audience).description))
        session.connection.watch_expiry()
        return Reply(_ACCEPTED, "Accepted")

    # Management

    def _manage(self, session: Session, request: Request) -> Reply:
        """Answer what the SDKs ask about hubs and partitions."""
        operations = {"com.microsoft:eventhub": _read_hub, "com.microsoft:partition": _read_partition}
        operation = operations.get(request.text("type"))
        if request.text("operation") != "READ" or operation is None:
            asked = f"{request.text('operation')} of '{request.text('type')}'"
            return _failure(_NOT_IMPLEMENTED, errors.not_implemented(asked))
        name = request.text("name")
        if not _may_manage(session, request, name.lower()):
            return _failure(_UNAUTHORIZED, errors.unauthorized("Manage,EventHub", name))
        hub = self._namespace.find(name)
        if hub is None:
            return _failure(_NOT_FOUND, errors.not_found(name))
        try:
            return Reply(_OK, "OK", map_body(operation(hub, request)))
        except AmqpError as error:
            return _failure(_BAD_REQUEST, error)


def append(partition: Partition, events: list[Event]) -> None:
    """Write events to a partition's log; a full disk is the service's internal error."""
    try:
        partition.log.append(events)
    except OSError as error:
        raise AmqpError("amqp:internal-error", f"The events cannot be stored: {error}.") from error


def _reply_link(session: Session, path: str, reply_to: str) -> OutgoingLink:
    """Find the link that a client reads its replies from."""
    links = [
        link
        for link in session.links.values()
        if isinstance(link, OutgoingLink) and path_of(link.attach.address) == path
    ]
    named = [link for link in links if link.attach.target.text(0) == reply_to]
    if not links:
        raise AmqpError("amqp:not-allowed", f"There is no link to read replies of '{path}' from.")
    return (named or links)[0]


def _failure(status: int, error: AmqpError) -> Reply:
    return Reply(status, errors.with_tracking(error.description), condition=error.condition)


def _may_manage(session: Session, request: Request, hub: str) -> bool:
    """Whether the request's own token, or one the connection has shown, is for the hub."""
    if token := request.text("security_token"):
        try:
            return covers(check_signature(token, time.time())[0], hub)
        except TokenError:
            return False
    claims = session.connection.claims
    return claims.allow(hub) or claims.allow(f"{hub}/{_MANAGEMENT}")


def _read_hub(hub: Hub, _: Request) -> list[tuple[str, bytes]]:
    partition_ids = [str(number) for number in range(len(hub.partitions))]
    return [
        ("name", codec.string(hub.name)),
        ("type", codec.string("com.microsoft:eventhub")),
        ("created_at", codec.timestamp(hub.created_at)),
        ("partition_count", codec.integer(len(partition_ids))),
        ("partition_ids", codec.string_array(partition_ids)),
        ("georeplication_factor", codec.integer(1)),
    ]


def _read_partition(hub: Hub, request: Request) -> list[tuple[str, bytes]]:
    partition_id = request.text("partition")
    log = hub.partition(partition_id).log
    last = log.last
    return [
        ("name", codec.string(hub.name)),
        ("type", codec.string("com.microsoft:partition")),
        ("partition", codec.string(partition_id)),
        ("begin_sequence_number", codec.long(log.begin)),
        ("last_enqueued_sequence_number", codec.long(last.sequence if last else -1)),
        ("last_enqueued_offset", codec.string(str(last.offset if last else -1))),
        ("last_enqueued_time_utc", codec.timestamp(last.enqueued if last else NEVER)),
        ("is_partition_empty", codec.boolean(log.is_empty)),
    ]
