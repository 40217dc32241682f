use super::*;

/// What the three witnesses say, and whose fault it is.
#[test]
fn the_failing_hop_is_named() {
    use Said::{Broken, Invalid};
    for (name, said, reset, broken, ended, visitor, code) in [
        ("the app refused", Broken, 1003, true, false, 0, 1003),
        ("the app refused, seen as an end", Broken, 1003, true, true, 0, 1003),
        ("the agent drains", Broken, 2015, true, false, 0, 1013),
        ("an unknown code", Broken, 77, true, false, 0, 1013),
        ("the link broke", Broken, 0, true, false, 0, 1013),
        ("the app closed", Broken, 0, false, true, 0, 1005),
        ("not HTTP", Invalid, 0, false, false, 0, 1014),
        ("not HTTP, then closed", Invalid, 0, false, true, 0, 1014),
        ("HTTP/2 error", Broken, 0, false, false, 0, 1014),
        ("the visitor's body was too slow", Broken, 0, false, false, 1009, 1009),
        (
            "the visitor's body broke, the app closed",
            Broken,
            0,
            true,
            true,
            1006,
            1006,
        ),
    ] {
        let fault = no_answer(said, &Fate::with(reset, broken, ended), &Sent::with(visitor));
        assert_eq!(fault.code.number, code, "{name}");
    }
}

#[test]
fn a_cut_answer_names_the_hop_too() {
    for (reset, broken, code) in [
        (1003, true, 1003),
        (2015, true, 1013),
        (0, true, 1013),
        (0, false, 1005),
    ] {
        assert_eq!(cut_off(&Fate::with(reset, broken, false)).number, code);
    }
}
