//! Which of those who are known may come in: rules on claims, denied by default once there are rules. Pure.

use std::collections::BTreeSet;

use hawse_proto::ir;

use super::identity::Identity;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Rules {
    rules: Vec<Rule>,
    default_allow: bool,
}

#[derive(Debug)]
struct Rule {
    claim: String,
    any_of: BTreeSet<String>,
}

impl Rules {
    pub(super) fn of(authorization: Option<&ir::Authorization>) -> Self {
        let Some(said) = authorization else {
            return Self::default();
        };
        let rule = |rule: &ir::ClaimRule| Rule {
            claim: rule.claim.clone(),
            any_of: rule.any_of.iter().cloned().collect(),
        };
        Self {
            rules: said.rules.iter().map(rule).collect(),
            default_allow: said.default_allow,
        }
    }

    /// Claims that are asked for.
    pub(super) fn claims(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.claim.as_str())
    }

    /// `None`: nobody knows who it is; a rule can't name them.
    pub(super) fn allow(&self, identity: Option<&Identity>) -> bool {
        if self.rules.is_empty() || self.default_allow {
            return true;
        }
        let names = |rule: &Rule, identity: &Identity| {
            let values = identity.claim(&rule.claim);
            values.iter().any(|value| rule.any_of.contains(value))
        };
        identity.is_some_and(|identity| self.rules.iter().any(|rule| names(rule, identity)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(rules: &[(&str, &[&str])], default_allow: bool) -> Rules {
        let rule = |(claim, any_of): &(&str, &[&str])| ir::ClaimRule {
            name: String::new(),
            claim: (*claim).into(),
            any_of: any_of.iter().map(|value| (*value).into()).collect(),
        };
        Rules::of(Some(&ir::Authorization {
            rules: rules.iter().map(rule).collect(),
            default_allow,
        }))
    }

    #[test]
    fn without_rules_whoever_is_known_comes_in_and_with_rules_nobody_else() {
        let claims = [("groups".to_owned(), vec!["staff".to_owned(), "ops".to_owned()])];
        let ada = Identity::new("ada", claims.into());
        assert!(Rules::of(None).allow(Some(&ada)) && Rules::of(None).allow(None));
        let cases: [(Rules, bool); 6] = [
            (rules(&[("groups", &["ops", "sales"])], false), true),
            (rules(&[("groups", &["sales"])], false), false),
            (rules(&[("groups", &["sales"]), ("sub", &["ada"])], false), true),
            (rules(&[("groups", &["staff,ops"])], false), false),
            (rules(&[("team", &["x"])], false), false),
            (rules(&[("groups", &[])], false), false),
        ];
        for (rules, expected) in cases {
            assert_eq!(rules.allow(Some(&ada)), expected, "{rules:?}");
            assert!(!rules.allow(None));
        }
        assert!(rules(&[("groups", &["sales"])], true).allow(Some(&ada)));
    }
}
