"""What the events of a batch are for: messages by twin, forwards, ticks, replays, dead letters."""

from collections.abc import Mapping, Sequence

import msgspec

from twin_actors.commit import DeadLetter
from twin_actors.errors import PartitionStopped, Rejected
from twin_actors.identity import home_partition
from twin_actors.messages import (
    KIND,
    LETTER,
    Event,
    Kind,
    address,
    check_size,
    kind_of,
    open_envelope,
    open_forward,
    open_known,
)
from twin_actors.requests import AddressedRequest, Deletion, decode_request
from twin_actors.shard import ERA, Shard
from twin_actors.telling import Addressed, open_tell

RENUMBERED = 10**15
"""Added to the numbers in ids of dead letters each time that events are numbered anew: an older one keeps its id."""

MAX_DETAIL = 1_000
"""Characters kept of what is wrong with a message: what a twin type raises may be of any length."""


class Mail(msgspec.Struct):
    """A batch, sorted.

    Attributes
    ----------
    by_twin : dict
        Twin id → its messages, what apps ask of it and other twins tell it, in the order of the partition.
    misplaced : list
        (home partition, event) of messages for twins of other shards, in order.
    letters : list of DeadLetter
        What could not be understood.
    tick_time : float or None
        The time of the newest tick.
    struck : list of str
        Dead letters that are being replayed.
    channels : dict
        Source partition → number of the last forwarded event in the batch.
    is_asked : bool
        Whether apps ask for anything in it.
    deletions : dict
        Twin id → what deletes it; the last of what `by_twin` has for it.
    cut_at : int or None
        The first message for a twin that the batch deletes before it: with it, another record must begin.
    counts : dict
        Ticks, repeats of forwards, replays of nothing.
    refused : list
        (request, why) of what apps asked that is among the dead letters.
    condemned : Rejected or None
        Why what is for twins of this shard reaches none of them.
    """

    by_twin: dict[str, list[Addressed]] = {}
    misplaced: list[tuple[int, Event]] = []
    letters: list[DeadLetter] = []
    tick_time: float | None = None
    struck: list[str] = []
    channels: dict[int, int] = {}
    is_asked: bool = False
    deletions: dict[str, AddressedRequest] = {}
    cut_at: int | None = None
    counts: dict[str, int] = {}
    refused: list[tuple[AddressedRequest, Rejected]] = []
    condemned: Rejected | None = None

    def count(self, name: str) -> None:
        """Count one more of something."""
        self.counts[name] = self.counts.get(name, 0) + 1


def sort(
    events: Sequence[Event],
    shard: Shard,
    partition_count: int,
    replayed: Mapping[str, DeadLetter],
    condemned: Rejected | None = None,
) -> Mail:
    """Sort a batch.

    Parameters
    ----------
    events
        Contiguous, above the watermark.
    shard
        Whose batch it is; it is only read.
    partition_count
        Over which twins are spread.
    replayed
        The open dead letters that replay events of this batch name, with their bodies.
    condemned
        Why what is for twins of this shard is given up; None where it is not.

    Raises
    ------
    PartitionStopped
        A channel from another shard has a hole.
    """
    mail = Mail(condemned=condemned)
    known = shard.hot if condemned is None else {}
    for event in events:
        try:
            if event.device_id in known:  # most: a device speaks of whom we know that its home is here
                check_size(event)
                _address(mail, event.device_id, open_known(event))
                continue
            kind = kind_of(event)
            if kind is Kind.TICK:
                mail.tick_time = max(mail.tick_time or 0.0, event.enqueued_time)
                mail.count("ticks")
            elif kind is Kind.FORWARD:
                _take_forward(event, shard, partition_count, mail)
            elif kind is Kind.REPLAY:
                _take_replay(event, replayed, shard, partition_count, mail)
            elif kind is Kind.TELL:
                detail = "what twins tell each other comes by forwarded events only; apps send requests"
                mail.letters.append(
                    dead_letter(shard.partition, event.sequence_number, event, Rejected("bad_tell", detail))
                )
            else:
                _take_addressed(event, event.sequence_number, shard, partition_count, mail)
        except Rejected as refusal:
            mail.letters.append(dead_letter(shard.partition, event.sequence_number, event, refusal))
    return mail


def dead_letter(partition: int, sequence_number: int, event: Event, refusal: Rejected, twin_id: str = "") -> DeadLetter:
    """Return what is kept of a rejected event."""
    return DeadLetter(
        f"{partition}-{sequence_number}",
        refusal.reason,
        kept_detail(refusal),
        twin_id or event.device_id or "",
        event,
    )


def kept_detail(refusal: Rejected) -> str:
    """Return what is kept of what is wrong with a message."""
    return refusal.detail[:MAX_DETAIL].encode(errors="replace").decode()


def renumbered(letters: list[DeadLetter], shard: Shard) -> list[DeadLetter]:
    """Return dead letters under ids that no event of another numbering has."""
    if not shard.renumbered:
        return letters
    renamed: list[DeadLetter] = []
    for letter in letters:
        partition, _, number = letter.letter_id.partition("-")
        letter_id = f"{partition}-{int(number) + shard.renumbered * RENUMBERED}"
        renamed.append(msgspec.structs.replace(letter, letter_id=letter_id))
    return renamed


def replays(events: Sequence[Event], shard: Shard) -> list[str]:
    """Return the ids of the open dead letters that replay events of a batch name."""
    named = (event.properties.get(LETTER, "") for event in events if event.device_id is None)
    return [letter_id for letter_id in dict.fromkeys(named) if letter_id in shard.letters]


def give_up(mail: Mail, partition: int, refusal: Rejected) -> None:
    """Refuse all messages of a batch; what else is in it stays."""
    for envelopes in mail.by_twin.values():
        mail.letters += [
            dead_letter(partition, envelope.sequence_number, envelope.event, refusal, envelope.twin_id)
            for envelope in envelopes
        ]
        mail.refused += [(one, refusal) for one in envelopes if isinstance(one, AddressedRequest)]
    mail.by_twin.clear()
    mail.deletions.clear()


def _take_addressed(event: Event, sequence_number: int, shard: Shard, partition_count: int, mail: Mail) -> None:
    """Take an event that is for a twin: a reading, what an app asks, or what another twin tells."""
    check_size(event)
    twin_id = address(event)
    home = home_partition(twin_id, partition_count)
    if home != shard.partition:
        mail.misplaced.append((home, event))
        return
    opened: Addressed
    kind = kind_of(event)
    if kind is Kind.REQUEST:
        request = decode_request(event.body)
        if isinstance(request, Deletion) and shard.is_deleted_by(twin_id, request.operation_id):
            mail.count("requests_repeated")
            return
        opened = AddressedRequest(twin_id=twin_id, request=request, event=event, sequence_number=sequence_number)
        if mail.condemned is not None:  # whoever asked is told; it is no request that crashes, but what is done with it
            mail.refused.append((opened, mail.condemned))
            raise mail.condemned
    elif mail.condemned is not None:
        raise mail.condemned
    elif kind is Kind.TELL:
        opened = open_tell(event, twin_id, sequence_number)
    else:
        opened = open_envelope(event, sequence_number)
    _address(mail, twin_id, opened)
    if isinstance(opened, AddressedRequest):
        mail.is_asked = True
        if isinstance(opened.request, Deletion):
            mail.deletions[twin_id] = opened


def _address(mail: Mail, twin_id: str, opened: Addressed) -> None:
    """Put a message behind those before it for its twin."""
    if mail.cut_at is None and twin_id in mail.deletions:
        mail.cut_at = opened.sequence_number
    waiting = mail.by_twin.get(twin_id)
    if waiting is None:
        mail.by_twin[twin_id] = [opened]
    else:
        waiting.append(opened)


def _take_forward(event: Event, shard: Shard, partition_count: int, mail: Mail) -> None:
    forward = open_forward(event)
    inner = forward.event
    is_tell = inner.device_id is None and inner.properties.get(KIND) == Kind.TELL
    if is_tell:  # it was made without a time
        inner = msgspec.structs.replace(inner, enqueued_time=event.enqueued_time)
    if (forward.source == shard.partition and not is_tell) or forward.source < 0 or forward.number < 1:
        raise Rejected("bad_forward", f"partition {forward.source} forwards nothing as number {forward.number} here")
    last = mail.channels.get(forward.source, shard.received_channels.get(forward.source, 0))
    if forward.number <= last:
        mail.count("forwards_repeated")
        return
    missing = forward.number - 1 - (last if forward.number // ERA == last // ERA else forward.number // ERA * ERA)
    if missing and forward.source in shard.open_channels and forward.source not in mail.channels:
        mail.counts["forwards_lost"] = mail.counts.get("forwards_lost", 0) + missing
    elif missing:
        raise PartitionStopped(
            f"partition {shard.partition}: forwarded event {forward.number} of partition {forward.source} follows "
            f"{last}: events between them are missing; to go on without them, once you know where they are: "
            f"python -m twin_actors partition rebase {shard.partition} --from {event.sequence_number}"
        )
    mail.channels[forward.source] = forward.number
    if home_partition(address(inner), partition_count) == shard.partition:
        _take_inner(inner, event.sequence_number, shard, partition_count, mail)
    else:
        refusal = Rejected("misplaced_twice", "a forwarded event reached a partition that is not its twin's home")
        mail.letters.append(dead_letter(shard.partition, event.sequence_number, inner, refusal))


def _take_replay(
    event: Event, replayed: Mapping[str, DeadLetter], shard: Shard, partition_count: int, mail: Mail
) -> None:
    letter = replayed.get(event.properties.get(LETTER, ""))
    if letter is None or letter.letter_id in mail.struck:
        mail.count("replays_ignored")
        return
    mail.struck.append(letter.letter_id)
    mail.count("replayed")
    _take_inner(letter.event, event.sequence_number, shard, partition_count, mail)


def _take_inner(event: Event, sequence_number: int, shard: Shard, partition_count: int, mail: Mail) -> None:
    """Take an event that another one carried; what is wrong with it is its own dead letter."""
    try:
        kind_of(event)
        _take_addressed(event, sequence_number, shard, partition_count, mail)
    except Rejected as refusal:
        mail.letters.append(dead_letter(shard.partition, sequence_number, event, refusal))
