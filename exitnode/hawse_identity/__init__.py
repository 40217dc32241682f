"""Signing in by OpenID Connect, for visitors of tunnels with an `oidc` policy (docs/design/0005-edge.md §3).

Runs on the exit node's event loop behind a unix socket, which only the edge can reach. It makes and renews the session
cookies that the edge checks by itself; what it decides is pure and stands in modules of its own, `service` and
`provider_client` do the I/O. Nothing here knows the operator, agents or the data plane.
"""
