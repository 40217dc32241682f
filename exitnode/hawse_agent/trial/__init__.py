"""A fleet on loopback without a cluster: exit nodes with a configuration from a file, an agent, the sample app.

For a first look (`make try`, scripts/try.py) and for integration tests (tests/support/loopback.py). Every process is a
real one, started the way its own manual says; only the operator is missing, so certificates are made here by a CA that
lives as long as the trial. Nothing here is used by the agent itself.
"""
