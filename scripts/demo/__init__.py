"""`make demo`: the main job of Hawse before a newcomer's eyes, on real parts, from an empty cluster to served visitors.

`python -m demo` with scripts and kind on PYTHONPATH. Every command that it shows is run as shown; every expectation is
a named check. It builds nothing (make did) and fakes nothing; docs/demo.md describes it for its readers.

    __main__ -> setup, visiting, kills, changes, stay (steps 1-4, 5, 6, 7, 8) -> session -> clusters -> kube, visits
    -> programs; kills -> traffic -> outcomes, which is pure
"""
