"""The exit node: supervisor around the data plane, client of the operator, identity of one pod."""
