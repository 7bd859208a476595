"""The layouts of a type's state: what an earlier version of the app wrote is brought up to date when it is touched.

A twin keeps the layout it was written in until its next commit. Rows of the type (`TwinType.upgrades`) lead from each
layout to the next; a row may lead back as well, so that an earlier version of the app can be deployed again.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec

from twin_actors.commit import Twin
from twin_actors.errors import PartitionStopped, Rejected
from twin_actors.twin import TwinType

MAX_STATE_BYTES = 65_536
"""Of one twin: a batch's changed states must fit few records."""

type Step = Callable[[dict[str, Any]], dict[str, Any]]

_encode = msgspec.msgpack.Encoder().encode
_decode_plain: msgspec.msgpack.Decoder[dict[str, Any]] = msgspec.msgpack.Decoder(dict[str, Any])


@functools.cache
def _decoder(state: type[msgspec.Struct]) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(state)


def encode_state(twin_type: TwinType[Any], state: object) -> tuple[bytes, Any]:
    """Encode a state, and read it back: what a restore could not read must not be committed.

    Raises
    ------
    Rejected
        It is too large.
    """
    encoded = _encode(state)
    if len(encoded) > MAX_STATE_BYTES:
        raise Rejected(
            "state_too_large", f"the state would have {len(encoded)} bytes, at most {MAX_STATE_BYTES} are kept"
        )
    return encoded, _decoder(twin_type.state).decode(encoded)  # type: ignore[arg-type]  # a class is hashable


def decode_state(twin: Twin, twin_type: TwinType[Any]) -> Any:  # noqa: ANN401  the type's own state
    """Return the state of a twin, in the layout of this app.

    Raises
    ------
    PartitionStopped, Rejected
        As `upgraded` does; or what stands there is no state of this app. Nothing is lost: it stays as it was written.
    """
    encoded = upgraded(twin, twin_type).state
    try:
        return _decoder(twin_type.state).decode(encoded)  # type: ignore[arg-type]  # a class is hashable
    except Exception as error:  # what the class makes of it is the type's own code, too
        raise Rejected(
            "state_unreadable",
            f"the state of twin {twin.twin_id} is not what {twin_type.name} says of layout {twin_type.state_version} "
            f"({type(error).__name__}: {error}): a changed state class needs a higher state_version and a row in "
            "`upgrades`; deploy that, then replay this",
        ) from error


def upgraded(twin: Twin, twin_type: TwinType[Any]) -> Twin:
    """Return a twin with its state in the layout of this app; the same object where it has it already.

    Raises
    ------
    PartitionStopped
        A newer version of the app wrote it.
    Rejected
        A row cannot bring it up to date. Nothing is lost: the state stays as it was written.
    """
    if twin.layout == twin_type.state_version:
        return twin
    check_layout(twin, twin_type)
    try:
        plain = _follow(twin, (row.up for row in twin_type.upgrades[twin.layout - 1 :]))
        state = _decoder(twin_type.state).decode(_encode(plain))  # type: ignore[arg-type]  # a class is hashable
    except Exception as error:  # the type's own code: its fault is this twin's, the others go on
        raise Rejected(
            "upgrade_failed",
            f"the state of twin {twin.twin_id} cannot be brought from layout {twin.layout} of {twin_type.name} to "
            f"{twin_type.state_version} ({type(error).__name__}: {error}); mend the row, deploy it, then replay this",
        ) from error
    return msgspec.structs.replace(twin, layout=twin_type.state_version, state=encode_state(twin_type, state)[0])


class Stored(Protocol):
    """What says in which layout it was written."""

    @property
    def twin_id(self) -> str:
        """Whose it is."""

    @property
    def layout(self) -> int:
        """In which layout."""


def check_layout(twin: Stored, twin_type: TwinType[Any]) -> None:
    """Refuse a twin that a newer version of the app wrote, or none.

    Raises
    ------
    PartitionStopped
    """
    if not 1 <= twin.layout <= twin_type.state_version:
        raise PartitionStopped(
            f"twin {twin.twin_id} was written with layout {twin.layout} of {twin_type.name}, this app has "
            f"{twin_type.state_version}: deploy the version of the app that wrote it"
        )


def rolled_back(twin: Twin, twin_type: TwinType[Any], layout: int) -> Twin:
    """Return a twin as an earlier version of the app can read it; the same object where it can already.

    Raises
    ------
    PartitionStopped
        A newer version of the app wrote it.
    Rejected
        No row leads back so far, or one fails for this twin.
    """
    if twin.layout <= layout:
        return twin
    check_layout(twin, twin_type)
    steps: list[Step] = []
    for row in reversed(twin_type.upgrades[layout - 1 : twin.layout - 1]):
        if row.down is None:
            raise Rejected(
                "no_way_back",
                f"nothing leads from layout {row.from_version + 1} of {twin_type.name} back to {row.from_version}: "
                "write `down` of that row, or go forward instead",
            )
        steps.append(row.down)
    try:
        state = _encode(_follow(twin, steps))
    except Exception as error:  # the type's own code
        raise Rejected(
            "roll_back_failed",
            f"the state of twin {twin.twin_id} cannot be brought back to layout {layout} of {twin_type.name}: "
            f"{type(error).__name__}: {error}",
        ) from error
    # The graph must be shown again: the other version of the app may show it differently.
    return msgspec.structs.replace(twin, layout=layout, state=state, state_version=twin.state_version + 1)


def _follow(twin: Twin, steps: Iterable[Step]) -> dict[str, Any]:
    plain = _decode_plain.decode(twin.state)
    for step in steps:
        plain = step(plain)
    return plain
