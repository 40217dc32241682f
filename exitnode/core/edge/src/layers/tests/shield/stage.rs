//! One tunnel with a shield above an app made of a closure, and visitors who ask it.

use std::{
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hawse_proto::ir;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use tokio::{sync::mpsc, time::timeout};
use tower::{Layer, ServiceExt};

use crate::{
    body::{self, Body, BoxError},
    fault::Fault,
    layers::{
        Boxed, Outcome,
        shield::ShieldLayer,
        testing::{Fed, below, routed, tunnel_ir},
    },
    route::{Routes, Tunnel},
    tasks::Tasks,
    visit::Routed,
};

/// What the app says, by the number of the request.
pub(super) type App = dyn Fn(usize, &Request<Body>) -> Boxed<Outcome> + Send + Sync;

/// One tunnel with a shield above an app.
pub(super) struct Stage {
    pub(super) routes: Routes,
    app: Arc<App>,
    /// Heads that the app was asked with.
    pub(super) asked: Arc<Mutex<Vec<HeaderMap>>>,
    tasks: Tasks,
}

pub(super) fn stage<F>(shield: ir::Shield, app: impl Fn(usize, &Request<Body>) -> F + Send + Sync + 'static) -> Stage
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let stage = Stage {
        routes: Routes::default(),
        app: Arc::new(move |number, request| Box::pin(app(number, request))),
        asked: Arc::default(),
        tasks: Tasks::default(),
    };
    stage.apply(|tunnel| tunnel.shield = Some(shield.clone()));
    stage
}

impl Stage {
    pub(super) fn apply(&self, change: impl FnOnce(&mut ir::Tunnel)) {
        let mut tunnel = tunnel_ir();
        change(&mut tunnel);
        self.routes.apply(tunnel).unwrap();
    }

    pub(super) fn tunnel(&self) -> Arc<Tunnel> {
        self.routes.by_uid("u1").unwrap()
    }

    pub(super) fn routed(&self, request: Request<Body>) -> Routed {
        routed(&self.tunnel(), request)
    }

    pub(super) async fn serve(&self, routed: Routed) -> Outcome {
        let (app, asked) = (self.app.clone(), self.asked.clone());
        let inner = below(move |routed: Routed| {
            let number = {
                let mut asked = asked.lock().unwrap();
                asked.push(routed.request.headers().clone());
                asked.len()
            };
            let answer = app(number, &routed.request);
            async move {
                let outcome = answer.await;
                drop(routed); // its ticket holds the place until then
                outcome
            }
        });
        let layer = ShieldLayer {
            tasks: self.tasks.clone(),
        };
        layer.layer(inner).oneshot(routed).await
    }

    pub(super) async fn ask(&self, request: http::request::Builder) -> Result<Got, Fault> {
        let routed = self.routed(request.body(body::empty()).unwrap());
        Got::of(self.serve(routed).await?).await
    }

    pub(super) async fn get(&self) -> Got {
        self.ask(Request::get("/")).await.unwrap()
    }

    pub(super) fn requests(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    pub(super) fn counted(&self) -> [u64; 5] {
        let counted = self.tunnel().shield.as_ref().unwrap().read();
        let of = counted;
        [of.hits, of.misses, of.collapsed, of.stale, of.bypassed]
    }
}

/// An answer as a visitor has it.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) status: u16,
    pub(super) fields: HeaderMap,
    pub(super) body: Result<Bytes, &'static str>,
}

impl Got {
    pub(super) async fn of(response: Response<Body>) -> Result<Self, Fault> {
        let (head, body) = response.into_parts();
        Ok(Self {
            status: head.status.as_u16(),
            fields: head.headers,
            body: body.collect().await.map(|all| all.to_bytes()).map_err(|_| "cut off"),
        })
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(self.body.as_ref().unwrap()).unwrap()
    }

    pub(super) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn says(&self) -> &str {
        self.field("cache-status")
    }
}

pub(super) fn on() -> ir::Shield {
    ir::Shield {
        collapse: true,
        ..ir::Shield::default()
    }
}

pub(super) fn ok(text: impl Into<Bytes>, fields: &[(&'static str, &'static str)]) -> Response<Body> {
    let mut response = Response::new(body::full(text));
    for (name, value) in fields {
        response.headers_mut().append(*name, value.parse().unwrap());
    }
    response
}

/// Answers all alike, with the number of the request as text.
pub(super) fn numbered(shield: ir::Shield, fields: &'static [(&'static str, &'static str)]) -> Stage {
    stage(
        shield,
        move |number, _| async move { Ok(ok(number.to_string(), fields)) },
    )
}

/// Waits for all of them, polling each in turn.
pub(super) async fn futures<F: Future>(all: Vec<F>) -> Vec<F::Output> {
    let mut running: Vec<_> = all.into_iter().map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|cx| {
        for (future, output) in running.iter_mut().filter(|(_, output)| output.is_none()) {
            if let Poll::Ready(got) = future.as_mut().poll(cx) {
                *output = Some(got);
            }
        }
        let done = running.iter().all(|(_, output)| output.is_some());
        if done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}

/// A body of one piece that breaks off then.
pub(super) struct Breaks(pub(super) bool);

impl http_body::Body for Breaks {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        let begins = !std::mem::replace(&mut self.0, true);
        Poll::Ready(Some(if begins {
            Ok(http_body::Frame::data(Bytes::from_static(b"part")))
        } else {
            Err("broken".into())
        }))
    }
}

/// An app whose answer's body comes through the channel.
pub(super) fn fed(shield: ir::Shield, fields: &'static [(&'static str, &'static str)]) -> (Stage, mpsc::Sender<Bytes>) {
    let (send, receive) = mpsc::channel(1);
    let receive = Mutex::new(Some(receive));
    let stage = stage(shield, move |_, _| {
        let body = Fed(receive.lock().unwrap().take().unwrap()).boxed_unsync();
        async move { Ok(ok("", fields).map(|_| body)) }
    });
    (stage, send)
}

pub(super) async fn reader(stage: &Stage) -> Body {
    let routed = stage.routed(Request::get("/").body(body::empty()).unwrap());
    stage.serve(routed).await.unwrap().into_body()
}

pub(super) async fn piece(body: &mut Body) -> Option<Result<Bytes, BoxError>> {
    let frame = timeout(Duration::from_secs(60), body.frame()).await.unwrap()?;
    Some(frame.map(|frame| frame.into_data().unwrap()))
}
