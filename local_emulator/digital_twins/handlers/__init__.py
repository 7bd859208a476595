"""One function for each operation of the service."""
