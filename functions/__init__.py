"""The triggers: thin, one module each."""
