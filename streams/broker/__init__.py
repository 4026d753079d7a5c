"""The embedded broker: Tansu in memory behind a write-ahead proxy.

The proxy journals every request that changes the log before Tansu sees it, so that what was
acknowledged survives the end of both processes, at the same offsets.
"""
