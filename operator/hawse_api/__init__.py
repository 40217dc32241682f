"""Contracts that cross a border: resources, IR, frames, names. Needs pydantic, protobuf, the standard library."""
