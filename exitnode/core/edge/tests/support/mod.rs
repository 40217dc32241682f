//! What the wire tests share: an edge on loopback, an app behind plain TCP, visitors over TLS. Nothing sleeps for effect and
//! every wait has a limit.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::large_futures,
    reason = "each test binary uses a part of it, tests panic and own their tasks"
)]

mod apps;
mod dialer;
mod http3;
mod scene;
mod wire;

use std::{future::Future, time::Duration};

pub use apps::*;
pub use dialer::*;
pub use http3::*;
pub use scene::*;
pub use wire::*;

pub const HOST: &str = "shop.t.example";
pub const OTHER: &str = "blog.t.example";
/// Most that any single wait of a test may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits, but not for ever.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it took too long")
}
