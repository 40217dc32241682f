//! Lets requests of one tunnel share answers: from memory, or by one fetch for all who ask at the same time. What may be shared
//! is decided in shield/; here is the way of a request.
//!
//! Sits below access: who may come in is known before anything is shared, and what is for somebody's identity passes by. Above
//! admit: what is answered from memory takes no place at the app, and a fetch takes one, not its readers.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use hawse_proto::codes;
use http::{Method, Request, Response};
use tokio::{sync::oneshot, time::Instant};
use tower::{Layer, Service, ServiceExt};

use super::{Outcome, Step};
use crate::{
    body::{self, Body},
    fault::Fault,
    shield::{Asks, Became, Fetch, Flight, Head, Key, Landing, Reader, Says, Shield, Spot, Use},
    tasks::Tasks,
    visit::{Routed, Ticket},
};

/// How often a request waits for another's fetch; the next failure is its own.
const WAITS: usize = 2;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct ShieldLayer {
    /// Fetches run among these.
    pub(crate) tasks: Tasks,
}

#[derive(Debug, Clone)]
pub(crate) struct Shielded<S> {
    inner: S,
    tasks: Tasks,
}

impl<S> Layer<S> for ShieldLayer {
    type Service = Shielded<S>;

    fn layer(&self, inner: S) -> Shielded<S> {
        Shielded {
            inner,
            tasks: self.tasks.clone(),
        }
    }
}

impl<S> Service<Routed> for Shielded<S>
where
    S: Service<Routed, Response = Response<Body>, Error = Fault> + Clone + Send + 'static,
    S::Future: Future<Output = Outcome> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Fault;
    type Future = Step<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, routed: Routed) -> Self::Future {
        let Some(shield) = routed.tunnel.shield.clone() else {
            return Step::next(self.inner.call(routed));
        };
        let this = self.clone();
        let asks = match routed.identity {
            Some(_) => Asks::Own,
            None => shield.asks(&routed.request),
        };
        let Asks::Shared { guarded, stored_only } = asks else {
            return Step::later(this.pass(routed, shield));
        };
        let now = Instant::now();
        let spot = shield.spot(&routed.authority.text, &routed.request, guarded);
        if let Some(stored) = &spot.stored {
            match stored.good_for(now) {
                Use::Fresh => {
                    shield.count(Became::Hit);
                    return Step::answered(stored.answer(&routed.request, now, Says::Hit));
                }
                Use::WhileRevalidated => {
                    shield.count(Became::Stale);
                    let answer = stored.answer(&routed.request, now, Says::HitStale);
                    this.refresh(&shield, &routed, (spot, guarded));
                    return Step::answered(answer);
                }
                Use::Stale => {}
            }
        }
        if stored_only || shield.is_unshared(&Shield::flight_key(&spot, guarded), now) {
            return Step::later(this.pass(routed, shield));
        }
        Step::later(this.share(routed, shield, (spot, guarded)))
    }
}

impl<S> Shielded<S>
where
    S: Service<Routed, Response = Response<Body>, Error = Fault> + Clone + Send + 'static,
    S::Future: Future<Output = Outcome> + Send + 'static,
{
    /// The request goes to the app for itself.
    async fn pass(self, routed: Routed, shield: Arc<Shield>) -> Outcome {
        shield.count(Became::Bypassed);
        let safe = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(routed.request.method());
        let (target, says) = match safe {
            true => (None, Says::Bypass),
            false => {
                let target = (routed.authority.text.clone(), routed.request.uri().clone());
                (Some(target), Says::Method)
            }
        };
        let mut response = self.inner.oneshot(routed).await?;
        if let Some((authority, uri)) = target
            && !(response.status().is_client_error() || response.status().is_server_error())
        {
            shield.invalidate(&authority, &uri); // RFC 9111, 4.4
        }
        says.put(response.headers_mut());
        Ok(response)
    }

    /// The request waits for a fetch of its own or another's.
    async fn share(self, routed: Routed, shield: Arc<Shield>, (mut spot, guarded): (Spot, bool)) -> Outcome {
        for waits in 1.. {
            let key = Shield::flight_key(&spot, guarded);
            let (flight, begins) = shield.board(&key);
            let Some(mut reader) = flight.read() else { break };
            let direct = begins.then(|| self.take_off(&shield, &routed, (flight, key), (spot, guarded)));
            let became = if begins { Became::Miss } else { Became::Collapsed };
            match reader.landing().await {
                Landing::Streams(head) if begins || is_for(&head, &shield, &routed, guarded) => {
                    shield.count(became);
                    let says = if begins { Says::Miss } else { Says::Collapsed };
                    return Ok(streamed(&routed.request, &head, reader, says));
                }
                // One of another variant: the right one has a key of its own now.
                Landing::Streams(_) if waits < WAITS => {}
                Landing::Stored(stored, says) => {
                    shield.count(if says == Says::StaleOnError {
                        Became::Stale
                    } else {
                        became
                    });
                    return Ok(stored.answer(&routed.request, Instant::now(), says));
                }
                Landing::Failed(fault) if waits >= WAITS || !is_worth_repeating(&fault) => {
                    shield.count(became);
                    return Err(fault);
                }
                Landing::Failed(_) => {}
                // The fetch gives the answer to the one for whom it began, if it has one.
                Landing::Unshared => match direct {
                    Some(direct) => match direct.await {
                        Ok(mut response) => {
                            shield.count(Became::Bypassed);
                            Says::Bypass.put(response.headers_mut());
                            return Ok(response);
                        }
                        Err(_) => break,
                    },
                    None => break,
                },
                Landing::Streams(_) => break,
            }
            spot = shield.spot(&routed.authority.text, &routed.request, guarded);
        }
        self.pass(routed, shield).await
    }

    /// Asks again for what is given out stale meanwhile, unless somebody does already.
    fn refresh(self, shield: &Arc<Shield>, routed: &Routed, (spot, guarded): (Spot, bool)) {
        let key = Shield::flight_key(&spot, guarded);
        let (flight, begins) = shield.board(&key);
        if begins {
            self.fly((shield, routed), (flight, key), (spot, guarded), None);
        }
    }

    /// Begins a fetch; gives what the answer comes by if it is for this visitor alone.
    fn take_off(
        &self,
        shield: &Arc<Shield>,
        routed: &Routed,
        flight: (Arc<Flight>, Key),
        spot: (Spot, bool),
    ) -> oneshot::Receiver<Response<Body>> {
        let (sender, receiver) = oneshot::channel();
        self.clone().fly((shield, routed), flight, spot, Some(sender));
        receiver
    }

    fn fly(
        self,
        (shield, routed): (&Arc<Shield>, &Routed),
        flight: (Arc<Flight>, Key),
        spot: (Spot, bool),
        direct: Option<oneshot::Sender<Response<Body>>>,
    ) {
        let ticket = Ticket::of_fetch(routed.tunnel.clone());
        let asked = routed.request.headers().clone();
        let mut request = Request::new(body::empty());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = routed.request.uri().clone();
        *request.version_mut() = routed.request.version();
        *request.headers_mut() = asked.clone();
        let fetch = Fetch::new((shield, ticket.clone()), flight, spot, asked, direct);
        fetch.conditions(request.headers_mut());
        let answer = Box::pin(self.inner.oneshot(Routed {
            connection: routed.connection.clone(),
            request_id: routed.request_id.clone(),
            authority: routed.authority.clone(),
            tunnel: routed.tunnel.clone(),
            identity: None,
            ticket,
            request,
        }));
        self.tasks.spawn(fetch.run(answer));
    }
}

/// It is what this request asks for, too.
fn is_for(head: &Head, shield: &Shield, routed: &Routed, guarded: bool) -> bool {
    head.of.as_ref().is_none_or(|of| {
        let spot = shield.spot(&routed.authority.text, &routed.request, guarded);
        Shield::flight_key(&spot, guarded) == *of
    })
}

/// Another request may fare better. What took its time has taken everyone's, and without an agent or a place none will.
fn is_worth_repeating(fault: &Fault) -> bool {
    let lost = [
        &codes::AGENT_LOST,
        &codes::APP_CLOSED,
        &codes::APP_REFUSED,
        &codes::APP_INVALID,
    ];
    lost.iter().any(|code| code.number == fault.code.number)
}

fn streamed(request: &Request<Body>, head: &Head, reader: Reader, says: Says) -> Response<Body> {
    let mut response = head.answer(request, reader);
    says.put(response.headers_mut());
    response
}

#[cfg(test)]
#[path = "tests/shield/mod.rs"]
mod tests;
