"""What an operator sees: logs, metrics, trace context."""
