"""What an operator sets, read from the environment once, all faults reported at once."""

import dataclasses
import re
from collections.abc import Iterator, Mapping

from twin_actors.errors import SettingsError

_QUEUE_NAME = re.compile(r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*")


@dataclasses.dataclass(frozen=True)
class Connection:
    """How to reach a service: by connection string on a laptop, by identity on Azure.

    Exactly one of the two is set.
    """

    connection_string: str = ""
    address: str = ""


@dataclasses.dataclass(frozen=True)
class Settings:
    """The configuration of a worker.

    Attributes
    ----------
    mailbox : Connection
        ``Mailbox``, or ``Mailbox__fullyQualifiedNamespace``.
    mailbox_name : str
        ``MailboxName``: the Event Hub that devices' messages are routed to.
    consumer_group : str
        ``MailboxConsumerGroup``: the trigger's own.
    gap_consumer_group : str
        ``MailboxGapConsumerGroup``: reads what the trigger skipped; nobody else may use it.
    journal_storage : Connection
        ``JournalStorage``, or ``JournalStorage__blobServiceUri``.
    journal_container : str
        ``JournalContainer``.
    digital_twins_url : str
        ``DigitalTwinsUrl``.
    iot_hub : Connection
        ``IotHub``, or ``IotHub__hostName``: takes commands for devices.
    table_storage, queue_storage : Connection
        ``JournalStorage``, or ``JournalStorage__tableServiceUri`` and ``JournalStorage__queueServiceUri``: what apps
        look up, and work orders.
    work_order_queue : str
        ``WorkOrderQueue``: takes work orders, unless they go elsewhere.
    work_orders_url : str
        ``WorkOrdersUrl``: takes work orders as JSON by POST; empty where the queue does.
    work_orders_scope : str
        ``WorkOrdersScope``: a token for this is sent there; empty for none.
    has_sign_in : bool
        ``WEBSITE_AUTH_ENABLED``, which the platform sets: App Service authentication says who calls over HTTP.
    """

    mailbox: Connection
    mailbox_name: str
    consumer_group: str
    gap_consumer_group: str
    journal_storage: Connection
    journal_container: str
    digital_twins_url: str
    iot_hub: Connection
    table_storage: Connection
    queue_storage: Connection
    work_order_queue: str
    work_orders_url: str
    work_orders_scope: str = ""
    has_sign_in: bool = False


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings.

    Raises
    ------
    SettingsError
        With every fault found.
    """
    faults: list[str] = []

    def text(name: str, what: str) -> str:
        value = environment.get(name, "").strip()
        if not value:
            faults.append(f"{name} is not set: {what}")
        return value

    def connection(name: str, suffix: str, what: str) -> Connection:
        by_string = environment.get(name, "").strip()
        by_identity = environment.get(f"{name}__{suffix}", "").strip()
        if bool(by_string) == bool(by_identity):
            how = "both are" if by_string else "neither is"
            faults.append(f"set {name} (a connection string) or {name}__{suffix} (with identity), {how} set: {what}")
        return Connection(by_string, by_identity)

    settings = Settings(
        mailbox=connection("Mailbox", "fullyQualifiedNamespace", "the namespace of the mailbox Event Hub"),
        mailbox_name=text("MailboxName", "the name of the Event Hub that device messages are routed to"),
        consumer_group=text("MailboxConsumerGroup", "the consumer group of the trigger"),
        gap_consumer_group=text("MailboxGapConsumerGroup", "a consumer group that only the gap reader uses"),
        journal_storage=connection("JournalStorage", "blobServiceUri", "the storage account of the journals"),
        journal_container=text("JournalContainer", "the blob container of the journals"),
        digital_twins_url=text("DigitalTwinsUrl", "the https URL of the Azure Digital Twins instance"),
        iot_hub=connection("IotHub", "hostName", "the IoT Hub that takes commands for devices"),
        table_storage=connection("JournalStorage", "tableServiceUri", "the tables that apps look things up in"),
        queue_storage=connection("JournalStorage", "queueServiceUri", "the queues of work orders"),
        work_order_queue=text("WorkOrderQueue", "the name of the storage queue that takes work orders"),
        work_orders_url=environment.get("WorkOrdersUrl", "").strip(),
        work_orders_scope=environment.get("WorkOrdersScope", "").strip(),
        has_sign_in=environment.get("WEBSITE_AUTH_ENABLED", "").strip().lower() == "true",
    )
    faults += _contradictions(settings, environment)
    if settings.work_order_queue and not _QUEUE_NAME.fullmatch(settings.work_order_queue):
        faults.append(
            "WorkOrderQueue is 3 to 63 small letters, digits and single hyphens between them, "
            f"it is {settings.work_order_queue!r}"
        )
    if settings.work_orders_url and not settings.work_orders_url.startswith(("https://", "http://127.")):
        faults.append(f"WorkOrdersUrl must begin with https://, it is {settings.work_orders_url!r}")
    if settings.work_orders_scope and not settings.work_orders_url.startswith("https://"):
        faults.append("WorkOrdersScope is set, but WorkOrdersUrl does not begin with https://: tokens go nowhere else")
    if settings.digital_twins_url and not settings.digital_twins_url.startswith("https://"):
        faults.append(f"DigitalTwinsUrl must begin with https://, it is {settings.digital_twins_url!r}")
    if faults:
        raise SettingsError(tuple(faults))
    return settings


def _contradictions(settings: Settings, environment: Mapping[str, str]) -> Iterator[str]:
    """Yield what is set and does not go together."""
    if settings.consumer_group and settings.consumer_group == settings.gap_consumer_group:
        yield (
            f"MailboxGapConsumerGroup is {settings.gap_consumer_group}, the trigger's own: two readers of a group take "
            "each other's partitions away; make another group"
        )
    processes = environment.get("FUNCTIONS_WORKER_PROCESS_COUNT", "").strip()
    if processes not in {"", "1"}:
        yield (
            f"FUNCTIONS_WORKER_PROCESS_COUNT is {processes}: batches of a partition would go round the processes and "
            "tear its twins apart; set it to 1, and scale by instances"
        )
