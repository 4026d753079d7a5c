"""The deterministic cores of the agents: functions of their log partition."""
