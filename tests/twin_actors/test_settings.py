"""All faults of the configuration are told at once."""

import dataclasses

import pytest

from twin_actors.errors import SettingsError
from twin_actors.settings import Connection, Settings, read_settings

GOOD = {
    "Mailbox": "Endpoint=sb://127.0.0.1;SharedAccessKeyName=a;SharedAccessKey=b",
    "MailboxName": "mailbox",
    "MailboxConsumerGroup": "functions",
    "MailboxGapConsumerGroup": "gaps",
    "JournalStorage__blobServiceUri": "https://account.blob.core.windows.net",
    "JournalStorage__tableServiceUri": "https://account.table.core.windows.net",
    "JournalStorage__queueServiceUri": "https://account.queue.core.windows.net",
    "JournalContainer": "journal",
    "WorkOrderQueue": "orders",
    "IotHub": "HostName=hub;SharedAccessKeyName=a;SharedAccessKey=b",
    "DigitalTwinsUrl": "https://instance.api.weu.digitaltwins.azure.net",
}


def test_good_settings_are_read() -> None:
    """By connection string or by identity."""
    settings = read_settings({**GOOD, "Other": "x"})
    assert settings == Settings(
        mailbox=Connection(connection_string=GOOD["Mailbox"]),
        mailbox_name="mailbox",
        consumer_group="functions",
        gap_consumer_group="gaps",
        journal_storage=Connection(address="https://account.blob.core.windows.net"),
        journal_container="journal",
        digital_twins_url=GOOD["DigitalTwinsUrl"],
        iot_hub=Connection(connection_string=GOOD["IotHub"]),
        table_storage=Connection(address="https://account.table.core.windows.net"),
        queue_storage=Connection(address="https://account.queue.core.windows.net"),
        work_order_queue="orders",
        work_orders_url="",
    )
    assert len(dataclasses.fields(settings)) < 25


@pytest.mark.parametrize(("text", "has_sign_in"), [("True", True), ("true", True), ("False", False), ("", False)])
def test_the_platform_says_whether_people_sign_in(text: str, *, has_sign_in: bool) -> None:
    """It sets this variable, nobody else does."""
    assert read_settings({**GOOD, "WEBSITE_AUTH_ENABLED": text}).has_sign_in is has_sign_in


def test_every_fault_is_told() -> None:
    """An empty environment has them all."""
    with pytest.raises(SettingsError) as raised:
        read_settings({})
    assert len(raised.value.faults) == len(dataclasses.fields(Settings)) - 3  # WorkOrdersUrl, WorkOrdersScope, sign-in
    assert all(any(name in fault for fault in raised.value.faults) for name in ("Mailbox", "JournalStorage"))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"MailboxName": " "}, "MailboxName is not set"),
        ({"Mailbox__fullyQualifiedNamespace": "n"}, "both are"),
        ({"JournalStorage__blobServiceUri": ""}, "neither is"),
        ({"DigitalTwinsUrl": "http://instance"}, "https://"),
        ({"WorkOrderQueue": "Work_Orders"}, "WorkOrderQueue"),
        ({"WorkOrderQueue": "ab"}, "WorkOrderQueue"),
        ({"WorkOrderQueue": "a--b"}, "WorkOrderQueue"),
        ({"WorkOrdersUrl": "http://orders.example"}, "WorkOrdersUrl"),
        ({"WorkOrdersScope": "api://orders/.default"}, "WorkOrdersScope"),
        ({"WorkOrdersUrl": "http://127.0.0.1", "WorkOrdersScope": "api://orders/.default"}, "WorkOrdersScope"),
    ],
)
def test_one_fault(changes: dict[str, str], word: str) -> None:
    """Says what is wrong, and with what."""
    with pytest.raises(SettingsError) as raised:
        read_settings({**GOOD, **changes})
    (fault,) = raised.value.faults
    assert word in fault


def test_secrets_are_not_in_the_text() -> None:
    """A connection string that is set twice is not printed."""
    with pytest.raises(SettingsError) as raised:
        read_settings({**GOOD, "Mailbox__fullyQualifiedNamespace": "n"})
    assert "SharedAccessKey=b" not in str(raised.value)
