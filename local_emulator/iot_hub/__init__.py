"""An IoT Hub on this machine that the official SDKs cannot tell from Azure's."""

from local_emulator.iot_hub.hub import RoutedEvent
from local_emulator.iot_hub.protocol.listener import Network
from local_emulator.iot_hub.server import IotHub

__all__ = ["IotHub", "Network", "RoutedEvent"]
