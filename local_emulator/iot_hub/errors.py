"""The documented errors of IoT Hub: what a REST caller is told, and why a device is cut off.

HubError            an operation fails with one of the service's error codes
ConnectionRefused   a device is not admitted: CONNACK carries the code
ProtocolViolation   a device breaks the rules of MQTT or of IoT Hub: its connection is closed
"""

from enum import Enum, IntEnum


class ErrorCode(Enum):
    """Number and HTTP status of each error, under the service's own name."""

    InvalidProtocolVersion = (400001, 400)
    InvalidOperation = (400003, 400)
    ArgumentInvalid = (400004, 400)
    ArgumentNull = (400005, 400)
    IotHubFormatError = (400006, 400)
    BulkRegistryOperationFailure = (400013, 400)
    IotHubUnauthorizedAccess = (401002, 401)
    IotHubUnauthorized = (401003, 401)
    DeviceMaximumQueueDepthExceeded = (403004, 403)
    DeviceNotFound = (404001, 404)
    DeviceNotOnline = (404103, 404)
    DeviceAlreadyExists = (409001, 409)
    PreconditionFailed = (412001, 412)
    MessageTooLarge = (413001, 413)
    TooManyDevices = (413002, 413)
    NotImplemented = (501000, 501)  # not the service's: this emulator lacks the operation
    GatewayTimeout = (504101, 504)

    @property
    def number(self) -> int:
        """The service's six-digit code."""
        return self.value[0]

    @property
    def http_status(self) -> int:
        """The status of the HTTP response."""
        return self.value[1]


class HubError(Exception):
    """An operation that fails as the service documents it."""

    def __init__(self, code: ErrorCode, detail: str) -> None:
        super().__init__(f"{code.name}: {detail}")
        self.code = code
        self.detail = detail


class ConnectReturnCode(IntEnum):
    """The return codes of MQTT 3.1.1, table 3.1, that IoT Hub uses."""

    ACCEPTED = 0
    UNACCEPTABLE_PROTOCOL_VERSION = 1
    IDENTIFIER_REJECTED = 2
    SERVER_UNAVAILABLE = 3
    BAD_USERNAME_OR_PASSWORD = 4
    NOT_AUTHORIZED = 5


class ConnectionRefused(Exception):
    """A device that is not admitted."""

    def __init__(self, code: ConnectReturnCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class ProtocolViolation(Exception):
    """A device did what the service answers by closing the connection."""
