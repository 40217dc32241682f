"""Core: the Kubernetes objects that the operator owns, as plain dicts for server-side apply. Pure."""
