"""Core: pure decisions. Every input is an argument, every result a frozen value."""
