//! Both ends of the tunnel: QUIC links, the control stream, streams to the app.
