"""Protobuf contracts and the Python code generated from them (`make codegen`); frozen, versioned."""
