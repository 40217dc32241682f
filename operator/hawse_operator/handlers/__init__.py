"""kopf: events of the API server go to a sink, nothing else. Decisions, writes and retries are reconcile's."""
