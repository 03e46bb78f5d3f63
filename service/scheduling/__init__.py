"""Many callers share one model; asyncio only."""
