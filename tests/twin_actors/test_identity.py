"""The home of a twin is where Event Hubs itself puts its id as a partition key."""

import pytest

from twin_actors.identity import home_partition, is_twin_id

# Keys and their hashes as the .NET and Java SDKs of Event Hubs test them ("taken from .NET's to
# confirm cross-language compatibility"): signed 16-bit.
PUBLISHED = {
    "7": -15263,
    "131": 30562,
    "7149583486996073602": 12977,
    "FWfAT": -22341,
    "sOdeEAsyQoEuEFPGerWO": -6503,
    "FAyAIctPeCgmiwLKbJcyswoHglHVjQdvtBowLACDNORsYvOcLddNJYDmhAVkbyLOrHTKLneMNcbgWVlasVywOByANjs": 5226,
    "1XYM6!(7(lF5wq4k4m*e$Nc!1ezLJv*1YK1Y-C^*&B$O)lq^iUkG(TNzXG;Zi#z2Og*Qq0#^*k):vXh$3,C7We7%W0meJ;b3,rQCg^J;"
    "^twXgs5E$$hWKxqp": 23950,
    "E(x;RRIaQcJs*P;D&jTPau-4K04oqr:lF6Z):ERpo&;9040qyV@G1_c9mgOs-8_8/10Fwa-7b7-yP!T-!IH&968)FWuI;(^g$2fN;)HJ^^"
    "yTn:": -29304,
    "!c*_!I@1^c": 15372,
    "p4*!jioeO/z-!-;w:dh": -3104,
    "$0cb": 26269,
    "-4189260826195535198": 453,
}


@pytest.mark.parametrize(("key", "published"), PUBLISHED.items())
def test_it_is_the_published_hash(key: str, published: int) -> None:
    """Over more partitions than the hash has values the home is its absolute value; else C's remainder."""
    assert home_partition(key, 1 << 20) == abs(published)
    for count in (1, 2, 3, 4, 5, 8, 32, 100, 1024):
        truncated = published - int(published / count) * count
        assert home_partition(key, count) == abs(truncated)


def test_every_length_of_a_key_has_a_home() -> None:
    """Lookup3 treats the last twelve bytes apart: no length falls through, and letters of several bytes count."""
    homes = [home_partition("x" * length, 1 << 20) for length in range(40)]
    assert len(set(homes)) > 35
    assert home_partition("zürich", 32) in range(32)


def test_homes_are_spread() -> None:
    """No partition has twice its share of ordinary ids."""
    homes = [home_partition(f"pump-{number:05d}", 8) for number in range(8000)]
    assert all(500 < homes.count(partition) < 2000 for partition in range(8))


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("pump-1", True),
        ("a-.+%_#*?!(),:=@$'Z9", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("", False),
        ("a b", False),
        ("a/b", False),
        ("a\n", False),
        ("ü", False),
        ("\ud800", False),
    ],
)
def test_ids(text: str, *, is_one: bool) -> None:
    """What IoT Hub gives to a device, and nothing else."""
    assert is_twin_id(text) is is_one
