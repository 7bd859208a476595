"""The service's documented errors: AMQP conditions with the texts that operators know from Azure."""

from datetime import UTC, datetime
from uuid import uuid4

from local_emulator.event_hubs import codec

MAX_RECEIVERS = 5


class AmqpError(Exception):
    """An error that goes to the client: its condition and its text."""

    def __init__(self, condition: str, description: str) -> None:
        super().__init__(f"{condition}: {description}")
        self.condition = condition
        self.description = description

    def encoded(self) -> bytes:
        """Return the AMQP ``error`` composite, its text ending as the service's texts do."""
        text = with_tracking(self.description)
        return codec.composite(0x1D, [codec.symbol(self.condition), codec.string(text), codec.NULL])


def with_tracking(text: str) -> str:
    """Add what every error text of the service ends with."""
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text} TrackingId:{uuid4().hex}_G0, SystemTracker:emulator, Timestamp:{moment}"


def not_found(entity: str) -> AmqpError:
    """No such hub or consumer group."""
    return AmqpError("amqp:not-found", f"The messaging entity '{entity}' could not be found.")


def unauthorized(claim: str, entity: str) -> AmqpError:
    """No token for this entity, or one that has expired."""
    return AmqpError(
        "amqp:unauthorized-access",
        f"Unauthorized access. '{claim}' claim(s) are required to perform this operation. Resource: '{entity}'.",
    )


def partition_out_of_range(partition: str, hub: str, count: int) -> AmqpError:
    """A partition id that the hub does not have."""
    return AmqpError(
        "com.microsoft:argument-out-of-range",
        f"The specified partition '{partition}' is invalid for an Event Hub partition sender or receiver of "
        f"'{hub}'. It should be between 0 and {count - 1}.",
    )


def position_past_the_end(kind: str, asked: int, last: int) -> AmqpError:
    """A start position behind the last event: usually checkpoints that outlived the hub."""
    return AmqpError(
        "com.microsoft:argument-error",
        f"The supplied {kind} '{asked}' is invalid. The last {kind} in the system is '{last}'",
    )


def invalid_filter(expression: str) -> AmqpError:
    """A selector that the service does not understand."""
    return AmqpError("com.microsoft:argument-error", f"The filter expression '{expression}' is not valid.")


def message_too_large(delivery_id: int, size: int, limit: int) -> AmqpError:
    """A message above what the link said it takes."""
    return AmqpError(
        "amqp:link:message-size-exceeded",
        f"The received message (delivery-id:{delivery_id}, size:{size} bytes) exceeds the limit ({limit} bytes) "
        "currently allowed on the link.",
    )


def malformed_message(reason: str) -> AmqpError:
    """A message that no reader could decode."""
    return AmqpError("amqp:decode-error", f"The received message cannot be decoded: {reason}.")


def server_busy() -> AmqpError:
    """Throttled: more than the throughput units allow."""
    return AmqpError(
        "com.microsoft:server-busy",
        "The request was terminated because the entity is being throttled. Error code : 50002. Please wait 4 "
        "seconds and try again.",
    )


def not_implemented(what: str) -> AmqpError:
    """Something that Azure has and this emulator has not."""
    return AmqpError("amqp:not-implemented", f"{what} is not implemented by this emulator.")


def stolen_from(victim: str, victim_epoch: int | None, newcomer: str, epoch: int) -> AmqpError:
    """Tell a receiver why it is being closed."""
    shown = "" if victim_epoch is None else str(victim_epoch)
    return AmqpError(
        "amqp:link:stolen",
        f"New receiver '{newcomer}' with higher epoch of '{epoch}' is created hence current receiver '{victim}' "
        f"with epoch '{shown}' is getting disconnected. If you are recreating the receiver, make sure a higher "
        "epoch is used.",
    )


def epoch_too_low(newcomer: str, epoch: int, owner: str, owner_epoch: int) -> AmqpError:
    """Refuse a receiver because a higher epoch owns the partition."""
    return AmqpError(
        "amqp:link:stolen",
        f"Receiver '{owner}' with a higher epoch '{owner_epoch}' already exists. Receiver '{newcomer}' with epoch "
        f"{epoch} cannot be created. Make sure you are creating receiver with increasing epoch value to ensure "
        "connectivity, or ensure all old epoch receivers are closed or disconnected.",
    )


def epoch_required(owner_epoch: int) -> AmqpError:
    """Refuse a receiver without epoch where one with epoch is present."""
    return AmqpError(
        "amqp:link:stolen",
        f"At least one receiver for the endpoint is created with epoch of '{owner_epoch}', and so non-epoch "
        "receiver is not allowed. Either reconnect with a higher epoch, or make sure all epoch receivers are "
        "closed or disconnected.",
    )


def too_many_receivers(connected: list[str]) -> AmqpError:
    """Refuse the sixth receiver without epoch."""
    return AmqpError(
        "amqp:resource-limit-exceeded",
        f"Exceeded the maximum number of allowed receivers per partition in a consumer group which is "
        f"{MAX_RECEIVERS}. List of connected receivers - {', '.join(connected)}.",
    )
