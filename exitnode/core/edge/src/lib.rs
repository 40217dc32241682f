//! The public edge: TLS, HTTP/1.1 and HTTP/2 front ends before one tower stack that ends in a stream to the app.
