"""Words of the engine: events, reference data, wire records, tables."""
