"""Fakes, builders and harnesses that tests share."""
