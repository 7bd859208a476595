"""The actor runtime: twins that fold their devices' messages into durable state."""
