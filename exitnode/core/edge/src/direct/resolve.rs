//! Names of targets -> addresses: seldom, for a short time, few at once. Nothing here judges an address.

use std::{
    fmt::Debug,
    io,
    net::{IpAddr, ToSocketAddrs as _},
    pin::Pin,
    sync::Arc,
};

use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{Instant, timeout},
};

use crate::limits;

/// The answer to a look-up.
pub(crate) type Looking = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Asks for the addresses of a name.
pub(crate) trait Resolver: Debug + Send + Sync {
    /// A fresh answer; the caller bounds the time.
    fn look_up(&self, host: &str) -> Looking;
}

/// The system's resolver. It blocks a thread of its own, also after nobody waits any more: so few look-ups run at once.
#[derive(Debug)]
pub(crate) struct System(Arc<Semaphore>);

impl Default for System {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(limits::RESOLVING)))
    }
}

impl Resolver for System {
    fn look_up(&self, host: &str) -> Looking {
        let (places, host) = (self.0.clone(), host.to_owned());
        Box::pin(async move {
            let place = places.acquire_owned().await.map_err(io::Error::other)?;
            let answer = spawn_blocking(move || {
                let _place = place;
                let found = (host.as_str(), 0).to_socket_addrs()?;
                Ok(found.map(|found| found.ip()).collect())
            });
            answer.await.map_err(io::Error::other)?
        })
    }
}

/// What was last known of one name.
#[derive(Debug, Default)]
pub(crate) struct Known(tokio::sync::Mutex<Option<Answer>>);

#[derive(Debug)]
struct Answer {
    asked: Instant,
    /// When it was good.
    answered: Instant,
    addresses: Arc<[IpAddr]>,
}

impl Known {
    /// The addresses of `host`: those of an earlier request for [`limits::RESOLVED_FOR`], then asked again. While the
    /// resolver gives none, the last ones serve on. Requests that come meanwhile wait for the one answer. Cancel safe.
    pub(crate) async fn addresses(&self, host: &str, resolver: &dyn Resolver) -> io::Result<Arc<[IpAddr]>> {
        let mut known = self.0.lock().await;
        let now = Instant::now();
        if let Some(answer) = known.as_ref()
            && now.saturating_duration_since(answer.asked) < limits::RESOLVED_FOR
        {
            return Ok(answer.addresses.clone());
        }
        let found = match timeout(limits::RESOLVE_TIMEOUT, resolver.look_up(host)).await {
            Ok(Ok(found)) if found.is_empty() => Err(io::Error::other("it has no address")),
            Ok(found) => found,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        match (found, known.as_mut()) {
            (Ok(mut found), _) => {
                found.truncate(limits::RESOLVED_ADDRESSES);
                let addresses: Arc<[IpAddr]> = found.into();
                *known = Some(Answer {
                    asked: now,
                    answered: now,
                    addresses: addresses.clone(),
                });
                Ok(addresses)
            }
            (Err(_), Some(last)) if now.saturating_duration_since(last.answered) < limits::RESOLVED_AT_MOST => {
                last.asked = now;
                Ok(last.addresses.clone())
            }
            (Err(why), _) => Err(why),
        }
    }
}

#[cfg(test)]
pub(super) mod testing {
    use std::{collections::VecDeque, sync::Mutex};

    use super::*;

    /// Gives its answers one after the other, the last one for ever; `None` fails.
    #[derive(Debug)]
    pub(crate) struct Script(Mutex<VecDeque<Option<Vec<IpAddr>>>>, Mutex<usize>);

    impl Script {
        pub(crate) fn new(answers: &[Option<&[&str]>]) -> Arc<Self> {
            let parsed = |answer: &[&str]| answer.iter().map(|ip| ip.parse().unwrap()).collect();
            let answers = answers.iter().map(|answer| answer.map(parsed)).collect();
            Arc::new(Self(Mutex::new(answers), Mutex::default()))
        }

        pub(crate) fn asked(&self) -> usize {
            *self.1.lock().unwrap()
        }
    }

    impl Resolver for Script {
        fn look_up(&self, _: &str) -> Looking {
            *self.1.lock().unwrap() += 1;
            let mut answers = self.0.lock().unwrap();
            let next = match answers.len() {
                1 => answers[0].clone(),
                _ => answers.pop_front().unwrap(),
            };
            Box::pin(async { next.ok_or_else(|| io::Error::other("SERVFAIL")) })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::{testing::Script, *};

    async fn ask(known: &Known, script: &Script) -> Option<String> {
        let found = known.addresses("app.example", script).await.ok()?;
        Some(found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_serves_for_a_few_seconds_and_on_while_the_resolver_fails() {
        let script = Script::new(&[Some(&["192.0.2.1"]), Some(&["192.0.2.2"]), None]);
        let known = Known::default();
        assert_eq!(ask(&known, &script).await.unwrap(), "192.0.2.1");
        advance(Duration::from_millis(4900)).await;
        assert_eq!(ask(&known, &script).await.unwrap(), "192.0.2.1");
        assert_eq!(script.asked(), 1);
        advance(Duration::from_millis(200)).await;
        assert_eq!(ask(&known, &script).await.unwrap(), "192.0.2.2");
        advance(limits::RESOLVED_FOR).await;
        assert_eq!(ask(&known, &script).await.unwrap(), "192.0.2.2", "the resolver fails");
        assert_eq!(ask(&known, &script).await.unwrap(), "192.0.2.2");
        assert_eq!(script.asked(), 3, "a failure is not repeated at once either");
        advance(limits::RESOLVED_AT_MOST).await;
        assert_eq!(ask(&known, &script).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_answer_is_none_and_a_long_one_is_cut() {
        let known = Known::default();
        assert_eq!(ask(&known, &Script::new(&[Some(&[])])).await, None);
        let many = vec!["192.0.2.1"; 100];
        let found = known.addresses("x", &*Script::new(&[Some(&many)])).await.unwrap();
        assert_eq!(found.len(), limits::RESOLVED_ADDRESSES);
    }

    #[tokio::test]
    async fn the_system_knows_localhost() {
        let found = System::default().look_up("localhost").await.unwrap();
        assert!(found.iter().all(IpAddr::is_loopback) && !found.is_empty(), "{found:?}");
    }
}
