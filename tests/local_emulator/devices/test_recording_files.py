"""Recordings and mappings: units, times, separators, and what becomes of rows that are wrong."""

import csv
import gzip
import math
from datetime import UTC, datetime
from pathlib import Path

import pytest

from local_emulator.devices import Mapping, load_mapping
from local_emulator.devices.__main__ import MAPPINGS, read_connections
from local_emulator.devices.errors import ConnectionsError, MappingError, RecordingError
from local_emulator.devices.mapping import ChannelColumn, TimeColumn, translate
from local_emulator.devices.recording import Recording, Row
from local_emulator.devices.units import conversion
from twin_actors.types.pump.twin import TWIN

HEADER = ("when", "Pressure, line 1", "Flow")
START = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()


def _mapping(**time: str) -> Mapping:
    return Mapping(
        time=TimeColumn("when", **time),
        channels={
            "dischargePressure": ChannelColumn("Pressure, line 1", unit="bar", to="kPa", offset=101.325),
            "flow": ChannelColumn("Flow", unit="l/min", to="m3/h"),
        },
    )


def _write(path: Path, rows: list[tuple[str, ...]], separator: str = ",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=separator).writerows([HEADER, *rows])
    return path


def _read(path: Path, mapping: Mapping) -> tuple[list[Row], Recording]:
    recording = Recording(path, mapping)
    return list(recording), recording


@pytest.mark.parametrize(
    ("number", "unit", "to", "expected"),
    [
        (1.0, "bar", "kPa", 100.0),
        (250.0, "mbar", "kPa", 25.0),
        (14.503773773, "psi", "bar", 1.0),
        (60.0, "l/min", "m3/h", 3.6),
        (1.0, "m3/s", "m3/h", 3600.0),
        (273.15, "K", "degC", 0.0),
        (32.0, "degF", "degC", 0.0),
        (212.0, "degF", "degC", 100.0),
        (100.0, "degC", "degF", 212.0),
        (9.80665, "m/s2", "g", 1.0),
        (1500.0, "W", "kW", 1.5),
        (50.0, "Hz", "rpm", 3000.0),
        (0.5, "in/s", "mm/s", 12.7),
        (7.0, "furlong", "furlong", 7.0),
    ],
)
def test_units(number: float, unit: str, to: str, expected: float) -> None:
    """Numbers change as the definitions of the units say."""
    assert conversion(unit, to)(number) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("unit", "to"), [("bar", "degC"), ("bar", "furlong"), ("Bar", "kPa")])
def test_units_that_do_not_fit_are_refused(unit: str, to: str) -> None:
    """Nothing is converted by guess."""
    with pytest.raises(MappingError):
        conversion(unit, to)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("zipped", [False, True])
def test_separators_and_gzip(tmp_path: Path, separator: str, *, zipped: bool) -> None:
    """A recording reads the same with any separator, zipped or not; a comma in a name misleads nobody."""
    path = _write(
        tmp_path / "rows", [("2024-01-02 03:04:05", "2.5", "600"), ("2024-01-02 03:04:06", "3", "0")], separator
    )
    if zipped:
        path.write_bytes(gzip.compress(path.read_bytes()))
    rows, recording = _read(path, _mapping())
    assert [time for time, _ in rows] == [START, START + 1.0]
    assert rows[0][1] == pytest.approx({"dischargePressure": 351.325, "flow": 36.0})
    assert not recording.skipped
    assert not recording.flawed


@pytest.mark.parametrize(
    ("text", "time", "seconds"),
    [
        ("2024-01-02T03:04:05Z", {}, 5.0),
        ("2024-01-02T04:04:05+01:00", {"zone": "America/New_York"}, 5.0),
        ("2024-01-02 04:04:05", {"zone": "Europe/Berlin"}, 5.0),
        ("02.01.2024 03:04", {"format": "%d.%m.%Y %H:%M"}, 0.0),
        (str(START), {"format": "unix"}, 5.0),
        (f"{START * 1000:.0f}", {"format": "unix_ms"}, 5.0),
    ],
)
def test_times(tmp_path: Path, text: str, time: dict[str, str], seconds: float) -> None:
    """A time is read by its format, in its own zone or the mapping's."""
    rows, _ = _read(_write(tmp_path / "rows.csv", [(text, "1", "1")]), _mapping(**time))
    assert rows[0][0] == START - 5.0 + seconds


def test_wrong_rows_are_counted_by_reason(tmp_path: Path) -> None:
    """Rows without a time or of another shape are left out; wrong numbers are sent as they are."""
    good = ("2024-01-02 03:04:05", "1", "60")
    path = _write(
        tmp_path / "rows.csv",
        [
            good,
            ("yesterday", "1", "60"),
            ("", "1", "60"),
            ("2024-01-02 03:04:06", "1"),
            ("2024-01-02 03:04:07", "1", "60", "9"),
            ("2024-01-02 03:04:08", "", " "),
            (),
            ("2024-01-02 03:04:09", "1,5 bar", "60"),
            ("2024-01-02 03:04:10", "", "NaN"),
            ("2024-01-02 03:04:11", "x" * (csv.field_size_limit() + 1), "60"),
            good,
        ],
    )
    rows, recording = _read(path, _mapping())
    assert [channels for _, channels in rows] == [
        pytest.approx({"dischargePressure": 201.325, "flow": 3.6}),
        {"dischargePressure": "1,5 bar", "flow": pytest.approx(3.6)},
        {"flow": "NaN"},
        pytest.approx({"dischargePressure": 201.325, "flow": 3.6}),
    ]
    (too_large,) = (reason for reason in recording.skipped if reason.startswith("no CSV"))
    assert recording.skipped == {
        "unreadable time": 2,
        "number of cells is not that of the header": 2,
        "no channel has a value": 1,
        "blank line": 1,
        too_large: 1,
    }
    assert recording.flawed == {
        "Pressure, line 1 is empty": 2,
        "Flow is empty": 1,
        "Pressure, line 1 is no number, sent as it is": 1,
        "Flow is no number, sent as it is": 1,
    }


def test_a_comma_can_be_the_decimal_sign() -> None:
    """Where the mapping says so."""
    mapping = Mapping(time=TimeColumn("t"), channels={"flow": ChannelColumn("F", factor=2.0, offset=1.0, decimal=",")})
    _, read = translate(mapping).read_channel["flow"]
    assert read("1,5") == 4.0
    assert read("wet") == "wet"


def test_a_recording_that_lacks_a_column_says_which(tmp_path: Path) -> None:
    """And what it has."""
    path = tmp_path / "rows.csv"
    path.write_text("when;Flow;Head\n", "utf-8")
    with pytest.raises(RecordingError, match=r"no column Pressure, line 1; it has Flow, Head, when"):
        list(Recording(path, _mapping()))


def test_a_cut_archive_gives_what_it_has_and_says_so(tmp_path: Path) -> None:
    """The end of half a file is not the end of the recording."""
    rows = [("2024-01-02 03:04:05", f"{math.sin(number)}", "1") for number in range(5000)]
    path = _write(tmp_path / "rows.csv", rows)
    whole = gzip.compress(path.read_bytes())
    path.write_bytes(whole[: len(whole) // 2])
    taken = []
    with pytest.raises(RecordingError, match="cannot be read"):
        taken.extend(Recording(path, _mapping()))
    assert len(taken) < 5000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[time]\ncolumn = 't'\n",
        "[time]\ncolumn = 't'\n[channels.flow]\n",
        "[time]\ncolumn = 't'\n[channels.flow]\ncolumn = 'F'\nunits = 'bar'\n",
        "[time]\ncolumn = 't'\n[channels]\n",
        "[time]\ncolumn = 't'\n[channels.time]\ncolumn = 't'\n",
        "[time",
    ],
)
def test_wrong_mappings_are_refused(tmp_path: Path, text: str) -> None:
    """A slip of the pen is told, not ignored."""
    path = tmp_path / "mapping.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(MappingError, match=r"mapping\.toml"):
        load_mapping(path)


def test_half_a_unit_and_an_unknown_zone_are_refused() -> None:
    """They are found before the first row."""
    channel = {"flow": ChannelColumn("F", unit="l/min")}
    with pytest.raises(MappingError, match="both unit and to"):
        translate(Mapping(time=TimeColumn("t"), channels=channel))
    with pytest.raises(MappingError, match="Mars/Olympus"):
        translate(Mapping(time=TimeColumn("t", zone="Mars/Olympus"), channels={"flow": ChannelColumn("F")}))


def test_all_of_skab_fits_its_mapping(shared_data: Path) -> None:
    """Every row of every file is given out, with channels that the pump's twin knows."""
    mapping = load_mapping(MAPPINGS / "skab.toml")
    assert set(mapping.channels) <= {channel.name for channel in TWIN.channels}
    assert mapping.model == TWIN.model
    files = sorted((shared_data / "skab").glob("*/*.csv.gz"))
    assert files
    for path in files:
        rows, recording = _read(path, mapping)
        with gzip.open(path, "rt", encoding="utf-8") as file:
            assert len(rows) == sum(1 for _ in file) - 1
        assert not recording.skipped
        assert not recording.flawed
    time, channels = _read(shared_data / "skab/other/1.csv.gz", mapping)[0][0]
    assert time == datetime(2020, 3, 1, 15, 44, 6, tzinfo=UTC).timestamp()
    assert channels == pytest.approx(
        {
            "dischargePressure": 5.4711 + 101.325,
            "flow": 76.0197 * 0.06,
            "motorTemperature": 92.2562,
            "fluidTemperature": 22.2577,
            "current": 1.27794,
            "voltage": 209.639,
            "acceleration1": 0.0820647,
            "acceleration2": 0.133521,
        }
    )


def test_files_of_connections(tmp_path: Path) -> None:
    """Strings and objects may be mixed; anything else is refused."""
    path = tmp_path / "pumps.json"
    path.write_text('["HostName=h;DeviceId=a", {"connectionString": "HostName=h;DeviceId=b", "acceleration": 10}]')
    first, second = read_connections(path)
    assert (first.connection_string, first.acceleration) == ("HostName=h;DeviceId=a", None)
    assert (second.connection_string, second.acceleration) == ("HostName=h;DeviceId=b", 10.0)
    for text in ("{}", "[1]", '[{"connection": "x"}]', "["):
        path.write_text(text)
        with pytest.raises(ConnectionsError):
            read_connections(path)
