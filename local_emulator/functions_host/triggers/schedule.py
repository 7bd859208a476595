"""When a timer is due: NCRONTAB expressions and time spans."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from croniter import CroniterError, croniter  # type: ignore[import-untyped]  # publishes no types

from local_emulator.functions_host.errors import SettingsError
from local_emulator.functions_host.host_json import parse_time_span

__all__ = ["Schedule", "parse_schedule"]


class Schedule(Protocol):
    """Says when a timer is due next."""

    def next_after(self, moment: datetime) -> datetime:
        """Give the first time later than this one."""
        ...


@dataclass(frozen=True)
class _Cron:
    expression: str

    def next_after(self, moment: datetime) -> datetime:
        # In NCRONTAB a day must fit both day fields; plain cron is content with one of them.
        times = croniter(self.expression, moment, second_at_beginning=True, day_or=False)
        due = times.get_next(datetime)
        assert isinstance(due, datetime)
        return due


@dataclass(frozen=True)
class _Interval:
    interval: timedelta

    def next_after(self, moment: datetime) -> datetime:
        return moment + self.interval


def parse_schedule(text: str) -> Schedule:
    """Read six fields (seconds first), five fields (at second 0) or hh:mm:ss."""
    fields = text.split()
    if len(fields) == 1:
        return _Interval(timedelta(seconds=parse_time_span(text)))
    if len(fields) not in {5, 6}:
        raise SettingsError(f"the schedule {text!r} cannot be read: it has neither five nor six fields")
    expression = " ".join(fields if len(fields) == 6 else ["0", *fields])
    try:
        croniter(expression, second_at_beginning=True, day_or=False)
    except CroniterError as error:
        raise SettingsError(f"the schedule {text!r} cannot be read: {error}") from error
    return _Cron(expression)
