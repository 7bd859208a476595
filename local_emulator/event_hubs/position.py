"""Where a receiver starts: the selector in its filter, and the sequence number it comes to."""

import re

from local_emulator.event_hubs import errors
from local_emulator.event_hubs.partition_log import PartitionLog

_SELECTOR = re.compile(
    r"\s*amqp\.annotation\.x-opt-(offset|sequence-number|enqueued-time)\s*(>=?)\s*'?(@latest|-?\d+)'?\s*"
)
_LATEST = "@latest"
_START = -1


def first_sequence(log: PartitionLog, expression: str | None) -> int:
    """Return the first sequence number a receiver with this filter gets; raises the service's errors."""
    if expression is None:
        return log.begin
    match = _SELECTOR.fullmatch(expression)
    if match is None or (match[3] == _LATEST and match[1] != "offset"):
        raise errors.invalid_filter(expression)
    if match[3] == _LATEST:
        return log.next_sequence
    kind, inclusive, value = match[1], match[2] == ">=", int(match[3])
    if kind == "enqueued-time":
        return log.find(lambda entry: entry.enqueued < value or (entry.enqueued == value and not inclusive))
    if value <= _START:
        return log.begin
    if kind == "offset":
        _refuse_beyond("offset", value, log.last.offset if log.last else _START)
        return log.find(lambda entry: entry.offset < value or (entry.offset == value and not inclusive))
    _refuse_beyond("sequence number", value, log.last.sequence if log.last else _START)
    return max(value if inclusive else value + 1, log.begin)


def _refuse_beyond(kind: str, asked: int, last: int) -> None:
    if asked > last:
        raise errors.position_past_the_end(kind, asked, last)
