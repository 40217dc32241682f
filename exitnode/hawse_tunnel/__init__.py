"""Typed Python face of the Rust data plane; core.py is the only importer of `_core`.

    from hawse_tunnel import errors
    from hawse_tunnel.core import TunnelCore
    from hawse_tunnel.events import CoreFailed, Event, FrameReceived, LinkDown, LinkUp

Nothing is imported here, so that `hawse version` and the tests of pure modules need no compiled core.
"""
