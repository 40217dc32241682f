//! What all listeners of one edge see: routes, certificates, totals. Changed by commands, read by requests without a lock.

use crate::{certs::Certificates, counters::Totals, route::Routes};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) routes: Routes,
    pub(crate) certificates: Certificates,
    pub(crate) totals: Totals,
}
