//! The shield: identical requests become one, and its answer serves those who come after (docs/shield.md).
//!
//! One concern a file. Pure: request (what is asked), key (what is the same), storable (what may be shared, for how long),
//! conditional (what of it a visitor needs), says (Cache-Status). With state: stored (one answer), store (all of them), flight
//! (one fetch and its readers). fetch.rs alone awaits the app. The layer is layers/shield.rs; route.rs makes a tunnel's
//! [`Shield`].

mod conditional;
mod counters;
mod fetch;
mod flight;
mod key;
mod request;
mod says;
mod storable;
mod store;
mod stored;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use hawse_proto::{core, ir};
use http::{HeaderName, HeaderValue, Request, Uri};
use tokio::time::Instant;

pub(crate) use self::{
    counters::Counters,
    fetch::Fetch,
    flight::{Flight, Head, Landing, Reader},
    key::Key,
    request::Asks,
    says::Says,
    store::{Spot, Store, Zone},
    stored::Use,
};
use self::{request::Credentials, storable::Terms};
use crate::{body::Body, limits};

/// A tunnel's shield in the form that requests read.
#[derive(Debug)]
pub(crate) struct Shield {
    said: ir::Shield,
    collapse: bool,
    terms: Terms,
    credentials: Credentials,
    key_fields: Vec<HeaderName>,
    zone: Arc<Zone>,
    counters: Arc<Counters>,
}

/// What became of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Became {
    Hit,
    Miss,
    Collapsed,
    Stale,
    Bypassed,
}

impl Shield {
    /// `before`: the tunnel's shield before an edit; what it stored stays good if it said the same.
    pub(crate) fn new(said: ir::Shield, store: &Arc<Store>, before: Option<&Self>, counters: Arc<Counters>) -> Self {
        let ms = |value: u32| Duration::from_millis(value.into());
        let zone = before
            .filter(|before| before.said == said)
            .map(|before| before.zone.clone());
        Self {
            collapse: said.collapse,
            terms: Terms {
                ttl: ms(said.ttl_ms).min(limits::SHIELD_FRESH),
                while_revalidate: ms(said.stale_while_revalidate_ms).min(limits::SHIELD_STALE),
                if_error: ms(said.stale_if_error_ms).min(limits::SHIELD_STALE),
                share_authorized: said.share_authorized,
            },
            credentials: Credentials {
                cookies: said.bypass_cookies.clone(),
                share_authorized: said.share_authorized,
            },
            key_fields: key_fields(&said).unwrap_or_default(),
            zone: zone.unwrap_or_else(|| Zone::new(store)),
            counters,
            said,
        }
    }

    /// Why it can't be served as it is.
    pub(crate) fn problem(said: &ir::Shield) -> Option<String> {
        key_fields(said).err()
    }

    pub(crate) fn asks(&self, request: &Request<Body>) -> Asks {
        request::judge(request, &self.credentials)
    }

    /// Where the answer to a request belongs, and what stands there that it may be answered with.
    pub(crate) fn spot(&self, authority: &HeaderValue, request: &Request<Body>, guarded: bool) -> Spot {
        let primary = self.zone.key(authority, request.uri());
        let spot = self.store().spot(primary, &self.key_fields, request.headers());
        let stored = spot.stored.filter(|stored| !guarded || stored.is_for_all());
        Spot { stored, ..spot }
    }

    /// The app has changed something there.
    pub(crate) fn invalidate(&self, authority: &HeaderValue, uri: &Uri) {
        self.store().invalidate(&self.zone.key(authority, uri));
    }

    /// Under which fetches of a spot find each other.
    pub(crate) fn flight_key(spot: &Spot, guarded: bool) -> Key {
        if guarded { spot.key.guarded() } else { spot.key.clone() }
    }

    /// True: whoever asks for it fetches it without waiting for others.
    pub(crate) fn is_unshared(&self, key: &Key, now: Instant) -> bool {
        self.store().is_unshared(key, now)
    }

    /// A flight to wait for, and whether the caller has to fly it.
    pub(crate) fn board(&self, key: &Key) -> (Arc<Flight>, bool) {
        if self.collapse {
            self.store().board(key)
        } else {
            (self.store().alone(), true)
        }
    }

    /// Forgets what is stored, unless that is good for the tunnel's new form.
    pub(crate) fn is_replaced(&self, by: Option<&Self>) {
        if !by.is_some_and(|by| Arc::ptr_eq(&by.zone, &self.zone)) {
            self.purge();
        }
    }

    pub(crate) fn count(&self, became: Became) {
        let counter = match became {
            Became::Hit => &self.counters.hits,
            Became::Miss => &self.counters.misses,
            Became::Collapsed => &self.counters.collapsed,
            Became::Stale => &self.counters.stale,
            Became::Bypassed => &self.counters.bypassed,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// Forgets what is stored; how many answers that were.
    pub(crate) fn purge(&self) -> u64 {
        self.zone.purge()
    }

    pub(crate) fn read(&self) -> core::ShieldCounters {
        self.counters.read()
    }

    fn store(&self) -> &Arc<Store> {
        self.zone.store()
    }
}

fn key_fields(said: &ir::Shield) -> Result<Vec<HeaderName>, String> {
    let mut names = Vec::new();
    for name in &said.key_headers {
        let parsed = HeaderName::try_from(name.as_str());
        names.push(parsed.map_err(|_| format!("{name:?} is not the name of a field (keyHeaders of the shield)"))?);
    }
    if names.len() > limits::SHIELD_VARY_FIELDS {
        return Err(format!(
            "the shield has more than {} keyHeaders",
            limits::SHIELD_VARY_FIELDS
        ));
    }
    names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    names.dedup();
    Ok(names)
}
