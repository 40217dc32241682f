//! The pure room: messages, codes, routes, limits. No I/O, no clock, no runtime; time and randomness come in as arguments.
