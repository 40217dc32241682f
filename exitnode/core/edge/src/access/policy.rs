//! One policy in the form that requests read, made of its IR and its material. Whatever is wrong with either is an error.

use std::{collections::HashMap, sync::Arc};

use hawse_proto::ir;
use ir::access_policy::Mode;

use super::{addresses::Addresses, api_keys::ApiKeys, basic::Basic, jwt::Issuer, rules::Rules};

/// See the module.
#[derive(Debug)]
pub(super) struct Policy {
    /// Of this compiled form, see `Verified`.
    pub(super) epoch: u64,
    /// Every method has to let a visitor in, not just one.
    pub(super) needs_all: bool,
    pub(super) addresses: Addresses,
    pub(super) api_keys: Option<ApiKeys>,
    pub(super) basic: Option<Arc<Basic>>,
    /// Whose tokens are taken; empty: no method.
    pub(super) jwt: Vec<Issuer>,
    /// Visitors may sign in (access/sessions.rs).
    pub(super) signs_in: bool,
    pub(super) uid: String,
    pub(super) rules: Rules,
}

impl Policy {
    pub(super) fn compile(
        said: &ir::AccessPolicy,
        epoch: u64,
        material: &HashMap<String, Arc<[u8]>>,
    ) -> Result<Self, String> {
        if !said.broken.is_empty() {
            return Err(said.broken.clone());
        }
        let bytes = |id: &str| {
            material
                .get(id)
                .ok_or_else(|| "a Secret that it needs is not there".to_owned())
        };
        let addresses = said.ip_ranges.as_ref().map(Addresses::parse).transpose()?;
        let api_keys = (said.api_keys.as_ref())
            .map(|keys| ApiKeys::parse(keys, bytes(&keys.material_id)?))
            .transpose()?;
        let basic = (said.basic.as_ref())
            .map(|basic| Basic::parse(bytes(&basic.material_id)?).map(Arc::new))
            .transpose()?;
        let policy = Self {
            epoch,
            needs_all: match said.mode() {
                Mode::Any => false,
                Mode::All => true,
                Mode::Unspecified => return Err("it does not say whether one method is enough".into()),
            },
            addresses: addresses.unwrap_or_default(),
            api_keys,
            basic,
            jwt: said.jwt.iter().map(Issuer::parse).collect::<Result<_, _>>()?,
            signs_in: said.oidc.is_some(),
            uid: said.uid.clone(),
            rules: Rules::of(said.authorization.as_ref()),
        };
        policy.knows_every_method(said)?;
        if !policy.addresses.is_method() && !policy.has_credentials() {
            return Err("it has no method that could let anybody in".into());
        }
        Ok(policy)
    }

    /// Whether a visitor may prove something, besides having an address.
    pub(super) fn has_credentials(&self) -> bool {
        self.api_keys.is_some() || self.basic.is_some() || !self.jwt.is_empty() || self.signs_in
    }

    /// With `Any` a method that is left out closes the policy for some, with `All` it would open it.
    #[expect(clippy::unused_self, reason = "the methods that are to come are compared with it")]
    fn knows_every_method(&self, said: &ir::AccessPolicy) -> Result<(), String> {
        if said.client_certificates.is_some() {
            return Err("it has a method that this exit node doesn't know: update it".into());
        }
        Ok(())
    }
}
