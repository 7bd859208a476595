"""A sorted batch becomes the content of one record. Pure: the same batch gives the same record."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from twin_actors.asking import refused
from twin_actors.commit import Accepted, AcceptedFrames, Commit, DeadLetter, KeepLetter, OutboxEntry, StrikeLetter, Twin
from twin_actors.deletion import called_off, deleted, farewell, never_was, of_nobody, waiting_commands
from twin_actors.errors import Rejected
from twin_actors.mailbox import Mail, dead_letter, kept_detail, renumbered
from twin_actors.messages import Envelope
from twin_actors.outputs import Output, SendCommand, SendForward
from twin_actors.requests import AddressedRequest
from twin_actors.shard import Shard
from twin_actors.telling import Addressed, AddressedTell, DueTimer
from twin_actors.turn import run
from twin_actors.twin import TwinType
from twin_actors.watermark import Watermark
from twin_actors.wide import Statistics
from twin_actors.work import Folded, Work

type Newcomers = Mapping[str, Twin | Rejected]
"""Twins that were unknown before this batch: who they turned out to be, or why they are none."""


def fold(
    mail: Mail, shard: Shard, types: Mapping[str, TwinType[Any]], newcomers: Newcomers, watermark: Watermark
) -> tuple[Commit, dict[str, Statistics]]:
    """Run the turns of a batch.

    Parameters
    ----------
    mail
        The batch, sorted.
    shard
        Only read.
    types
        Name → twin type.
    newcomers
        For every twin in the batch that the shard does not know.
    watermark
        After the batch.

    Returns
    -------
    Commit
        Without append id, epoch and the numbers of its outbox, which its owner gives.
    dict
        Twin id → statistics of its signals after the batch, which are not in the record.
    """
    waiting, partition, statistics, deletions = _waiting(mail, shard), shard.partition, shard.statistics, mail.deletions
    works: list[Work] = []
    for twin_id, envelopes in mail.by_twin.items():
        recalled, keys = shard.recall(twin_id)
        twin = recalled or _numbered(newcomers[twin_id], shard)
        if isinstance(twin, Twin):
            heard = envelopes[:-1] if twin_id in deletions else envelopes
            twin_type, held = types[twin.type_name], statistics.get(twin_id)
            works.append(Work(partition, twin, twin_type, heard, keys, waiting[twin_id] if waiting else 0, held))
    folded = run(works)
    letters = renumbered([*mail.letters, *_letters(mail, shard.partition, newcomers, folded)], shard)
    gone = {one.twin.twin_id: one.twin for one in folded if one.twin.twin_id in mail.deletions}
    dropped = waiting_commands(shard, gone)
    outputs = [output for one in folded for output in one.outputs]
    outputs += [*_told(mail, newcomers), *_given_up(mail, folded)]
    if gone:
        outputs = _outputs_without(gone, [*dropped, *outputs], watermark.enqueued_time)
        for twin_id, twin in gone.items():
            outputs += farewell(twin, mail.deletions[twin_id], types[twin.type_name].model)
    commit = Commit(
        append_id="",
        epoch=0,
        watermark=watermark,
        accepted=_accepted(folded),
        twins=[one.twin for one in folded if one.is_changed and one.twin.twin_id not in gone],
        deleted=[
            *(deleted(twin, mail.deletions[twin_id]) for twin_id, twin in gone.items()),
            *never_was(mail.deletions, newcomers),
        ],
        delivered=[command.number for command in dropped],
        outbox=_outbox(mail, letters, outputs),
        letters=[(letter.letter_id, letter.reason) for letter in letters],
        struck=mail.struck,
        channels=mail.channels,
        counts=_counts(mail, folded, letters, newcomers, len(gone)),
    )
    return commit, {one.twin.twin_id: one.statistics for one in folded if one.statistics is not None}


def _outputs_without(gone: Mapping[str, Twin], outputs: Sequence[Output], time: float) -> list[Output]:
    """Return outputs in which commands of twins that are gone are called off."""
    return [
        called_off(output, time) if isinstance(output, SendCommand) and output.command.twin_id in gone else output
        for output in outputs
    ]


def _numbered(newcomer: Twin | Rejected, shard: Shard) -> Twin | Rejected:
    """Return a newcomer whose alerts and orders are numbered beyond those of an earlier twin of its id."""
    if isinstance(newcomer, Rejected) or not shard.numbers_from:
        return newcomer
    maintenance = msgspec.structs.replace(newcomer.maintenance, number=shard.numbers_from)
    return msgspec.structs.replace(newcomer, maintenance=maintenance)


def _letters(mail: Mail, partition: int, newcomers: Newcomers, folded: list[Folded]) -> list[DeadLetter]:
    given_up: list[tuple[Addressed, Rejected]] = [
        (envelope, refusal) for one in folded for envelope, refusal in one.refused if not isinstance(envelope, DueTimer)
    ]
    for twin_id, envelopes in mail.by_twin.items():
        stranger = newcomers.get(twin_id)
        if isinstance(stranger, Rejected):
            given_up += [(envelope, stranger) for envelope in envelopes if not isinstance(envelope, AddressedRequest)]
    given_up.sort(key=lambda pair: pair[0].sequence_number)
    return [
        dead_letter(partition, envelope.sequence_number, envelope.event, refusal, envelope.twin_id)
        for envelope, refusal in given_up
    ]


def _waiting(mail: Mail, shard: Shard) -> Counter[str]:
    """Count the commands that wait for each device, where apps ask for more."""
    if not mail.is_asked:
        return Counter()
    return Counter(entry.command.twin_id for entry in shard.outbox.values() if isinstance(entry, SendCommand))


def _told(mail: Mail, newcomers: Newcomers) -> list[Output]:
    """Return what tells apps that the twin they asked is none."""
    if not mail.is_asked:
        return []
    return [
        of_nobody(twin_id, asked, stranger.reason, stranger.detail)
        for twin_id, envelopes in mail.by_twin.items()
        if isinstance(stranger := newcomers.get(twin_id), Rejected)
        for asked in envelopes
        if isinstance(asked, AddressedRequest)
    ]


def _given_up(mail: Mail, folded: list[Folded]) -> list[Output]:
    """Return what tells apps that what they asked has become a dead letter."""
    pairs = mail.refused + [
        (one, why) for each in folded for one, why in each.refused if isinstance(one, AddressedRequest)
    ]
    return [
        refused(
            asked.twin_id,
            asked.request,
            f"{refusal.reason}: {kept_detail(refusal)} (kept as a dead letter; an operator may replay it)",
            asked.event.enqueued_time,
        )
        for asked, refusal in pairs
    ]


def _accepted(folded: list[Folded]) -> Accepted:
    rows = [row for one in folded for row in one.accepted]
    rows.sort(key=_sequence_number)
    frames = {number: frame for one in folded if one.frames for number, frame in one.frames.items()}
    events = [envelope.event for envelope, _, _ in rows]
    return Accepted(
        twin_ids=[envelope.twin_id for envelope, _, _ in rows],
        sequence_numbers=[envelope.sequence_number for envelope, _, _ in rows],
        hub_times=[event.received_time or event.enqueued_time for event in events],
        bodies=[event.body for event in events],
        message_keys=[key for _, key, _ in rows],
        flags=[
            (index, line, channel, quality)
            for index, (_, _, flags) in enumerate(rows)
            if flags
            for line, flagged in enumerate(flags)
            for channel, quality in flagged.items()
        ],
        told=[index for index, (envelope, _, _) in enumerate(rows) if type(envelope) is AddressedTell],
        frames=[
            AcceptedFrames(index, *frames[envelope.sequence_number])
            for index, (envelope, _, _) in enumerate(rows)
            if envelope.sequence_number in frames
        ]
        if frames
        else [],
    )


def _sequence_number(row: tuple[Envelope | AddressedTell, int, Any]) -> int:
    return row[0].sequence_number


def _outbox(mail: Mail, letters: list[DeadLetter], outputs: list[Output]) -> list[OutboxEntry]:
    return [
        *(SendForward(0, destination, 0, event) for destination, event in mail.misplaced),
        *(KeepLetter(0, letter) for letter in letters),
        *(StrikeLetter(0, letter_id) for letter_id in mail.struck),
        *outputs,
    ]


def tells(outputs: Iterable[Output]) -> int:
    """Count the messages to twins among what turns leave for the world."""
    return sum(isinstance(output, SendForward) for output in outputs)


def _counts(
    mail: Mail, folded: list[Folded], letters: list[DeadLetter], newcomers: Newcomers, gone: int
) -> dict[str, int]:
    counts = Counter(mail.counts)
    heard = [envelope for one in folded for envelope, _, _ in one.accepted]
    readings = [len(envelope.rows) for envelope in heard if isinstance(envelope, Envelope)]
    counts["messages"], counts["readings"], counts["told"] = len(heard), sum(readings), len(heard) - len(readings)
    counts["tells"] = tells(output for one in folded if one.outputs for output in one.outputs)
    counts["resent"] = sum([one.resent for one in folded])
    counts["requests"] = sum([one.requests for one in folded]) + len(_told(mail, newcomers)) + gone
    counts["deleted"] = gone
    counts["requests_repeated"] += sum([one.repeated for one in folded])
    counts["dead_letters"] = len(letters)
    counts["forwarded"] = len(mail.misplaced)
    return {name: count for name, count in counts.items() if count}
