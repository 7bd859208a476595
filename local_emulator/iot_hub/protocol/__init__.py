"""The wire: MQTT packets and connections, REST routes."""
