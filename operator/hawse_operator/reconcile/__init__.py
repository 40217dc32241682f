"""Shell: the cache, the queue, the Lease, and one module per kind that gathers, lets the core decide, and applies."""
