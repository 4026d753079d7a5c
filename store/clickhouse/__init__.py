"""ClickHouse: the embedded engine behind ClickHouse's HTTP interface, its client and its migrations."""
