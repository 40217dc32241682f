"""Typed Python face of the Rust data plane; core.py is the only importer of `_core`."""
