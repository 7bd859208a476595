"""A device without an SDK: it can do what the SDKs do not let anyone do. Its bytes are written by hand."""

import base64
import hashlib
import hmac
import ssl
import struct
import time
from collections.abc import Callable
from pathlib import Path
from socket import create_connection
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import quote_plus

if TYPE_CHECKING:
    import queue

SECONDS = 20.0


def signature(
    resource: str, key: str, *, policy: str | None = None, expiry: int | None = None, encode: bool = True
) -> str:
    """A shared access signature."""
    sent = quote_plus(resource) if encode else resource
    until = int(time.time()) + 3600 if expiry is None else expiry
    digest = hmac.new(base64.b64decode(key), f"{sent}\n{until}".encode(), hashlib.sha256).digest()
    token = f"SharedAccessSignature sr={sent}&sig={quote_plus(base64.b64encode(digest).decode())}&se={until}"
    return token if policy is None else f"{token}&skn={policy}"


def _text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("!H", len(data)) + data


def packet(first: int, body: bytes) -> bytes:
    """A packet with its fixed header."""
    header, length = bytearray((first,)), len(body)
    while True:
        length, digit = divmod(length, 128)
        header.append(digit | (0x80 if length else 0))
        if not length:
            return bytes(header) + body


def publish_packet(topic: str, payload: bytes = b"{}", *, packet_id: int = 0, flags: int = 0) -> bytes:
    """A PUBLISH; flags are DUP (8), QoS (2, 4) and RETAIN (1)."""
    identifier = struct.pack("!H", packet_id) if flags & 6 else b""
    return packet(0x30 | flags, _text(topic) + identifier + payload)


class RawDevice:
    """One TLS connection, read and written packet by packet."""

    def __init__(self, host: str, ca_file: Path, device_id: str) -> None:
        self.host, self.device_id = host, device_id
        context = ssl.create_default_context(cafile=str(ca_file))
        self._socket = context.wrap_socket(create_connection((host, 8883), timeout=SECONDS), server_hostname=host)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def connect(
        self,
        password: str | None,
        *,
        username: str | None = None,
        client_id: str | None = None,
        level: int = 4,
        keep_alive: int = 60,
        clean: bool = False,
        will: tuple[str, bytes] | None = None,
    ) -> int:
        """Send CONNECT; the return code of CONNACK."""
        name = f"{self.host}/{self.device_id}/?api-version=2021-04-12" if username is None else username
        flags = 0x80 | (0x40 if password is not None else 0) | (0x02 if clean else 0) | (0x04 if will else 0)
        body = _text("MQTT") + bytes((level, flags)) + struct.pack("!H", keep_alive)
        body += _text(self.device_id if client_id is None else client_id)
        for part in will or ():
            body += _text(part)
        body += _text(name) + (_text(password) if password is not None else b"")
        self.send(packet(0x10, body))
        kind, answer = self.receive()
        assert kind == 0x20
        self.is_session_present = bool(answer[0])
        return answer[1]

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def subscribe(self, *filters: str, qos: int = 1) -> list[int]:
        """Send SUBSCRIBE; the codes of SUBACK."""
        self.send(packet(0x82, b"\0\7" + b"".join(_text(one) + bytes((qos,)) for one in filters)))
        kind, answer = self.receive()
        assert (kind, answer[:2]) == (0x90, b"\0\7")
        return list(answer[2:])

    def receive(self) -> tuple[int, bytes]:
        """The next packet: first byte and body."""
        first, length, shift = self._exactly(1)[0], 0, 0
        while True:
            digit = self._exactly(1)[0]
            length |= (digit & 0x7F) << shift
            shift += 7
            if not digit & 0x80:
                return first, self._exactly(length)

    def receive_message(self) -> tuple[str, bytes, int, int]:
        """The next PUBLISH: topic, payload, packet id (0 for QoS 0) and flags."""
        first, body = self.receive()
        assert first & 0xF0 == 0x30
        end = 2 + struct.unpack("!H", body[:2])[0]
        if not first & 6:
            return body[2:end].decode(), body[end:], 0, first & 0x0F
        return body[2:end].decode(), body[end + 2 :], struct.unpack("!H", body[end : end + 2])[0], first & 0x0F

    def acknowledge(self, packet_id: int) -> None:
        """Send PUBACK."""
        self.send(struct.pack("!BBH", 0x40, 2, packet_id))

    def ping(self) -> None:
        """Send PINGREQ, and wait for the answer: all that was sent before has been worked on."""
        self.send(b"\xc0\0")
        assert self.receive() == (0xD0, b"")

    def ping_after(self, packet_ids: list[int]) -> None:
        """Expect acknowledgements in their order, then have a ping answered."""
        self.send(b"\xc0\0")
        for packet_id in packet_ids:
            assert self.receive() == (0x40, struct.pack("!H", packet_id))
        assert self.receive() == (0xD0, b"")

    def is_closed_by_hub(self) -> bool:
        """Whether the next thing to come is the end of the connection."""
        try:
            return self._socket.recv(1) == b""
        except (ssl.SSLError, ConnectionError):
            return True

    def is_blocked(self, data: bytes, limit: int) -> bool:
        """Whether the hub stops taking data before a limit."""
        self._socket.settimeout(1.0)
        try:
            for _ in range(0, limit, len(data)):
                self._socket.sendall(data)
        except TimeoutError:
            return True
        return False

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            if not more:
                raise ConnectionError("the hub has closed the connection")
            data += more
        return data


def eventually(condition: Callable[[], object], *, seconds: float = SECONDS) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    pause = 0.001
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def next_with(patches: "queue.Queue[dict[str, object]]", name: str) -> dict[str, object]:
    """The next change that an SDK heard of and that has this name; it makes up others when it reconnects."""
    while True:
        patch = patches.get(timeout=SECONDS)
        if name in patch:
            return patch
