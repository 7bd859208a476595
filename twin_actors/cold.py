"""Twins of which nothing is expected, as bytes."""

from collections.abc import Iterator, Mapping

import msgspec

from twin_actors.commit import Twin

_encode = msgspec.msgpack.Encoder().encode


class Cold(msgspec.Struct, frozen=True, array_like=True):
    """A cold twin, as it is encoded: the twin, and the keys of its last message ids."""

    twin: Twin
    keys: bytes


class Head(msgspec.Struct, frozen=True, array_like=True):
    """The beginning of a twin."""

    twin_id: str
    type_name: str
    layout: int


class _ColdHead(msgspec.Struct, frozen=True, array_like=True):
    head: Head


_cold_decoder = msgspec.msgpack.Decoder(Cold)
_head_decoder = msgspec.msgpack.Decoder(_ColdHead)


def encode_cold(twin: Twin, keys: bytes) -> bytes:
    """Return a twin and its keys as bytes."""
    return _encode(Cold(twin, keys))


def decode_cold(data: bytes) -> Cold:
    """Return a twin and its keys."""
    return _cold_decoder.decode(data)


def decode_head(data: bytes) -> Head:
    """Return the beginning of a twin, without the rest."""
    return _head_decoder.decode(data).head


class Twins(Mapping[str, Twin]):
    """All twins of a shard, cold ones included, which are decoded each time.

    Parameters
    ----------
    hot, cold
        Of a shard.
    """

    def __init__(self, hot: Mapping[str, Twin], cold: Mapping[str, bytes]) -> None:
        self._hot = hot
        self._cold = cold

    def __getitem__(self, twin_id: str) -> Twin:
        twin = self._hot.get(twin_id)
        return decode_cold(self._cold[twin_id]).twin if twin is None else twin

    def __contains__(self, twin_id: object) -> bool:
        return twin_id in self._hot or twin_id in self._cold

    def __iter__(self) -> Iterator[str]:
        yield from self._hot
        yield from self._cold

    def __len__(self) -> int:
        return len(self._hot) + len(self._cold)
