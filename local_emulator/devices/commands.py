"""What a device does with commands: direct methods, and desired properties that stand for one.

=====  ==============================================================================
200    obeyed; the payload says what it does now
400    no request that it understands
404    no command of this name
409    older than what it has obeyed: its twin has decided otherwise since
410    expired
423    it cannot: it has tripped
=====  ==============================================================================

An operation that comes again is answered as the first time, and not done again. Its id is one of a command: with
another command it is another operation.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import msgspec

REMEMBERED_OPERATIONS = 64


class Answer(NamedTuple):
    """A status and a JSON object."""

    status: int
    payload: dict[str, Any]


type Action = Callable[[object], Answer]

type Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class _Order(msgspec.Struct, frozen=True, rename="camel"):
    operation_id: str
    state_version: int
    expires: Moment


class _Call(_Order, frozen=True, rename="camel"):
    request: Any = None


class _Wish(_Order, frozen=True, rename="camel"):
    value: Any = None


class Commands:
    """The commands of one device, and what it remembers of those it has obeyed.

    Parameters
    ----------
    actions : mapping
        Command → what it does with a request.
    properties : mapping
        Desired property → the command that it stands for.
    clock : callable, optional
        Tells seconds since 1970.
    """

    def __init__(
        self,
        actions: Mapping[str, Action],
        properties: Mapping[str, str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._actions = actions
        self._properties = properties
        self._clock = clock
        self._answers: OrderedDict[tuple[str, str], Answer] = OrderedDict()
        self._obeyed: dict[str, int] = {}

    def call(self, name: str, payload: object) -> Answer:
        """Do what a direct method says."""
        if name not in self._actions:
            return _refusal(404, f"there is no command {name}; there are {', '.join(self._actions)}")
        try:
            call = msgspec.convert(payload, _Call)
        except msgspec.ValidationError as error:
            return _refusal(400, str(error))
        return self._do(name, call, call.request, self._obeyed.get(name, call.state_version))

    def wish(self, desired: Mapping[str, Any]) -> dict[str, Any]:
        """Do what desired properties say; return what is to be reported, which is nothing of what is out of date."""
        reported = {}
        for name, command in self._properties.items():
            if desired.get(name) is None:
                continue
            try:
                wish = msgspec.convert(desired[name], _Wish)
            except msgspec.ValidationError as error:
                answer, value = _refusal(400, str(error)), desired[name]
            else:
                # A wish may be older than any command that came since, not only than one of its own name.
                newest = max(self._obeyed.values(), default=wish.state_version)
                answer, value = self._do(command, wish, wish.value, newest), wish.value
            if answer.status not in {409, 410}:
                said = answer.payload.get("error", "obeyed")
                reported[name] = {"value": value, "ac": answer.status, "av": desired["$version"], "ad": said}
        return reported

    def _do(self, name: str, order: _Order, request: object, newest: int) -> Answer:
        key = (name, order.operation_id)
        known = self._answers.get(key)
        if known is not None:
            return known
        if order.expires.timestamp() <= self._clock():
            return _refusal(410, f"it has expired at {order.expires.isoformat()}")
        if order.state_version < newest:
            return _refusal(409, f"state version {order.state_version} is older than {newest}, which was obeyed")
        answer = self._actions[name](request)
        self._answers[key] = answer
        if len(self._answers) > REMEMBERED_OPERATIONS:
            self._answers.popitem(last=False)
        if answer.status == 200:
            self._obeyed[name] = order.state_version
        return answer


def _refusal(status: int, reason: str) -> Answer:
    return Answer(status, {"error": reason})
