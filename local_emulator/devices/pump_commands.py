"""The commands of a simulated pump: ``setSpeed`` and ``resume``."""

from typing import Annotated

import msgspec

from local_emulator.devices.commands import Answer, Commands
from local_emulator.devices.pumps import PumpGroup

MOST_SPEED = 3200.0

type Speed = Annotated[float, msgspec.Meta(ge=0.0, le=MOST_SPEED)]


def pump_commands(pumps: PumpGroup, number: int) -> Commands:
    """Return the commands of one pump of a group."""

    def set_speed(request: object) -> Answer:
        try:
            speed = msgspec.convert(request, Speed)
        except msgspec.ValidationError as error:
            return Answer(400, {"error": f"the speed in rpm: {error}"})
        return steer(speed)

    def resume(request: object) -> Answer:
        if request is not None:
            return Answer(400, {"error": "resume takes no request"})
        return steer(None)

    def steer(speed: float | None) -> Answer:
        if pumps.has_tripped(number):
            return Answer(423, {"error": "the pump has tripped: a part of it is gone"})
        return Answer(200, {"speed": pumps.set_speed(number, speed)})

    return Commands({"setSpeed": set_speed, "resume": resume}, {"speedSetpoint": "setSpeed"})
