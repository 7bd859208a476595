"""A consumer's link: reads a partition's log and sends it, batch by batch, as fast as the client takes it."""

from typing import TYPE_CHECKING

from local_emulator.event_hubs import codec
from local_emulator.event_hubs.links import SETTLED, OutgoingLink
from local_emulator.event_hubs.message import DELIVERY_ANNOTATIONS
from local_emulator.event_hubs.partition_log import Cursor, PartitionLog
from local_emulator.event_hubs.state import now_milliseconds

if TYPE_CHECKING:
    from local_emulator.event_hubs.frames import Attach
    from local_emulator.event_hubs.receivers import Receivers
    from local_emulator.event_hubs.session import Session

MAX_MESSAGE_BYTES = 1024 * 1024
_SLICE_BYTES = 256 * 1024  # written at once; then other connections get their turn
_SMALL_READ_BYTES = 4096
_EXPECTED_EVENT_BYTES = 1024
NEVER = -62135596800000  # the year 1, which clients show as "no event yet"


class ConsumerLink(OutgoingLink):
    """Delivers a partition's events, settled: consumers keep their own checkpoints."""

    settle_mode = SETTLED
    max_message_size = MAX_MESSAGE_BYTES
    tag = b""  # a constant one, since clients remember every different tag of a settled delivery

    def __init__(
        self, session: "Session", attach: "Attach", resource: str, log: PartitionLog, first_sequence: int
    ) -> None:
        super().__init__(session, attach, resource)
        epoch = attach.properties.get("com.microsoft:epoch")
        name = attach.properties.get("com.microsoft:receiver-name")
        self.epoch = epoch if isinstance(epoch, int) else None
        self.receiver_name = name if isinstance(name, str) and name else "nil"
        self._with_metrics = "com.microsoft:enable-receiver-runtime-metric" in attach.desired_capabilities
        self._log = log
        self._cursor = Cursor(first_sequence)
        self._receivers: Receivers | None = None
        self._scheduled = False

    def admit_to(self, receivers: "Receivers") -> None:
        """Become a receiver of the partition, or raise why not."""
        receivers.admit(self)
        self._receivers = receivers

    def opened(self) -> None:
        """Hear of new events."""
        self._log.on_append.add(self.wake)

    def closed(self) -> None:
        """Stop reading, and leave the place to another receiver."""
        self._log.on_append.discard(self.wake)
        if self._receivers is not None:
            self._receivers.remove(self)

    def wake(self) -> None:
        """Send soon, once for all events that come until then."""
        if self.credit and not self._scheduled:
            self._scheduled = True
            self.session.call_soon(self._awake)

    def _awake(self) -> None:
        self._scheduled = False
        self.pump()

    def pump(self) -> None:
        """Send one slice; come back for the next one."""
        session = self.session
        if not self.is_attached or session.is_paused or not self.flush_unsent():
            return
        limit = min(self.credit, session.remote_window)
        if limit <= 0:
            return
        max_bytes = min(max(limit * _EXPECTED_EVENT_BYTES, _SMALL_READ_BYTES), _SLICE_BYTES)
        batch = self._log.read(self._cursor, limit, max_bytes)
        if not batch:
            return
        metrics = self._metrics() if self._with_metrics else b""
        parts: list[bytes | memoryview] = []
        for header_size, message in batch:
            if metrics:
                parts += self.transfer_frames(message[:header_size], metrics, message[header_size:])
            else:
                parts += self.transfer_frames(message)
        session.write(b"".join(parts))
        self.wake()

    @property
    def is_attached(self) -> bool:
        """Whether the link still stands."""
        return self.session.links.get(self.handle) is self

    def _metrics(self) -> bytes:
        """Return delivery annotations that tell how far the partition has got."""
        last = self._log.last
        pairs = [
            ("last_enqueued_sequence_number", codec.long(last.sequence if last else -1)),
            ("last_enqueued_offset", codec.string(str(last.offset if last else -1))),
            ("last_enqueued_time_utc", codec.timestamp(last.enqueued if last else NEVER)),
            ("runtime_info_retrieval_time_utc", codec.timestamp(now_milliseconds())),
        ]
        encoded = codec.map_of((codec.symbol(key), value) for key, value in pairs)
        return codec.described(DELIVERY_ANNOTATIONS, encoded)
