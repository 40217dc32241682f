//! Who may come in: the policies in force, what they check, and who a visitor turned out to be.
//!
//! One concern a file; `policy.rs` puts the methods together and is where one more is added. A policy that is not there, cannot
//! be enforced or lacks its material refuses everybody: there is no last good form, since the old one may be the open one.
//! Nothing here knows the stack or the app: layers/access.rs asks, upstream/head.rs tells the app.

mod addresses;
mod api_keys;
mod attempts;
mod basic;
pub(crate) mod cookies;
pub(crate) mod decision;
pub(crate) mod identity;
mod jwk;
mod jwt;
mod policy;
mod rules;
mod sessions;
mod verified;

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use hawse_proto::ir;

pub(crate) use decision::{Decision, Question, Visitor};
pub(crate) use identity::Identity;
use policy::Policy;

use crate::limits;

/// Name of what a node has to know to serve tunnels with a policy (`ir.Tunnel.required_features`).
pub(crate) const FEATURE: &str = "access/1";
/// Key of a policy's object and id of its material, before the uid.
pub(crate) const PREFIX: &str = "access/";

/// What stands in a policy's place.
#[derive(Debug, Clone)]
enum InForce {
    Enforced(Arc<Policy>),
    /// Why it cannot be enforced: for the visitor, so without secrets.
    Broken(Arc<str>),
}

/// All policies of the exit node. Requests read without a lock.
#[derive(Debug, Default)]
pub(crate) struct Access {
    policies: papaya::HashMap<String, InForce>,
    said: Mutex<Said>,
    attempts: attempts::Attempts,
    verified: verified::Verified,
    passwords: basic::Passwords,
    sessions: sessions::Sessions,
}

/// What was said of policies, as it came: either part may come first, or change alone.
#[derive(Debug, Default)]
struct Said {
    policies: HashMap<String, ir::AccessPolicy>,
    material: HashMap<String, Arc<[u8]>>,
    /// Counts compiled forms: what an earlier one verified holds no more.
    epoch: u64,
}

impl Access {
    /// Puts a policy in force. The error says why it refuses everybody now.
    pub(crate) fn apply(&self, policy: ir::AccessPolicy) -> Result<(), String> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let uid = policy.uid.clone();
        said.policies.insert(uid.clone(), policy);
        self.compile(&mut said, &uid)
    }

    /// From now on tunnels that name the policy refuse everybody.
    pub(crate) fn remove(&self, uid: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.policies.remove(uid);
        self.policies.pin().remove(uid);
    }

    /// Installs the secret bytes `access/<uid>/<method>`. What is wrong with them is said by the policy that names them.
    pub(crate) fn put_material(&self, id: &str, data: &[u8]) -> Result<(), String> {
        if let Some(tunnel_uid) = id.strip_prefix(sessions::PREFIX) {
            return self.sessions.put_key(tunnel_uid, data);
        }
        if data.len() > limits::ACCESS_MATERIAL_BYTES {
            return Err(format!("{id}: {} bytes are more than a policy may have", data.len()));
        }
        self.material_changed(id, |material| {
            material.insert(id.to_owned(), data.into());
        })
    }

    /// The policy that names them refuses everybody from now on.
    pub(crate) fn remove_material(&self, id: &str) {
        if let Some(tunnel_uid) = id.strip_prefix(sessions::PREFIX) {
            return self.sessions.remove_key(tunnel_uid);
        }
        // The error is what visitors are told.
        let _ = self.material_changed(id, |material| {
            material.remove(id);
        });
    }

    /// These sign-ins are over: marks and Unix seconds (`ir.Revoked`).
    pub(crate) fn end(&self, ended: &BTreeMap<String, i64>) {
        self.sessions.end(ended);
    }

    /// Whether one of these policies lets visitors sign in.
    pub(crate) fn signs_in(&self, uids: &[String]) -> bool {
        uids.iter()
            .any(|uid| matches!(self.find(uid), Some(InForce::Enforced(policy)) if policy.signs_in))
    }

    /// Whether a request brings a session that holds, whatever the rules say of it.
    pub(crate) fn has_session(&self, visitor: Visitor<'_>) -> bool {
        self.sessions.read(visitor.headers, visitor.place()).is_some()
    }

    /// Whether one of these policies keeps an address out, before anything else is asked.
    pub(crate) fn keeps_out(&self, uids: &[String], address: IpAddr) -> bool {
        uids.iter()
            .any(|uid| matches!(self.find(uid), Some(InForce::Enforced(policy)) if policy.addresses.denies(address)))
    }

    fn material_changed(&self, id: &str, change: impl FnOnce(&mut HashMap<String, Arc<[u8]>>)) -> Result<(), String> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut said.material);
        let Some(uid) = id.strip_prefix(PREFIX).and_then(|rest| rest.split('/').next()) else {
            return Ok(());
        };
        self.compile(&mut said, uid)
    }

    /// Both parts together, if the policy is known.
    fn compile(&self, said: &mut Said, uid: &str) -> Result<(), String> {
        said.epoch += 1;
        let Some(policy) = said.policies.get(uid) else {
            return Ok(());
        };
        let compiled = Policy::compile(policy, said.epoch, &said.material);
        let (in_force, outcome) = match compiled {
            Ok(policy) => (InForce::Enforced(Arc::new(policy)), Ok(())),
            Err(why) => (InForce::Broken(why.as_str().into()), Err(why)),
        };
        self.policies.pin().insert(uid.to_owned(), in_force);
        outcome
    }

    fn find(&self, uid: &str) -> Option<InForce> {
        self.policies.pin().get(uid).cloned()
    }
}

#[cfg(test)]
mod tests;
