"""The faults of a run: which kinds there are, how often each happens, which call they spoil."""

import enum
import random

import msgspec


class Fault(enum.StrEnum):
    """What happens to a call."""

    BEFORE = "fails before it is done"
    UNANSWERED = "is done, and fails"
    LATE = "fails, and is done later"
    PARTLY = "half of a send is done, and it fails"
    SLOW = "takes long"
    THROTTLED = "is asked for patience"
    REFUSED = "is refused"
    CANCELLED = "its invocation is cancelled"
    KILLED = "its process dies"
    PAUSED = "its process stops for a while"


SERVICES_THAT_THROTTLE = frozenset({"graph", "devices", "documents", "orders"})
REFUSABLE = frozenset({("graph", "patch"), ("graph", "create"), ("orders", "place"), ("devices", "invoke")})

MOST = {
    Fault.BEFORE: 0.08,
    Fault.UNANSWERED: 0.08,
    Fault.LATE: 0.05,
    Fault.PARTLY: 0.3,
    Fault.SLOW: 0.03,
    Fault.THROTTLED: 0.1,
    Fault.REFUSED: 0.1,
    Fault.CANCELLED: 0.02,
    Fault.KILLED: 0.01,
    Fault.PAUSED: 0.01,
}
"""The most that a kind may happen, per call that it can spoil."""


class Weather(msgspec.Struct):
    """How often each kind of fault happens in one run.

    Attributes
    ----------
    rates : dict
        Fault → its share of the calls that it can spoil.
    is_fair : bool
        Whether faults are over.
    """

    rates: dict[Fault, float]
    is_fair: bool = False

    @classmethod
    def draw(cls, random_: random.Random) -> "Weather":
        """Draw the weather of a run: each kind is absent, rare or frequent, so that few hide none."""
        return cls({fault: most * random_.choice((0.0, 0.0, 0.1, 0.3, 1.0)) for fault, most in MOST.items()})

    def strike(self, random_: random.Random, service: str, name: str) -> Fault | None:
        """Draw what happens to a call."""
        if self.is_fair:
            return None
        at = random_.random()
        for fault, rate in self.rates.items():
            if rate and _can_spoil(fault, service, name):
                if at < rate:
                    return fault
                at -= rate
        return None


def _can_spoil(fault: Fault, service: str, name: str) -> bool:
    match fault:
        case Fault.PARTLY:
            return name == "send"
        case Fault.THROTTLED:
            return service in SERVICES_THAT_THROTTLE
        case Fault.REFUSED:
            return (service, name) in REFUSABLE
    return True
