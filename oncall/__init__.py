"""Who is told, when, how often. Pure: no I/O, no clock."""
