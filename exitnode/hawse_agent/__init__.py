"""The agent: what a developer runs on a laptop."""
