//! What the policies of a tunnel say to one request. Awaits nothing: where a password has to be verified first, the decision is a
//! question, and the request is decided again with its answer.
//!
//! Order: addresses that are kept out, addresses that are let in, then credentials, cheapest first.

use std::{net::IpAddr, sync::Arc, time::Duration};

use hawse_proto::codes;
use http::{HeaderMap, HeaderValue, header};
use tokio::time::Instant;

use super::{
    Access, InForce,
    basic::{self, Basic, Part, Password},
    identity::{Claims, Identity},
    jwt,
    policy::Policy,
    sessions,
    verified::Digest,
};
use crate::{fault::Fault, limits};

/// Numbers of the methods in digests.
const BASIC: u8 = 1;
const JWT: u8 = 2;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visitor<'a> {
    pub(crate) address: IpAddr,
    pub(crate) headers: &'a HeaderMap,
    /// Of the tunnel.
    pub(crate) hostname: &'a str,
    /// Unix seconds.
    pub(crate) wall_clock: u64,
    pub(crate) tunnel_uid: &'a str,
}

impl<'a> Visitor<'a> {
    pub(super) fn place(&self) -> sessions::Place<'a> {
        sessions::Place {
            tunnel_uid: self.tunnel_uid,
            hostname: self.hostname,
            now: i64::try_from(self.wall_clock).unwrap_or(i64::MAX),
        }
    }
}

/// What all policies of a tunnel say together.
#[derive(Debug)]
pub(crate) enum Decision {
    /// `None`: let in, and nobody knows who it is.
    LetIn(Option<Arc<Identity>>),
    Refused(Fault),
    /// Decide again once it is answered.
    Ask(Question),
}

/// A password that has to be verified.
#[derive(Debug)]
pub(crate) struct Question {
    users: Arc<Basic>,
    password: Password,
    digest: Digest,
}

/// What became of the questions of this request, but for those whose answer is remembered: that it is right.
#[derive(Debug, Default)]
pub(crate) struct Answers(Vec<(Digest, No)>);

#[derive(Debug, Clone, Copy)]
enum No {
    Wrong,
    /// Nothing from there is tried for so long.
    TooMany(Duration),
}

/// What a method says.
enum Proof {
    Absent,
    No(No),
    Proved(Arc<Identity>),
    Ask(Question),
}

impl Access {
    /// What these policies say; all of them have to let the visitor in. Who it is, the first one says that knows.
    pub(crate) fn decide(&self, uids: &[String], visitor: Visitor<'_>, answers: &Answers, now: Instant) -> Decision {
        let mut who = None;
        for uid in uids {
            let policy = match self.find(uid) {
                Some(InForce::Enforced(policy)) => policy,
                Some(InForce::Broken(why)) => return Decision::Refused(unavailable(&why)),
                None => return Decision::Refused(unavailable("Its access policy is not there.")),
            };
            match self.judge(&policy, visitor, answers, now) {
                Decision::LetIn(identity) => who = who.or(identity),
                other => return other,
            }
        }
        Decision::LetIn(who)
    }

    /// Verifies a password beside the data plane; the error: the request can't be decided now. Cancel safe.
    pub(crate) async fn answer(&self, question: Question, address: IpAddr, answers: &mut Answers) -> Result<(), Fault> {
        let Question {
            users,
            password,
            digest,
        } = question;
        let user = password.user.clone();
        let is_right = match self.passwords.join(digest) {
            Part::Leads(lead) => {
                if let Err(wait) = self.attempts.begin(address, Instant::now()) {
                    answers.0.push((digest, No::TooMany(wait)));
                    return Ok(());
                }
                let is_right = lead.verify(users, password).await;
                if is_right == Some(true) {
                    self.attempts.was_right(address);
                }
                is_right
            }
            Part::Follows(found) => basic::followed(found).await,
            Part::TurnedAway => None,
        };
        let Some(is_right) = is_right else {
            let fault = Fault::new(&codes::OVERLOADED, "Too many passwords wait to be verified.");
            return Err(fault.retry_after(limits::TUNNEL_QUEUE_RETRY));
        };
        if is_right {
            let (identity, now) = (Arc::new(Identity::new(user, Claims::new())), Instant::now());
            self.verified
                .put(digest, identity, now + limits::ACCESS_VERIFIED_FOR, now);
        } else {
            answers.0.push((digest, No::Wrong));
        }
        Ok(())
    }

    /// Removes what these policies take for a credential, so that no app sees it.
    pub(crate) fn strip(&self, uids: &[String], headers: &mut HeaderMap) {
        for uid in uids {
            if let Some(InForce::Enforced(policy)) = self.find(uid) {
                if let Some(keys) = &policy.api_keys {
                    headers.remove(&keys.header);
                }
                let is_ours = (policy.basic.is_some() && authorization(headers, "basic").is_some())
                    || jwt::presented(headers).is_some_and(|token| jwt::is_by(&policy.jwt, token));
                if is_ours {
                    headers.remove(header::AUTHORIZATION);
                }
            }
        }
    }

    fn judge(&self, policy: &Policy, visitor: Visitor<'_>, answers: &Answers, now: Instant) -> Decision {
        if policy.addresses.denies(visitor.address) {
            return forbidden("Your address is not let in.");
        }
        if policy.addresses.is_method() {
            match (policy.addresses.allows(visitor.address), policy.needs_all) {
                (true, false) => return Decision::LetIn(None),
                (false, true) => return forbidden("Your address is not let in."),
                _ => {}
            }
        }
        if !policy.has_credentials() {
            return match policy.needs_all && policy.rules.allow(None) {
                true => Decision::LetIn(None),
                false => forbidden("Your address is not let in."),
            };
        }
        self.judge_credentials(policy, visitor, answers, now)
    }

    fn judge_credentials(&self, policy: &Policy, visitor: Visitor<'_>, answers: &Answers, now: Instant) -> Decision {
        let (mut who, mut missing, mut wait) = (None, false, None);
        // From the one that says least of a visitor to the one that says most. A request has one Authorization.
        let methods = [
            Self::judge_api_key,
            Self::judge_password,
            Self::judge_token,
            Self::judge_session,
        ];
        for method in methods {
            match method(self, policy, visitor, answers, now) {
                None => {}
                Some(Proof::Proved(identity)) => who = Some(identity),
                Some(Proof::Ask(question)) => return Decision::Ask(question),
                Some(Proof::No(No::TooMany(after))) => (missing, wait) = (true, Some(after)),
                Some(Proof::Absent | Proof::No(No::Wrong)) => missing = true,
            }
            if who.is_some() && !policy.needs_all {
                break;
            }
        }
        match who {
            Some(identity) if !policy.needs_all || !missing => match policy.rules.allow(Some(&identity)) {
                true => Decision::LetIn(Some(identity)),
                false => forbidden("You are known, but no rule of this tunnel's access policy names you."),
            },
            _ => Decision::Refused(unauthenticated(policy, visitor.hostname, wait)),
        }
    }

    fn judge_api_key(&self, policy: &Policy, visitor: Visitor<'_>, _: &Answers, _: Instant) -> Option<Proof> {
        let keys = policy.api_keys.as_ref()?;
        let Some(key) = keys.presented(visitor.headers) else {
            return Some(Proof::Absent);
        };
        // Failures are not counted: keys are too long to be guessed, and nothing costs.
        Some(keys.find(key).map_or(Proof::No(No::Wrong), Proof::Proved))
    }

    fn judge_token(&self, policy: &Policy, visitor: Visitor<'_>, _: &Answers, now: Instant) -> Option<Proof> {
        if policy.jwt.is_empty() {
            return None;
        }
        let Some(token) = jwt::presented(visitor.headers) else {
            return Some(Proof::Absent);
        };
        let digest = self.verified.digest(policy.epoch, JWT, token.as_bytes());
        if let Some(identity) = self.verified.find(&digest, now) {
            return Some(Proof::Proved(identity));
        }
        let Some(found) = jwt::check(&policy.jwt, &policy.rules, token, visitor.wall_clock) else {
            return Some(Proof::No(No::Wrong));
        };
        let left = Duration::from_secs(found.expires_at.saturating_sub(visitor.wall_clock));
        let until = now + left.min(limits::ACCESS_VERIFIED_FOR);
        self.verified.put(digest, found.identity.clone(), until, now);
        Some(Proof::Proved(found.identity))
    }

    fn judge_session(&self, policy: &Policy, visitor: Visitor<'_>, _: &Answers, _: Instant) -> Option<Proof> {
        if !policy.signs_in {
            return None;
        }
        let session = self.sessions.read(visitor.headers, visitor.place());
        let session = session.filter(|session| session.policy_uid == policy.uid);
        Some(session.map_or(Proof::Absent, |session| {
            Proof::Proved(Arc::new(sessions::identity(session)))
        }))
    }

    fn judge_password(&self, policy: &Policy, visitor: Visitor<'_>, answers: &Answers, now: Instant) -> Option<Proof> {
        let users = policy.basic.as_ref()?;
        let Some(password) = basic::presented(visitor.headers) else {
            return Some(Proof::Absent);
        };
        let digest = self.verified.digest(policy.epoch, BASIC, &password.credential);
        if let Some(identity) = self.verified.find(&digest, now) {
            return Some(Proof::Proved(identity));
        }
        if let Some((_, no)) = answers.0.iter().find(|(of, _)| *of == digest) {
            return Some(Proof::No(*no));
        }
        Some(Proof::Ask(Question {
            users: users.clone(),
            password,
            digest,
        }))
    }
}

/// The credential after a scheme of Authorization; fields that stand several times are none.
pub(super) fn authorization<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
    let (named, credential) = value.split_once(' ')?;
    named.eq_ignore_ascii_case(scheme).then(|| credential.trim())
}

fn unavailable(why: &str) -> Fault {
    Fault::new(&codes::ACCESS_UNAVAILABLE, why.to_owned())
}

fn forbidden(why: &'static str) -> Decision {
    Decision::Refused(Fault::new(&codes::FORBIDDEN, why))
}

/// With a challenge for each method that a client may use (RFC 9110, 11.6.1).
fn unauthenticated(policy: &Policy, hostname: &str, wait: Option<Duration>) -> Fault {
    let mut challenges = Vec::new();
    if policy.basic.is_some() {
        challenges.push(format!("Basic realm=\"{hostname}\", charset=\"UTF-8\""));
    }
    if !policy.jwt.is_empty() {
        challenges.push(format!("Bearer realm=\"{hostname}\""));
    }
    if let Some(keys) = &policy.api_keys {
        challenges.push(format!("ApiKey realm=\"{hostname}\", header=\"{}\"", keys.header));
    }
    let challenges = challenges
        .into_iter()
        .filter_map(|text| HeaderValue::try_from(text).ok());
    let fault = match wait {
        Some(wait) => {
            let detail = "Too many wrong credentials came from your address.";
            Fault::new(&codes::UNAUTHENTICATED, detail).retry_after(wait)
        }
        None => Fault::new(&codes::UNAUTHENTICATED, ""),
    };
    fault.challenge(challenges.collect())
}
