//! One stored answer: how it is made of what the app sent, and how it is given out. Everything that can be worked out when it
//! is stored is; a hit clones a head, counts its age and slices its body.
//!
//! What is stored is copied. hyper's pieces and the values of its fields are slices of read buffers of 8 to 16 KiB: kept as
//! they come, 150,000 answers of 200 bytes took 2.1 GB instead of 0.48 (measured).

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::{
    conditional::{self, Needs},
    counters::{Counters, Held},
    says::Says,
    storable::Lifetime,
};
use crate::{
    body::{self, Body, BoxError},
    limits,
};

/// What an entry costs beside its bytes: maps, pointers, names of fields.
const OVERHEAD_BYTES: usize = 600;

/// See the module.
#[derive(Debug)]
pub(crate) struct Stored {
    status: StatusCode,
    fields: HeaderMap,
    body: Bytes,
    lifetime: Lifetime,
    since: Instant,
    weight: usize,
    _held: Held,
}

/// What a stored answer is good for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Fresh,
    /// Good, but it is time to ask again.
    WhileRevalidated,
    /// To be asked for again first.
    Stale,
}

impl Stored {
    pub(super) fn new(
        (status, fields, body): (StatusCode, &HeaderMap, &[Bytes]),
        lifetime: Lifetime,
        now: Instant,
        counters: &Arc<Counters>,
    ) -> Self {
        let mut whole = Vec::with_capacity(body.iter().map(Bytes::len).sum());
        body.iter().for_each(|piece| whole.extend_from_slice(piece));
        let mut fields = copied(fields);
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len()));
        Self::of((status, fields, whole.into()), lifetime, now, counters)
    }

    /// The same body, with what a 304 says of it (RFC 9111, 3.2).
    pub(super) fn confirmed(
        &self,
        fields: HeaderMap,
        lifetime: Lifetime,
        now: Instant,
        counters: &Arc<Counters>,
    ) -> Self {
        Self::of((self.status, fields, self.body.clone()), lifetime, now, counters)
    }

    fn of(
        (status, mut fields, body): (StatusCode, HeaderMap, Bytes),
        lifetime: Lifetime,
        since: Instant,
        counters: &Arc<Counters>,
    ) -> Self {
        fields.remove(header::AGE); // told anew with each use
        let written: usize = fields
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        let weight = body.len() + written + OVERHEAD_BYTES;
        Self {
            status,
            fields,
            body,
            lifetime,
            since,
            weight,
            _held: Held::new(counters, weight),
        }
    }

    /// The fields that it has once a 304 with these confirms it; everything but what describes the body is replaced.
    pub(super) fn updated(&self, by: &HeaderMap) -> HeaderMap {
        let mut fields = self.fields.clone();
        let replaced = |name: &HeaderName| *name != header::SET_COOKIE && !conditional::OF_THE_BODY.contains(name);
        let fresh = copied(by);
        by.keys().filter(|name| replaced(name)).for_each(|name| {
            fields.remove(name);
        });
        for (name, value) in fresh.iter().filter(|(name, _)| replaced(name)) {
            fields.append(name.clone(), value.clone());
        }
        fields
    }

    pub(crate) fn good_for(&self, now: Instant) -> Use {
        let Lifetime {
            fresh,
            while_revalidate,
            ..
        } = self.lifetime;
        match self.stored_for(now) {
            age if age < fresh => Use::Fresh,
            age if age < fresh + while_revalidate => Use::WhileRevalidated,
            _ => Use::Stale,
        }
    }

    /// Good enough when the app fails.
    pub(crate) fn helps_on_error(&self, now: Instant) -> bool {
        let Lifetime {
            fresh,
            while_revalidate,
            if_error,
            ..
        } = self.lifetime;
        // The windows begin at the same moment (RFC 5861): the longer counts.
        self.stored_for(now) < fresh + while_revalidate.max(if_error)
    }

    /// Visitors with cookies may have it.
    pub(crate) fn is_for_all(&self) -> bool {
        self.lifetime.for_all
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// Asks whether it still holds, if the app named its version.
    pub(super) fn validators(&self, request: &mut HeaderMap) {
        for (asks, names) in [
            (header::IF_NONE_MATCH, header::ETAG),
            (header::IF_MODIFIED_SINCE, header::LAST_MODIFIED),
        ] {
            if let Some(version) = self.fields.get(names) {
                request.insert(asks, version.clone());
            }
        }
    }

    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    /// The answer to a request that selects it.
    pub(crate) fn answer(&self, request: &Request<Body>, now: Instant, says: Says) -> Response<Body> {
        let mut fields = self.fields.clone();
        let age = self.lifetime.age + self.stored_for(now);
        fields.insert(header::AGE, HeaderValue::from(age.as_secs()));
        says.put(&mut fields);
        let head = *request.method() == http::Method::HEAD;
        let needs = match self.status {
            StatusCode::OK => conditional::needs(request.headers(), &self.fields, self.body.len()),
            _ => Needs::All,
        };
        let (status, part) = match needs {
            Needs::All => (self.status, 0..self.body.len()),
            Needs::Nothing => {
                conditional::OF_THE_BODY.iter().for_each(|name| {
                    fields.remove(name);
                });
                (StatusCode::NOT_MODIFIED, 0..0)
            }
            // RFC 9110, 14.2: Range is for GET alone.
            Needs::Part(_) | Needs::Beyond if head => (self.status, 0..self.body.len()),
            Needs::Part(part) => {
                cut(&mut fields, Some(&part), self.body.len());
                (StatusCode::PARTIAL_CONTENT, part)
            }
            Needs::Beyond => {
                cut(&mut fields, None, self.body.len());
                (StatusCode::RANGE_NOT_SATISFIABLE, 0..0)
            }
        };
        let body = if head || part.is_empty() {
            body::empty()
        } else {
            Pieces(self.body.slice(part)).boxed_unsync()
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = fields;
        response
    }

    fn stored_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }
}

/// Fields whose values hold on to nothing but themselves.
fn copied(fields: &HeaderMap) -> HeaderMap {
    let each = |(name, value): (&HeaderName, &HeaderValue)| {
        // Names that are not in the table of known ones are slices as well. `from_bytes` copies.
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    };
    fields.iter().filter_map(each).collect()
}

/// Content-Range and Content-Length of a part; `None`: of none.
fn cut(fields: &mut HeaderMap, part: Option<&std::ops::Range<usize>>, length: usize) {
    let (range, bytes) = match part {
        Some(part) => (format!("bytes {}-{}/{length}", part.start, part.end - 1), part.len()),
        None => (format!("bytes */{length}"), 0),
    };
    if let Ok(range) = HeaderValue::try_from(range) {
        fields.insert(header::CONTENT_RANGE, range);
    }
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
}

/// A body in pieces, so that a visitor on a slow line is seen to take one after the other (patience.rs).
struct Pieces(Bytes);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let left = &mut self.get_mut().0;
        let next = left.split_to(left.len().min(limits::SHIELD_PIECE_BYTES));
        Poll::Ready((!next.is_empty()).then(|| Ok(Frame::data(next))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

#[cfg(test)]
#[path = "tests/stored.rs"]
mod tests;
