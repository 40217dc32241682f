"""`make bench`: the product's path beside what people use today, measured on this machine.

Everything runs on loopback: a load generator of our own (loader/, Rust), an app, and between them one of the products.
Products take turns within a round, in random order, so that what the machine does meanwhile meets all of them. The
figure to trust is CPU time per request; rates on a small shared machine drift. What came out: docs/benchmarks.md.
"""
