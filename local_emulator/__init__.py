"""Azure for twins on one machine: emulators that the official SDKs cannot tell from the services."""
