"""What turns are given of a batch, and what they leave: a twin at a time."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from twin_actors.commit import Twin
from twin_actors.errors import Rejected
from twin_actors.messages import Envelope, Quality
from twin_actors.outputs import Output
from twin_actors.telling import Addressed, AddressedTell, DueTimer
from twin_actors.twin import TwinType
from twin_actors.wide import Statistics

KEY_BYTES = 8
"""Of what stands for a message id."""

RECENT_KEYS = 64
"""How many message ids a twin remembers, to count what its device sends again."""


class Work(msgspec.Struct, frozen=True):
    """A twin, and the messages of the batch that are for it, in order."""

    partition: int
    twin: Twin
    twin_type: TwinType[Any]
    envelopes: Sequence[Addressed | DueTimer]
    recent_keys: bytes = b""
    """Of the messages it heard last, oldest first, `KEY_BYTES` each."""
    waiting: int = 0
    """How many commands wait for its device."""
    statistics: Statistics | None = None
    """Of its signals, where it hears frames."""


class Folded(msgspec.Struct):
    """What became of a twin's messages.

    Attributes
    ----------
    twin : Twin
        After them.
    accepted : list
        (envelope, key of its message id, quality of each row) of each message folded; no qualities where all is good.
    refused : list
        (envelope, reason) of each message that could not be folded.
    resent : int
        Messages that had been folded before under the same id.
    requests, repeated : int
        What apps asked for the first time, and again.
    timers : int
        Those that were due; one whose turn was refused is over as well.
    outputs : list of Output
        What the twin's rules and the apps' requests leave for the world.
    statistics : Statistics or None
        Of its signals after the frames folded; None where there were none.
    frames : dict
        Sequence number of each message of frames → the times given to its rows, and their qualities, packed.
    """

    twin: Twin
    accepted: list[tuple[Envelope | AddressedTell, int, list[dict[str, Quality]]]]
    refused: list[tuple[Addressed | DueTimer, Rejected]]
    resent: int = 0
    requests: int = 0
    repeated: int = 0
    timers: int = 0
    outputs: list[Output] = []
    statistics: Statistics | None = None
    frames: dict[int, tuple[list[float], list[bytes]]] = {}

    @property
    def is_changed(self) -> bool:
        """Whether the twin must be committed."""
        return bool(self.accepted or self.resent or self.requests or self.timers)


def message_key(message_id: str | None) -> int:
    """Return 64 bits that stand for a message id, 0 for none."""
    if not message_id:
        return 0
    digest = _nothing.copy()  # half of what making one takes
    digest.update(message_id.encode("utf-8", "surrogatepass"))
    return int.from_bytes(digest.digest()) or 1


_nothing = blake2b(digest_size=KEY_BYTES)


def packed_key(key: int) -> bytes:
    """Return the bytes of what stands for a message id."""
    return key.to_bytes(KEY_BYTES, "little")


def unpacked_keys(keys: bytes) -> list[int]:
    """Return what stands for message ids."""
    return memoryview(keys).cast("Q").tolist()
