//! One fetch on behalf of everyone who waits for it: from the app's answer to the flight's readers and the store.
//!
//! A task of its own, so that it goes on when the visitor leaves for whom it began. However it ends, also when it is dropped,
//! its flight lands and is found by nobody any more.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use hawse_proto::codes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, response};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};

use super::{
    Shield,
    flight::{Flight, Head, Landing},
    key::Key,
    says::Says,
    storable::{self, Lifetime},
    store::{Spot, Store},
    stored::Stored,
};
use crate::{
    body::Body,
    fault::{self, Fault},
    layers::{Boxed, Outcome},
    limits,
    visit::Ticket,
};

/// See the module.
pub(crate) struct Fetch {
    shield: Arc<Shield>,
    /// Keeps the place at the app.
    ticket: Arc<Ticket>,
    flight: Listed,
    spot: Spot,
    guarded: bool,
    epoch: u64,
    /// Fields of the request, which tell variants apart.
    asked: HeaderMap,
    /// Gets the answer if it is for this visitor alone.
    direct: Option<oneshot::Sender<Response<Body>>>,
}

/// A flight under the keys by which it is found.
struct Listed {
    flight: Arc<Flight>,
    store: Arc<Store>,
    keys: Vec<Key>,
}

impl Listed {
    fn also(&mut self, key: Key) {
        self.store.list(&key, &self.flight);
        self.keys.push(key);
    }

    /// From now on nobody finds it; who reads goes on.
    fn unlist(&mut self) {
        self.keys
            .drain(..)
            .for_each(|key| self.store.unlist(&key, &self.flight));
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.unlist();
        self.flight
            .land(Landing::Failed(Fault::agent_lost("The exit node gave the request up.")));
        self.flight.cut(&codes::AGENT_LOST);
    }
}

/// An answer that is shared, as far as its head goes.
struct Shared {
    head: response::Parts,
    lifetime: Lifetime,
    /// Where it will be stored; `None`: it will not.
    home: Option<Key>,
}

impl Fetch {
    /// `key`: under which the flight is listed. `direct`: see there; absent for a fetch that no visitor waits for.
    pub(crate) fn new(
        (shield, ticket): (&Arc<Shield>, Arc<Ticket>),
        (flight, key): (Arc<Flight>, Key),
        (spot, guarded): (Spot, bool),
        asked: HeaderMap,
        direct: Option<oneshot::Sender<Response<Body>>>,
    ) -> Self {
        Self {
            flight: Listed {
                flight,
                store: shield.store().clone(),
                keys: vec![key],
            },
            epoch: shield.zone.epoch(),
            shield: shield.clone(),
            ticket,
            spot,
            guarded,
            asked,
            direct,
        }
    }

    /// What the app is asked: all of it, and only if it is not what is stored already.
    pub(crate) fn conditions(&self, fields: &mut HeaderMap) {
        for name in [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_RANGE] {
            fields.remove(name);
        }
        if let Some(stored) = &self.spot.stored {
            stored.validators(fields);
        }
    }

    /// Cancel safe: dropping it cuts its readers off.
    pub(crate) async fn run(mut self, answer: Boxed<Outcome>) {
        let flight = self.flight.flight.clone();
        let is_awaited = self.direct.is_some();
        let outcome = tokio::select! {
            biased;
            outcome = answer => outcome,
            // All who waited have left: as without a shield, the app is told.
            () = flight.left(), if is_awaited => return,
        };
        let response = match outcome {
            Ok(response) => response,
            Err(fault) => return self.fail(fault),
        };
        if response.status() == StatusCode::NOT_MODIFIED
            && let Some(stored) = self.spot.stored.clone()
        {
            return self.confirm(&stored, response.headers());
        }
        if storable::is_failure(response.status())
            && let Some(stored) = self.helper()
        {
            return self.land_stored(stored, Says::StaleOnError);
        }
        let (mut head, body) = response.into_parts();
        match self.share(&mut head, body.size_hint().exact()) {
            Some((lifetime, home)) => self.stream(Shared { head, lifetime, home }, body).await,
            None => self.give(Response::from_parts(head, body)),
        }
    }

    /// What is stored, if it is good enough now that the app fails.
    fn helper(&self) -> Option<Arc<Stored>> {
        let stored = self.spot.stored.clone()?;
        (stored.helps_on_error(Instant::now()) && (!self.guarded || stored.is_for_all())).then_some(stored)
    }

    fn fail(mut self, fault: Fault) {
        match self.helper() {
            Some(stored) => self.land_stored(stored, Says::StaleOnError),
            None => {
                self.flight.unlist();
                self.flight.flight.land(Landing::Failed(fault));
            }
        }
    }

    fn land_stored(&mut self, stored: Arc<Stored>, says: Says) {
        self.flight.unlist();
        self.flight.flight.land(Landing::Stored(stored, says));
    }

    /// The app says that what is stored still holds.
    fn confirm(mut self, stored: &Arc<Stored>, said: &HeaderMap) {
        let fields = stored.updated(said);
        let Some(lifetime) = self.judge(stored.status(), &fields) else {
            // Not for others any more: all who waited ask for themselves, without a condition.
            self.flight.store.invalidate(&self.spot.primary);
            return self.unshare();
        };
        let confirmed = Arc::new(stored.confirmed(fields, lifetime, Instant::now(), &self.shield.counters));
        self.put(&self.spot.key, confirmed.clone());
        self.land_stored(confirmed, Says::Confirmed);
    }

    /// The answer is for one visitor alone: whoever waits asks for itself, and nobody waits for this page for a while.
    fn give(mut self, response: Response<Body>) {
        if !self.guarded && !storable::is_failure(response.status()) {
            // What it said before is not given out stale any more.
            self.flight.store.invalidate(&self.spot.primary);
        }
        self.unshare();
        if let Some(direct) = self.direct.take() {
            let ticket = self.ticket.clone();
            // The place at the app is taken until the visitor has it. A visitor that left wants it no more.
            let _ = direct.send(response.map(|body| Holding { body, _ticket: ticket }.boxed_unsync()));
        }
    }

    fn unshare(&mut self) {
        if let Some(key) = self.flight.keys.first() {
            self.flight.store.set_unshared(key, Instant::now());
        }
        self.flight.unlist();
        self.flight.flight.land(Landing::Unshared);
    }

    fn judge(&self, status: StatusCode, fields: &HeaderMap) -> Option<Lifetime> {
        let on = (self.shield.terms, self.guarded);
        storable::judge((status, fields), &self.asked, on, SystemTime::now())
    }

    /// Gives the head to everyone who waits, if it may be given: for how long it serves, and where it is to be stored.
    fn share(&mut self, head: &mut response::Parts, length: Option<u64>) -> Option<(Lifetime, Option<Key>)> {
        let lifetime = self.judge(head.status, &head.headers)?;
        let mut names = storable::vary(&head.headers)?;
        names.extend(self.shield.key_fields.iter().cloned());
        let home = self.flight.store.home(&self.spot.primary, names, &self.asked)?;
        if let Some(key) = self.flight.keys.first() {
            self.flight.store.set_shared(key);
        }
        let listed = if self.guarded { home.guarded() } else { home.clone() };
        let depends = home != self.spot.primary;
        if home != self.spot.key {
            self.flight.also(listed.clone());
        }
        if !head.headers.contains_key(header::DATE)
            && let Ok(now) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now()))
        {
            head.headers.insert(header::DATE, now);
        }
        self.flight.flight.land(Landing::Streams(Arc::new(Head {
            status: head.status,
            fields: head.headers.clone(),
            length,
            of: depends.then_some(listed),
        })));
        Some((lifetime, lifetime.is_kept().then_some(home)))
    }

    async fn stream(mut self, shared: Shared, mut body: Body) {
        let most = limits::SHIELD_ANSWER_BYTES as u64;
        let mut keeps = body.size_hint().lower() <= most;
        let (mut bytes, mut trailers) = (0, None);
        let flight = self.flight.flight.clone();
        let mut deadline = None;
        loop {
            let patience = (keeps && shared.home.is_some()).then_some(limits::SHIELD_UNREAD);
            let frame = tokio::select! {
                biased;
                frame = body.frame() => frame,
                () = unread(&flight, patience, &mut deadline) => return,
            };
            match frame.map(|frame| frame.map(http_body::Frame::into_data)) {
                None => break,
                Some(Err(error)) => return flight.cut(fault::code_of(&error).unwrap_or(&codes::APP_CLOSED)),
                Some(Ok(Err(other))) => trailers = other.into_trailers().ok(),
                Some(Ok(Ok(piece))) => {
                    bytes += piece.len() as u64;
                    keeps &= flight.push(piece) && bytes <= most;
                }
            }
            if !keeps {
                self.flight.unlist();
                if !flight.slide().await {
                    return;
                }
            }
        }
        flight.finish(trailers);
        if keeps {
            self.store(&shared, &flight.pieces());
        }
    }

    fn store(&self, shared: &Shared, pieces: &[Bytes]) {
        if let Some(home) = &shared.home {
            let head = (shared.head.status, &shared.head.headers, pieces);
            let stored = Stored::new(head, shared.lifetime, Instant::now(), &self.shield.counters);
            self.put(home, Arc::new(stored));
        }
    }

    /// What was asked for before a purge is not for later.
    fn put(&self, key: &Key, stored: Arc<Stored>) {
        if self.shield.zone.epoch() == self.epoch {
            self.flight.store.put(key, stored);
        }
    }
}

/// Resolves when the rest of a body is not worth waiting for: nobody reads it, and it can't be stored (no patience) or takes
/// too long. Cancel safe: `deadline` is kept for the next call.
async fn unread(flight: &Flight, patience: Option<Duration>, deadline: &mut Option<Instant>) {
    loop {
        flight.left().await;
        let until = *deadline.get_or_insert_with(|| Instant::now() + patience.unwrap_or_default());
        sleep_until(until).await;
        if !flight.is_read() {
            return;
        }
        *deadline = None;
    }
}

/// A body that keeps its request's place at the app.
struct Holding {
    body: Body,
    _ticket: Arc<Ticket>,
}

impl http_body::Body for Holding {
    type Data = Bytes;
    type Error = crate::body::BoxError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::pin::Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
