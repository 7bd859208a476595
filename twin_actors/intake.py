"""A batch on its way into the journal: skip what is folded, heal gaps, fold the rest in as few records as fit."""

import contextlib
import logging
from collections.abc import Mapping, Sequence

import msgspec

from twin_actors.active import Active
from twin_actors.caution import MOST_ATTEMPTS
from twin_actors.commit import Commit, DeadLetter
from twin_actors.errors import Fenced, Rejected
from twin_actors.fold import fold
from twin_actors.introduction import PATIENCE_SECONDS, introduce
from twin_actors.mailbox import give_up, replays, sort
from twin_actors.messages import Event
from twin_actors.metrics import DUPLICATES
from twin_actors.outbox import letter_path
from twin_actors.ownership import RecordTooLarge
from twin_actors.watermark import Watermark, check_hub, first_gap, unfolded

log = logging.getLogger(__name__)

CHUNK_BYTES = 1024 * 1024
"""Bodies folded into one record; a larger batch commits as several."""

_letter_decoder = msgspec.msgpack.Decoder(DeadLetter)


async def take(active: Active, events: Sequence[Event]) -> None:
    """Fold what is above the watermark, holes first."""
    assert active.shard.watermark is not None
    active.patient_until = active.ports.clock.elapsed() + PATIENCE_SECONDS
    fresh = unfolded(active.shard.watermark, events)
    if len(fresh) < len(events):
        active.ports.metrics.record(DUPLICATES, active.shard.partition, len(events) - len(fresh))
    if fresh and first_gap(active.shard.watermark.sequence_number, fresh):
        await _check_gap(active)
    while fresh:
        gap = first_gap(active.shard.watermark.sequence_number, fresh)
        if gap is None:
            await _fold_chunks(active, fresh)
            return
        index, first, last = gap
        await _fold_chunks(active, fresh[:index])
        await _heal(active, first, last, fresh[index].enqueued_time)
        fresh = fresh[index:]


async def _check_gap(active: Active) -> None:
    """Make sure that events are missing, and not records, and that they are events of the hub we know."""
    partition, watermark = active.shard.partition, active.shard.watermark
    assert watermark is not None
    if not await active.owner.is_current():
        raise Fenced(f"partition {partition}: our memory is older than the journal")
    check_hub(watermark, (await active.ports.reader.describe(partition)).hub, partition)


async def _heal(active: Active, first: int, last: int, next_time: float) -> None:
    """Fold events that the trigger skipped, read from the hub itself; what follows them was enqueued at `next_time`."""
    partition = active.shard.partition
    while first <= last:
        found = await active.ports.reader.read(partition, first, last)
        upto = found[0].sequence_number if found else last + 1
        if upto > first:
            await _lose(active, first, upto - 1, found[0].enqueued_time if found else next_time)
        if not found:
            return
        await _fold_chunks(active, found, {"healed": len(found)})
        log.warning("partition %d: %d events that the trigger skipped were read again", partition, len(found))
        first = found[-1].sequence_number + 1


async def _lose(active: Active, first: int, last: int, next_time: float) -> None:
    """Record that events are gone from the hub before they were folded; forwards of any channel may be among them.

    They were enqueued before the event that follows them: one that the trigger still hands over is no stranger then.
    """
    watermark = active.shard.watermark
    assert watermark is not None
    passed = Watermark(last, max(watermark.enqueued_time, next_time), watermark.hub)
    channels = list(range(active.partition_count))
    draft = Commit(append_id="", epoch=0, watermark=passed, open_channels=channels)
    await active.commit(draft, {"lost": last - first + 1})
    log.error(
        "partition %d: events %d to %d are lost: their retention ended before they were folded",
        active.shard.partition,
        first,
        last,
    )


async def _fold_chunks(active: Active, events: Sequence[Event], counts: Mapping[str, int] | None = None) -> None:
    """Fold contiguous events, as many to a record as fit."""
    chunk: list[Event] = []
    size = 0
    for event in events:
        if active.shard.caution.events:
            await _fold_alone(active, event, counts)
            counts = None
            continue
        if chunk and size + len(event.body) > CHUNK_BYTES:
            await _fold(active, chunk, counts)
            chunk, size, counts = [], 0, None
        chunk.append(event)
        size += len(event.body)
    if chunk:
        await _fold(active, chunk, counts)


async def _fold_alone(active: Active, event: Event, counts: Mapping[str, int] | None) -> None:
    """Fold an event under an intent that names it; give it up if it has killed whoever tried."""
    attempts = active.shard.caution.attempts(event.sequence_number)
    if attempts < MOST_ATTEMPTS:
        async with active.doubt:
            await active.owner.intend(event.sequence_number)
            await _fold(active, [event], counts)
        return
    log.error("partition %d: event %d has killed %d processes", active.shard.partition, event.sequence_number, attempts)
    died = f"{attempts} processes died while they folded this; replay it once the code that crashes or hangs is mended"
    await _fold(active, [event], counts, Rejected("kills_process", died))


async def _fold(
    active: Active, events: Sequence[Event], counts: Mapping[str, int] | None, condemned: Rejected | None = None
) -> None:
    """Fold contiguous events into one record; into two where it would be too large."""
    shard = active.shard
    while True:
        mail = sort(events, shard, active.partition_count, await _replayed(active, events), condemned)
        if mail.cut_at is None:
            break
        cut = next(index for index, event in enumerate(events) if event.sequence_number == mail.cut_at)
        await _fold(active, events[:cut], counts)
        events, counts = events[cut:], None
    strangers = {twin_id: mail.by_twin[twin_id] for twin_id in mail.by_twin if twin_id not in shard.twins}
    ports, deadline = active.ports, active.patient_until
    newcomers = await introduce(strangers, ports.graph, ports.clock, active.types, shard, deadline)
    last = events[-1]
    assert shard.watermark is not None
    newest = max(shard.watermark.enqueued_time, *(event.enqueued_time for event in events))
    watermark = Watermark(last.sequence_number, newest, shard.watermark.hub)
    try:
        # Under an intent, the lock is ours already; what is condemned is not opened.
        async with contextlib.nullcontext() if shard.caution.events else active.doubt:
            draft, statistics = fold(mail, shard, active.types, newcomers, watermark)
        await active.commit(draft, counts, statistics)
    except (RecordTooLarge, OverflowError) as error:  # a number may be too large for MessagePack
        if len(events) > 1:
            half = len(events) // 2
            await _fold(active, events[:half], counts)
            await _fold(active, events[half:], None)
            return
        give_up(mail, shard.partition, Rejected("record_too_large", f"what comes of this message has {error}"))
        draft, statistics = fold(mail, shard, active.types, newcomers, watermark)
        await active.commit(draft, counts, statistics)
    lost = mail.counts.get("forwards_lost", 0)
    if lost:
        log.error("partition %d: %d events that others forwarded were lost on their way", shard.partition, lost)
    if mail.tick_time is not None:
        active.tick_time = max(active.tick_time, mail.tick_time)
        active.projection.unpark()


async def _replayed(active: Active, events: Sequence[Event]) -> dict[str, DeadLetter]:
    """Fetch the bodies of the dead letters that are to be replayed."""
    letters: dict[str, DeadLetter] = {}
    for letter_id in replays(events, active.shard):
        waiting = active.shard.kept_letter(letter_id)
        if waiting is not None:
            letters[letter_id] = waiting.letter
            continue
        stored = await active.ports.journal.read(letter_path(letter_id))
        if stored is None:
            continue
        try:
            letters[letter_id] = _letter_decoder.decode(stored.data)
        except msgspec.DecodeError as error:
            log.error("dead letter %s cannot be read and stays open: %s", letter_id, error)  # noqa: TRY400  no bug
    return letters
