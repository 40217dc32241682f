//! Networks that a fleet names: load balancers that are believed, targets that may be dialled. Pure.

use ipnet::IpNet;

/// Reads networks ("10.0.0.0/8"). The error names each that is none.
pub(crate) fn parse(texts: &[String]) -> Result<Vec<IpNet>, String> {
    let (mut networks, mut problems) = (Vec::with_capacity(texts.len()), Vec::new());
    for text in texts {
        match text.parse() {
            Ok(network) => networks.push(network),
            Err(_) => problems.push(format!("{text:?} is not a network")),
        }
    }
    if problems.is_empty() {
        Ok(networks)
    } else {
        Err(problems.join("; "))
    }
}
