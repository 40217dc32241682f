//! The wiring of one process, and its Python face.
