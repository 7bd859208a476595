"""Who may read a partition in a consumer group: one owner with an epoch, or up to five without."""

from typing import Protocol

from local_emulator.event_hubs import errors
from local_emulator.event_hubs.errors import MAX_RECEIVERS, AmqpError


class Receiver(Protocol):
    """A consumer's link."""

    @property
    def epoch(self) -> int | None:
        """The owner level, or None for a receiver that shares."""

    @property
    def receiver_name(self) -> str:
        """What error texts call it; ``nil`` if the client did not say."""

    def detach(self, error: AmqpError) -> None:
        """Close the link; this removes the receiver."""


class Receivers:
    """The receivers of one partition in one consumer group."""

    def __init__(self) -> None:
        self._connected: list[Receiver] = []

    def admit(self, newcomer: Receiver) -> None:
        """Let a receiver in, closing those it outranks, or raise why it must stay out."""
        owner = next((each for each in self._connected if each.epoch is not None), None)
        if newcomer.epoch is None:
            self._check_shared(owner)
        elif owner is not None and owner.epoch is not None and owner.epoch > newcomer.epoch:
            raise errors.epoch_too_low(newcomer.receiver_name, newcomer.epoch, owner.receiver_name, owner.epoch)
        else:
            for victim in tuple(self._connected):
                victim.detach(
                    errors.stolen_from(victim.receiver_name, victim.epoch, newcomer.receiver_name, newcomer.epoch)
                )
        self._connected.append(newcomer)

    def _check_shared(self, owner: Receiver | None) -> None:
        if owner is not None and owner.epoch is not None:
            raise errors.epoch_required(owner.epoch)
        if len(self._connected) >= MAX_RECEIVERS:
            raise errors.too_many_receivers([each.receiver_name for each in self._connected])

    def remove(self, receiver: Receiver) -> None:
        """Forget a receiver that has gone."""
        if receiver in self._connected:
            self._connected.remove(receiver)
