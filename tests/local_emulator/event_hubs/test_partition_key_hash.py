"""The hash that decides which partition a key belongs to."""

import pytest

from local_emulator.event_hubs.partition_key import hash_of, partition_of

# Published by Microsoft in the tests of its .NET client: made with the service's own code.
DOTNET_HASHES = {
    "7": -15263,
    "131": 30562,
    "7149583486996073602": 12977,
    "FWfAT": -22341,
    "sOdeEAsyQoEuEFPGerWO": -6503,
    "FAyAIctPeCgmiwLKbJcyswoHglHVjQdvtBowLACDNORsYvOcLddNJYDmhAVkbyLOrHTKLneMNcbgWVlasVywOByANjs": 5226,
    "!c*_!I@1^c": 15372,
    "p4*!jioeO/z-!-;w:dh": -3104,
    "$0cb": 26269,
    "-4189260826195535198": 453,
}
# Published in the tests of the JavaScript client.
JAVASCRIPT_PARTITIONS = [
    ("alphabet", 3, 0),
    ("alphabet", 11, 4),
    ("TheBestParitionEver", 4, 2),
    ("TheWorstParitionEver", 15, 1),
]


@pytest.mark.parametrize(("key", "expected"), DOTNET_HASHES.items())
def test_hash_equals_the_published_one(key: str, expected: int) -> None:
    """The hash is the service's, as its .NET client knows it."""
    assert hash_of(key) == expected


@pytest.mark.parametrize(("key", "count", "expected"), JAVASCRIPT_PARTITIONS)
def test_partition_equals_the_published_one(key: str, count: int, expected: int) -> None:
    """The remainder is taken as the JavaScript client takes it."""
    assert partition_of(key, count) == expected


def test_remainder_of_a_negative_hash_is_not_pythons() -> None:
    """-15263 over 4 is partition 3; Python's own remainder would say 1."""
    assert hash_of("7") % 4 == 1
    assert partition_of("7", 4) == 3
