"""Remaining useful life: learned from histories of failure, asked of each twin's own state."""
