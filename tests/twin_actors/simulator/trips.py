"""What the path of a message means, said a second time: what follows from it, and who is told."""

import msgspec


class Step(msgspec.Struct):
    """What a twin does of a path.

    Attributes
    ----------
    cancelled : list of str
        Timers.
    timer : tuple or None
        (name, when it is due, path that it goes on with).
    tells : list of tuple
        (twin id, path).
    """

    cancelled: list[str] = []
    timer: tuple[str, float, str] | None = None
    tells: list[tuple[str, str]] = []


def path_of(row: dict[str, object]) -> str:
    """Return the path of what a device sent."""
    path = row.get("path", 1)
    assert isinstance(path, int | float)
    return str(int(path))[1:]


def is_dead_end(path: str) -> bool:
    """Whether no twin survives a path."""
    while path[:1] == "9":
        path = path[2:]
    return path[:1] == "7"


def step(path: str, twin_id: str, time: float) -> Step:
    """Return what a twin does of a path at a time."""
    cancelled: list[str] = []
    while path[:1] == "9":
        cancelled.append("nap-" + path[1:2])
        path = path[2:]
    first, rest = path[:1], path[1:]
    if not first:
        return Step(cancelled)
    if first == "8":
        return Step(cancelled, ("nap-" + rest[:1], time + 1.0 + 7.0 * int(rest[:1] or "0"), rest[1:]))
    if first == "6":
        return Step(cancelled, None, [("machine-" + rest[:1], rest[1:])] + [("machine-" + rest[:1], "")] * 15)
    if first == "5":
        return Step(cancelled, None, [] if twin_id == "machine-0" else [("machine-0", rest)])
    return Step(cancelled, None, [("machine-" + first, rest)])
