"""One module per kind of trigger: what it hears, and how it becomes an invocation."""
