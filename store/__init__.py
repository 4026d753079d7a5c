"""ClickHouse and PostgreSQL: servers, migrations, writers, queries."""
