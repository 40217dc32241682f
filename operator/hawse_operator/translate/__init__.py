"""Core: resources → IR, token texts and statuses. Pure; golden files hold its output."""
