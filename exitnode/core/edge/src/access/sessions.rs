//! Sessions of visitors who signed in: the cookie is verified here with each request, without a call. Pure but for its tables.
//!
//! `v1.` base64url(core.Session) `.` base64url(HMAC-SHA256 over what stands before the second dot), made by the identity service
//! (exitnode/hawse_identity/sessions.py). The key belongs to one holder of one host name: Material `session/<tunnel uid>`.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hawse_proto::core;
use http::HeaderMap;
use prost::Message as _;

use super::{cookies, identity::Identity};
use crate::limits;

/// Id of the key of a tunnel's sessions, before its uid.
pub(super) const PREFIX: &str = "session/";
/// Half of the material signs; the other half is the identity service's.
const MATERIAL_BYTES: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// By the tunnel's uid.
    keys: papaya::HashMap<String, hmac::Key>,
    /// Marks of sign-ins that are over: those until then, in Unix seconds.
    ended: papaya::HashMap<String, i64>,
}

/// Where a session has to hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) tunnel_uid: &'a str,
    pub(super) hostname: &'a str,
    /// Unix seconds.
    pub(super) now: i64,
}

impl Sessions {
    pub(super) fn put_key(&self, tunnel_uid: &str, material: &[u8]) -> Result<(), String> {
        if material.len() != MATERIAL_BYTES {
            self.remove_key(tunnel_uid);
            return Err(format!("{PREFIX}{tunnel_uid} is not a key of sessions"));
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, &material[..MATERIAL_BYTES / 2]);
        self.keys.pin().insert(tunnel_uid.to_owned(), key);
        Ok(())
    }

    pub(super) fn remove_key(&self, tunnel_uid: &str) {
        self.keys.pin().remove(tunnel_uid);
    }

    /// These sign-ins are over. Nothing that is over begins again; past the bound the oldest are forgotten.
    pub(super) fn end(&self, ended: &BTreeMap<String, i64>) {
        let known = self.ended.pin();
        for (mark, at) in ended {
            let latest = known.get(mark).map_or(*at, |known| (*known).max(*at));
            known.insert(mark.clone(), latest);
        }
        let excess = known.len().saturating_sub(limits::ENDED_SIGN_INS);
        if excess > 0 {
            let mut oldest: Vec<(i64, String)> = known.iter().map(|(mark, at)| (*at, mark.clone())).collect();
            oldest.sort_unstable();
            for (_, mark) in oldest.iter().take(excess) {
                known.remove(mark);
            }
        }
    }

    /// The session that a request brings, if it holds here and now.
    pub(super) fn read(&self, headers: &HeaderMap, place: Place<'_>) -> Option<core::Session> {
        let session = self.verified(cookies::find(headers, cookies::SESSION)?, place.tunnel_uid)?;
        let holds = session.hostname == place.hostname && place.now < session.expires_at && !self.is_over(&session);
        holds.then_some(session)
    }

    fn verified(&self, cookie: &str, tunnel_uid: &str) -> Option<core::Session> {
        let (body, signature) = cookie.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let keys = self.keys.pin();
        hmac::verify(keys.get(tunnel_uid)?, body.as_bytes(), &signature).ok()?;
        let session = URL_SAFE_NO_PAD.decode(body.strip_prefix("v1.")?).ok()?;
        core::Session::decode(session.as_slice()).ok()
    }

    fn is_over(&self, session: &core::Session) -> bool {
        let ended = self.ended.pin();
        [&session.id, &session.subject_mark, &session.provider_mark]
            .into_iter()
            .any(|mark| ended.get(mark).is_some_and(|at| session.signed_in_at <= *at))
    }
}

/// Who it is, for rules and for the app.
pub(super) fn identity(session: core::Session) -> Identity {
    let mut claims: BTreeMap<String, Vec<String>> = session
        .claims
        .into_iter()
        .map(|(name, claim)| (name, claim.values))
        .collect();
    if !session.email.is_empty() {
        claims.insert("email".into(), vec![session.email]);
    }
    claims.insert("groups".into(), session.groups);
    Identity::new(session.subject, claims)
}

#[cfg(test)]
pub(super) mod tests {
    use http::header;

    use super::*;

    pub(crate) const MATERIAL: [u8; MATERIAL_BYTES] = [7; MATERIAL_BYTES];
    const NOW: i64 = 1_000_000;

    pub(crate) fn session() -> core::Session {
        core::Session {
            id: "s1".into(),
            subject: "ada".into(),
            email: "ada@example.com".into(),
            groups: vec!["staff".into()],
            issued_at: NOW,
            expires_at: NOW + 300,
            policy_uid: "p1".into(),
            hostname: "shop.t.example".into(),
            signed_in_at: NOW - 1000,
            subject_mark: "ada's".into(),
            provider_mark: "sid".into(),
            ..core::Session::default()
        }
    }

    pub(crate) fn cookie(session: &core::Session, material: &[u8]) -> String {
        let body = format!("v1.{}", URL_SAFE_NO_PAD.encode(session.encode_to_vec()));
        let key = hmac::Key::new(hmac::HMAC_SHA256, &material[..32]);
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, body.as_bytes()));
        format!("{}={body}.{signature}", cookies::SESSION)
    }

    fn read(sessions: &Sessions, cookie: &str, change: impl FnOnce(&mut Place<'_>)) -> Option<core::Session> {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, cookie.parse().unwrap());
        let mut place = Place {
            tunnel_uid: "u1",
            hostname: "shop.t.example",
            now: NOW,
        };
        change(&mut place);
        sessions.read(&headers, place)
    }

    fn sessions() -> Sessions {
        let sessions = Sessions::default();
        sessions.put_key("u1", &MATERIAL).unwrap();
        sessions.put_key("u2", &[8; MATERIAL_BYTES]).unwrap();
        sessions
    }

    #[test]
    fn a_session_holds_on_its_host_until_its_end() {
        let (sessions, good) = (sessions(), cookie(&session(), &MATERIAL));
        assert_eq!(read(&sessions, &good, |_| {}), Some(session()));
        assert!(read(&sessions, &good, |place| place.now = NOW + 299).is_some());
        assert!(read(&sessions, &good, |place| place.now = NOW + 300).is_none());
        assert!(read(&sessions, &good, |place| place.hostname = "other.t.example").is_none());
        assert!(
            read(&sessions, &good, |place| place.tunnel_uid = "u2").is_none(),
            "another key"
        );
        assert!(
            read(&sessions, &good, |place| place.tunnel_uid = "u3").is_none(),
            "no key"
        );
        let other_half = cookie(&session(), &MATERIAL[32..].iter().map(|_| 9).collect::<Vec<u8>>());
        assert!(read(&sessions, &other_half, |_| {}).is_none());
    }

    #[test]
    fn the_identity_service_signs_this_form() {
        // tests/unit/identity/test_sessions.py has the same bytes: change both or none.
        let (sessions, mut material) = (Sessions::default(), [b'e'; MATERIAL_BYTES]);
        material[..32].fill(b's');
        sessions.put_key("u1", &material).unwrap();
        let cookie = "v1.CgJzMRIDYWRhOAU.DzEL9j1zBE5mPIsmOTiZZ6BlvIhDlv_ZIv4kGbLyyX4";
        let session = sessions.verified(cookie, "u1").unwrap();
        assert_eq!(
            (session.id.as_str(), session.subject.as_str(), session.expires_at),
            ("s1", "ada", 5)
        );
    }

    #[test]
    fn what_was_changed_or_is_no_cookie_of_ours_is_none() {
        let (sessions, good) = (sessions(), cookie(&session(), &MATERIAL));
        let value = good.split_once('=').unwrap().1;
        for at in 0..value.len() {
            let mut forged = value.as_bytes().to_vec();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = format!("__Host-hawse={}", String::from_utf8(forged).unwrap());
            assert!(read(&sessions, &forged, |_| {}).is_none(), "{at}");
        }
        for text in ["", ".", "v1.", "v1..", "v2.a.b", "....", "v1.%%.%%"] {
            assert!(read(&sessions, &format!("__Host-hawse={text}"), |_| {}).is_none());
        }
    }

    #[test]
    fn what_is_over_stays_over_and_later_sign_ins_do_not() {
        for mark in ["s1", "ada's", "sid"] {
            let sessions = sessions();
            sessions.end(&BTreeMap::from([(mark.to_owned(), NOW - 1000)]));
            sessions.end(&BTreeMap::from([(mark.to_owned(), NOW - 9000)]));
            assert!(
                read(&sessions, &cookie(&session(), &MATERIAL), |_| {}).is_none(),
                "{mark}"
            );
            let later = core::Session {
                signed_in_at: NOW - 999,
                ..session()
            };
            assert!(read(&sessions, &cookie(&later, &MATERIAL), |_| {}).is_some(), "{mark}");
        }
        // No mark is not a mark.
        let (sessions, unmarked) = (
            sessions(),
            core::Session {
                provider_mark: String::new(),
                ..session()
            },
        );
        sessions.end(&BTreeMap::from([("x".to_owned(), NOW)]));
        assert!(read(&sessions, &cookie(&unmarked, &MATERIAL), |_| {}).is_some());
    }

    #[test]
    fn the_list_of_what_is_over_is_bounded_and_forgets_the_oldest() {
        let (sessions, many) = (sessions(), limits::ENDED_SIGN_INS + 5);
        let ended = (0..many).map(|number| (format!("m{number}"), NOW + number as i64));
        sessions.end(&ended.collect());
        assert_eq!(sessions.ended.len(), limits::ENDED_SIGN_INS);
        assert!(!sessions.ended.pin().contains_key("m0"));
        assert!(sessions.ended.pin().contains_key(&format!("m{}", many - 1)));
    }

    #[test]
    fn a_key_of_another_length_closes() {
        let sessions = sessions();
        assert!(sessions.put_key("u1", &[1; 32]).is_err());
        assert!(read(&sessions, &cookie(&session(), &MATERIAL), |_| {}).is_none());
    }

    #[test]
    fn the_claims_are_those_of_the_session() {
        let mut said = session();
        said.claims.insert(
            "team".into(),
            core::ClaimValues {
                values: vec!["blue".into()],
            },
        );
        let identity = identity(said);
        assert_eq!(identity.claim("sub"), ["ada"]);
        assert_eq!(identity.claim("email"), ["ada@example.com"]);
        assert_eq!(identity.claim("groups"), ["staff"]);
        assert_eq!(identity.claim("team"), ["blue"]);
    }
}
