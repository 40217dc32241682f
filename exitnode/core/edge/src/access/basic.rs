//! Users and passwords: htpasswd lines with bcrypt hashes (`htpasswd -B`).
//!
//! bcrypt is slow on purpose, 50 ms and more: it runs on threads beside the data plane's, few at a time, and few wait. An unknown
//! user costs as much as a wrong password.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::verified::Digest;
use crate::limits;

/// See the module.
#[derive(Debug)]
pub(super) struct Basic {
    users: HashMap<String, Hash>,
    /// Verified in place of an unknown user's.
    nobody: Hash,
}

#[derive(Clone)]
struct Hash(String);

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hash")
    }
}

/// What a request brings.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Password {
    pub(super) user: String,
    /// `user:password`, as it came.
    pub(super) credential: Vec<u8>,
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}

impl Password {
    fn password(&self) -> &[u8] {
        self.credential.get(self.user.len() + 1..).unwrap_or_default()
    }
}

impl Basic {
    /// Errors name the line, never its content.
    pub(super) fn parse(material: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(material).map_err(|_| "the users are not text")?;
        let mut users = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (user, hash) = parse_line(line).map_err(|why| format!("line {} of the users {why}", number + 1))?;
            if users.insert(user.to_owned(), Hash(hash.to_owned())).is_some() {
                return Err(format!(
                    "line {} of the users names one for the second time",
                    number + 1
                ));
            }
        }
        if users.len() > limits::ACCESS_ENTRIES {
            return Err(format!("there are {} users", users.len()));
        }
        let nobody = users.values().next().cloned().ok_or("there are no users")?;
        Ok(Self { users, nobody })
    }

    /// Takes tens of milliseconds.
    fn is_right(&self, password: &Password) -> bool {
        let known = self.users.get(&password.user);
        let Hash(hash) = known.unwrap_or(&self.nobody);
        bcrypt::verify(password.password(), hash).unwrap_or(false) && known.is_some()
    }
}

fn parse_line(line: &str) -> Result<(&str, &str), &'static str> {
    let (user, hash) = line.split_once(':').ok_or("is not \"user:hash\"")?;
    if user.is_empty() {
        return Err("has no user");
    }
    let cost = ["$2a$", "$2b$", "$2y$"]
        .iter()
        .find_map(|version| hash.strip_prefix(version)?.split('$').next()?.parse::<u32>().ok())
        .ok_or("has no bcrypt hash: write it with htpasswd -B")?;
    if !(limits::BCRYPT_MIN_COST..=limits::BCRYPT_MAX_COST).contains(&cost) {
        return Err("has a bcrypt cost outside of 4 to 14");
    }
    hash.parse::<bcrypt::HashParts>()
        .map_err(|_| "has a hash that is not readable")?;
    Ok((user, hash))
}

/// `Authorization: Basic`; several are none. RFC 7617.
pub(super) fn presented(headers: &HeaderMap) -> Option<Password> {
    let encoded = super::decision::authorization(headers, "basic")?;
    let credential = STANDARD.decode(encoded).ok()?;
    let user = credential.split(|byte| *byte == b':').next()?;
    if user.len() == credential.len() {
        return None;
    }
    Some(Password {
        user: std::str::from_utf8(user).ok()?.to_owned(),
        credential,
    })
}

/// Where passwords are verified: the same one at the same time once, for all who bring it.
#[derive(Debug)]
pub(super) struct Passwords {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    flights: Arc<Mutex<HashMap<Digest, Found>>>,
}

/// `None` until it is known; closed without a value: it was given up.
type Found = watch::Receiver<Option<bool>>;

/// One's part in verifying a password.
pub(super) enum Part {
    Leads(Lead),
    Follows(Found),
    /// Too many others wait.
    TurnedAway,
}

/// Dropped before there was an answer, the next who asks leads.
pub(super) struct Lead {
    digest: Digest,
    sender: watch::Sender<Option<bool>>,
    flights: Arc<Mutex<HashMap<Digest, Found>>>,
    running: Arc<Semaphore>,
    _waits: OwnedSemaphorePermit,
}

impl Drop for Lead {
    fn drop(&mut self) {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.remove(&self.digest);
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            running: Arc::new(Semaphore::new(limits::BCRYPT_AT_ONCE)),
            waiting: Arc::new(Semaphore::new(limits::BCRYPT_WAITING)),
            flights: Arc::default(),
        }
    }
}

impl Passwords {
    pub(super) fn join(&self, digest: Digest) -> Part {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = flights.get(&digest) {
            return Part::Follows(found.clone());
        }
        let Ok(waits) = self.waiting.clone().try_acquire_owned() else {
            return Part::TurnedAway;
        };
        let (sender, found) = watch::channel(None);
        flights.insert(digest, found);
        Part::Leads(Lead {
            digest,
            sender,
            flights: self.flights.clone(),
            running: self.running.clone(),
            _waits: waits,
        })
    }
}

impl Lead {
    /// `None`: it could not be tried. Cancel safe: what runs already goes on to its end for those who follow.
    pub(super) async fn verify(self, users: Arc<Basic>, password: Password) -> Option<bool> {
        let place = self.running.clone().acquire_owned().await.ok()?;
        let verification = tokio::task::spawn_blocking(move || {
            let _place = place;
            let is_right = users.is_right(&password);
            self.sender.send_replace(Some(is_right));
            is_right
        });
        verification.await.ok()
    }
}

/// What the one who leads found out; `None`: it was given up. Cancel safe.
pub(super) async fn followed(mut found: Found) -> Option<bool> {
    found.wait_for(Option::is_some).await.ok().and_then(|found| *found)
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    fn line(user: &str, password: &str) -> String {
        format!("{user}:{}", bcrypt::hash(password, 4).unwrap())
    }

    fn password(text: &str) -> Password {
        let mut headers = HeaderMap::new();
        let value = format!("basic  {}", STANDARD.encode(text));
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        presented(&headers).unwrap()
    }

    #[test]
    fn only_the_right_password_of_a_known_user_is_right() {
        let material = format!("# people\n\n{}\n{}\n", line("ada", "a:b"), line("bob", ""));
        let users = Basic::parse(material.as_bytes()).unwrap();
        for (credential, expected) in [
            ("ada:a:b", true),
            ("ada:a", false),
            ("ada:", false),
            ("bob:", true),
            ("bob:a:b", false),
            ("eve:a:b", false),
            (":a:b", false),
        ] {
            assert_eq!(users.is_right(&password(credential)), expected, "{credential}");
        }
    }

    #[test]
    fn hashes_as_htpasswd_writes_them_are_read() {
        // htpasswd -nbB -C 5 ada secret
        let users = Basic::parse(b"ada:$2y$05$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe").unwrap();
        assert!(!users.is_right(&password("ada:nothing")));
        // The vector of Openwall's crypt_blowfish.
        let users = Basic::parse(b"u:$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW").unwrap();
        assert!(users.is_right(&password("u:U*U")));
    }

    #[test]
    fn material_that_is_not_readable_is_refused_by_line_and_never_quoted() {
        let good = line("ada", "x");
        let hash = good.split_once(':').unwrap().1;
        for (bad, why) in [
            ("eve", "user:hash"),
            ("eve:plain", "htpasswd -B"),
            ("eve:$apr1$x$y", "htpasswd -B"),
            ("eve:{SHA}abc", "htpasswd -B"),
            (&format!(":{hash}"), "no user"),
            (&good, "second time"),
            (&format!("eve:{}", hash.replacen("$04$", "$15$", 1)), "4 to 14"),
            (&format!("eve:{}", &hash[..40]), "not readable"),
        ] {
            let said = Basic::parse(format!("{good}\n{bad}").as_bytes()).unwrap_err();
            assert!(
                said.contains("line 2") && said.contains(why) && !said.contains(hash),
                "{bad}: {said}"
            );
        }
        assert!(Basic::parse(b"# nobody").is_err());
        assert!(Basic::parse(b"\xff:$2b$04$").is_err());
    }

    #[test]
    fn what_is_no_basic_credential_is_none() {
        for value in [
            "Basic",
            "Basic !",
            "Bearer YTpi",
            &format!("Basic {}", STANDARD.encode("nocolon")),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            assert_eq!(presented(&headers), None, "{value}");
        }
        let mut twice = HeaderMap::new();
        for _ in 0..2 {
            twice.append(header::AUTHORIZATION, "Basic YTpi".parse().unwrap());
        }
        assert_eq!(presented(&twice), None);
    }

    fn lead(passwords: &Passwords, number: u8) -> Lead {
        match passwords.join([number; 32]) {
            Part::Leads(lead) => lead,
            _ => panic!("somebody else leads"),
        }
    }

    #[tokio::test]
    async fn the_same_password_is_verified_once_for_all_who_bring_it() {
        let passwords = Passwords::default();
        let users = Arc::new(Basic::parse(line("ada", "x").as_bytes()).unwrap());
        let first = lead(&passwords, 1);
        let Part::Follows(found) = passwords.join([1; 32]) else {
            panic!("two lead")
        };
        assert_eq!(first.verify(users.clone(), password("ada:x")).await, Some(true));
        assert_eq!(followed(found).await, Some(true));
        assert_eq!(lead(&passwords, 1).verify(users, password("ada:y")).await, Some(false));
    }

    #[tokio::test]
    async fn who_follows_one_that_left_is_told_so() {
        let passwords = Passwords::default();
        let first = lead(&passwords, 1);
        let Part::Follows(found) = passwords.join([1; 32]) else {
            panic!("two lead")
        };
        drop(first);
        assert_eq!(followed(found).await, None);
        drop(lead(&passwords, 1));
    }

    #[test]
    fn passwords_past_the_bound_are_turned_away() {
        let passwords = Passwords::default();
        let leads: Vec<_> = (0..limits::BCRYPT_WAITING as u8)
            .map(|number| lead(&passwords, number))
            .collect();
        assert!(matches!(passwords.join([255; 32]), Part::TurnedAway));
        assert!(matches!(passwords.join([0; 32]), Part::Follows(_)));
        drop(leads);
        drop(lead(&passwords, 255));
    }
}
