//! Who may come in: policies in force, what they check, and who a visitor turned out to be.
//!
//! One concern a file. Nothing here knows the stack or the app: layers/access.rs asks, upstream/head.rs tells the app.

#[cfg_attr(not(test), expect(dead_code, reason = "made by the access layer, which follows"))]
pub(crate) mod identity;

pub(crate) use identity::Identity;
