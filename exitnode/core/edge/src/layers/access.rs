//! Lets in whom the tunnel's access policies let in: 401 (HAWSE-1018), 403 (HAWSE-1019), or 503 (HAWSE-1020) if they cannot be
//! enforced.
//!
//! What they check is in access/. Here: the credential is taken off the request, and who it is goes down the stack. A tunnel without
//! a policy costs one branch; a password that has to be verified makes the request wait here, and it takes no place at the app.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::Response;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt};

use super::{Outcome, Step};
use crate::{
    access::{Access as Policies, Decision, Identity, Question, decision::Answers},
    body::Body,
    fault::Fault,
    visit::Routed,
};

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct AccessLayer {
    pub(crate) access: Arc<Policies>,
}

#[derive(Debug, Clone)]
pub(crate) struct Access<S> {
    inner: S,
    access: Arc<Policies>,
}

impl<S> Layer<S> for AccessLayer {
    type Service = Access<S>;

    fn layer(&self, inner: S) -> Access<S> {
        Access {
            inner,
            access: self.access.clone(),
        }
    }
}

impl<S> Service<Routed> for Access<S>
where
    S: Service<Routed, Response = Response<Body>, Error = Fault> + Clone + Send + 'static,
    S::Future: Future<Output = Outcome> + Send,
{
    type Response = Response<Body>;
    type Error = Fault;
    type Future = Step<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, routed: Routed) -> Self::Future {
        if routed.tunnel.access.is_empty() {
            return Step::next(self.inner.call(routed));
        }
        match decide(&self.access, &routed, &Answers::default()) {
            Decision::LetIn(who) => Step::next(self.inner.call(let_in(&self.access, routed, who))),
            Decision::Refused(fault) => Step::refused(fault),
            Decision::Ask(question) => {
                let (inner, access) = (self.inner.clone(), self.access.clone());
                Step::later(async move {
                    let routed = answered(&access, routed, question).await?;
                    inner.oneshot(routed).await
                })
            }
        }
    }
}

fn decide(access: &Policies, routed: &Routed, answers: &Answers) -> Decision {
    access.decide(&routed.tunnel.access, routed.visitor(), answers, Instant::now())
}

/// Decides again after each answer; a tunnel has few policies, and each asks once. Cancel safe.
async fn answered(access: &Policies, routed: Routed, first: Question) -> Result<Routed, Fault> {
    let (mut question, mut answers) = (first, Answers::default());
    let address = routed.connection.visitor(routed.request.headers());
    for _ in 0..routed.tunnel.access.len() {
        access.answer(question, address, &mut answers).await?;
        question = match decide(access, &routed, &answers) {
            Decision::LetIn(who) => return Ok(let_in(access, routed, who)),
            Decision::Refused(fault) => return Err(fault),
            Decision::Ask(next) => next,
        };
    }
    // A policy was edited meanwhile, or what was verified is forgotten: the visitor asks again.
    Err(Fault::new(
        &hawse_proto::codes::ACCESS_UNAVAILABLE,
        "The access policy has just changed.",
    ))
}

fn let_in(access: &Policies, mut routed: Routed, who: Option<Arc<Identity>>) -> Routed {
    access.strip(&routed.tunnel.access, routed.request.headers_mut());
    routed.identity = who;
    routed
}
