"""What the hub does: one function per operation."""
