//! The architecture of the Rust rooms as a test: who may import whom, who may name which library, how long a file may be,
//! and that each async function of an interface says what happens when its future is dropped.
//!
//! Reads the sources of the four packages without comments and without their tests. Cargo already keeps the packages apart;
//! this is about what is inside them.
#![allow(clippy::unwrap_used, reason = "a test panics")]

use std::{fs, path::Path};

const FILE_LINES: usize = 500;

/// Files under the first column (a prefix of the path, `*`: all) may name none of the second, except those under the third.
const RULES: &str = "
proto/src/              | tokio hyper quinn rand std::time std::fs std::net::TcpStream | - | proto is pure
edge/src/               | hawse_tunnel hawse_core        | - | the edge gets streams through its Dialer
tunnel/src/             | hawse_edge hawse_core hyper    | - | the tunnel reads no HTTP of visitors
*                       | pyo3                           | src/python.rs | python.rs alone crosses into Python
edge/src/access/        | crate::front crate::layers crate::stack crate::upstream crate::listener crate::edge crate::route crate::visit | - | access decides and knows no stack
edge/src/layers/        | crate::front crate::stack crate::upstream crate::listener crate::edge crate::dial | - | a layer knows what is below it as a Service only
edge/src/upstream/      | crate::front crate::stack crate::respond crate::listener crate::edge | - | the upstream says faults and writes no pages
edge/src/front/         | crate::upstream crate::route crate::respond crate::dial crate::listener crate::edge | - | a front end hands requests to the stack
edge/src/               | crate::front crate::stack crate::listener | edge/src/front/ edge/src/stack.rs edge/src/listener.rs edge/src/edge.rs | imports go down
edge/src/               | text/html problem+json         | edge/src/respond.rs | respond.rs alone makes pages
edge/src/               | h3 h3_quinn quinn              | edge/src/front/h3 edge/src/front/mod.rs | front/h3 alone knows HTTP/3
tunnel/src/sessions.rs  | quinn h2 tokio::net            | - | decisions name no transport
tunnel/src/peers.rs     | quinn h2 tokio                 | - | decisions name no transport
tunnel/src/admission.rs | quinn h2 tokio                 | - | decisions name no transport
tunnel/src/identity.rs  | quinn h2 tokio                 | - | parsing does no I/O
src/bridge.rs           | crate::node crate::python      | - | the bridge knows neither of its ends
src/node.rs             | crate::python                  | - | imports go down
src/visitors.rs         | crate::node crate::python      | - | imports go down
";

#[test]
fn the_sources_keep_to_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files: Vec<_> = ["proto/src", "edge/src", "tunnel/src", "src"]
        .iter()
        .flat_map(|room| sources(&root.join(room)))
        .collect();
    assert!(files.len() > 50, "the sources were not found under {root:?}");
    let found: Vec<String> = files
        .iter()
        .flat_map(|file| {
            violations(
                &file.strip_prefix(root).unwrap().to_string_lossy(),
                &fs::read_to_string(file).unwrap(),
            )
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Every `.rs` file of a folder, at any depth.
fn sources(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => sources(&path),
            false if path.extension().is_some_and(|kind| kind == "rs") => vec![path],
            false => Vec::new(),
        })
        .collect()
}

/// Everything that is wrong with one file.
fn violations(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if text.lines().count() > FILE_LINES {
        found.push(format!("{path}: more than {FILE_LINES} lines"));
    }
    if path.contains("tests")
        || path.ends_with("testing.rs")
        || path.ends_with("fuzzing.rs")
        || path.contains("/generated/")
    {
        return found;
    }
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let code: Vec<&str> = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect();
    let mut code = code.join("\n");
    if path.starts_with("edge/src/layers/") {
        code = code.replace("super::", "crate::layers::");
    }
    let names = names(&code);
    for rule in RULES.lines().filter(|line| !line.is_empty()) {
        let [within, words, except, why] = columns(rule);
        let starts = |prefix: &str| prefix == "*" || path.starts_with(prefix);
        if starts(within) && !except.split(' ').any(starts) {
            let is_named = |word: &&str| names.iter().any(|name| is_under(name, word));
            let is_written = |word: &&str| word.contains(['/', '+']) && code.contains(word);
            let named = words
                .split_whitespace()
                .filter(|word| is_named(word) || is_written(word));
            found.extend(named.map(|word| format!("{path}: names {word}, but {why}")));
        }
    }
    let sibling = |name: &String| Some(name.strip_prefix("crate::layers::")?.split("::").next()?.to_owned());
    if path.starts_with("edge/src/") && !["edge/src/stack.rs", "edge/src/layers/mod.rs"].contains(&path) {
        // Types shared by all layers start with a capital; modules, that is layers, don't.
        let other = names
            .iter()
            .filter_map(sibling)
            .filter(|name| name.starts_with(char::is_lowercase));
        found.extend(other.map(|name| format!("{path}: names the layer {name}, but only stack.rs names layers")));
    }
    found.extend(
        silent_about_cancellation(text)
            .map(|signature| format!("{path}: says no \"Cancel safe\" or \"Not cancel safe\": {signature}")),
    );
    found
}

/// All paths that the code names outside strings, `use a::{b, c::d}` taken apart.
fn names(code: &str) -> Vec<String> {
    let (mut found, mut prefixes, mut path) = (Vec::new(), vec![String::new()], String::new());
    let mut in_string = false;
    for c in code.replace("\\\"", "").replace("'\"'", "").chars() {
        in_string ^= c == '"';
        if in_string {
            continue;
        }
        if c.is_alphanumeric() || c == '_' || c == ':' {
            path.push(c);
            continue;
        }
        let name = prefixes.last().cloned().unwrap_or_default() + &std::mem::take(&mut path);
        match c {
            '{' if name.ends_with("::") => prefixes.push(name),
            '{' => {
                found.push(name);
                prefixes.push(String::new());
            }
            '}' => {
                found.push(name);
                prefixes.pop();
            }
            _ => found.push(name),
        }
    }
    found
}

/// The path `name` is `word`, or goes on after it.
fn is_under(name: &str, word: &str) -> bool {
    name.strip_prefix(word)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Signatures of async functions of an interface (`pub`, `pub(crate)`, `pub(super)`) whose doc is silent about being dropped.
fn silent_about_cancellation(text: &str) -> impl Iterator<Item = &str> {
    let mut says = false;
    text.lines().map(str::trim).filter(move |line| {
        let said = says;
        let is_doc = line.starts_with("///") || line.starts_with("#[");
        says = is_doc && (says || line.contains("Cancel safe") || line.contains("Not cancel safe"));
        line.starts_with("pub") && line.split('(').any(|part| part.contains("async fn ")) && !said
    })
}

fn columns<const COUNT: usize>(line: &str) -> [&str; COUNT] {
    let columns: Vec<&str> = line.splitn(COUNT, " | ").map(str::trim).collect();
    columns.try_into().unwrap()
}

/// Path, what is found (`-`: nothing), and the source with `;;` as its line ends.
const CASES: &str = "
proto/src/frame.rs       | names tokio           | use tokio::sync::mpsc;
proto/src/frame.rs       | names std::time       | fn f() -> std::time::Instant {}
edge/src/route.rs        | names hawse_tunnel    | use hawse_tunnel::AppStream;
edge/src/layers/admit.rs | names crate::upstream | use crate::{body::Body, upstream::{Pool, Other}};
edge/src/layers/admit.rs | the layer stamp       | use super::{Outcome, stamp::StampLayer};
edge/src/upstream/head.rs | the layer stamp      | let x = crate::layers::stamp::NAME;
edge/src/rules.rs        | names crate::stack    | fn f() { let x = crate::stack::build(); }
edge/src/rules.rs        | names text/html       | const PAGE: &str = 'text/html';
edge/src/front/tls.rs    | names crate::route    | use {std::fmt, crate::{route::Routes}};
edge/src/front/tls.rs    | names h3              | fn f(of: h3::Stream) {}
tunnel/src/sessions.rs   | names quinn           | struct A(quinn::Connection);
src/node.rs              | names pyo3            | use pyo3::prelude::*;
edge/src/edge.rs         | says no               | /// Runs.;;pub(crate) async fn run(self) {}
edge/src/edge.rs         | says no               | /// Cancel safe.;;fn a() {};;pub async fn run(self) {}
edge/src/layers/admit.rs | -                     | use super::{Outcome, Step};;;// crate::upstream;;#[cfg(test)];;mod tests { use crate::upstream::Pool; }
edge/src/stack.rs        | -                     | use crate::{layers::{admit::AdmitLayer}, upstream::Upstream};
tunnel/src/link.rs       | -                     | /// Runs. Not cancel safe: frames are lost.;;#[must_use];;pub async fn run() {}
src/python.rs            | -                     | use pyo3::prelude::*;
";

#[test]
fn each_rule_finds_its_violation_and_nothing_else() {
    for case in CASES.lines().filter(|line| !line.is_empty()) {
        let [path, expected, text] = columns(case);
        let found = violations(path, &text.replace(";;", "\n")).join("\n");
        assert_eq!(expected == "-", found.is_empty(), "{case}: {found}");
        assert!(expected == "-" || found.contains(expected), "{case}: {found}");
    }
    assert!(
        violations("edge/src/edge.rs", &"\n".repeat(FILE_LINES + 1))
            .join("")
            .contains("more than 500 lines")
    );
}
