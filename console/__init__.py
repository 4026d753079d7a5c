"""The desk: the wall and the pages beside it, live from the topics.

`state` is the pure core: what was read from the log, and `view` of it. `feed` reads the topics and
publishes views, `server` shows them. History comes from ClickHouse, the present never does.
"""
