"""HTTP for apps: what the graph and the documents say, and what may be asked of twins.

`app` and all it needs are imported at the first request: workers that fold messages never do.
"""
