"""Contracts that cross a border: custom resources, IR, frames, names. Imports pydantic, protobuf and the standard library."""
