//! The committed Protobuf code is what the .proto files say. `HAWSE_REGEN=1 cargo test -p hawse-proto` rewrites it.
//!
//! A test and not a build script: nothing but prost is needed to compile the crate, and a change of the wire shows in review.

#![allow(clippy::expect_used, reason = "a test says what it relies on by failing")]

use std::fs;
use std::path::{Path, PathBuf};

/// control.proto is spoken by Python alone (gRPC between operator and exit node), so Rust has no code of it.
const PROTOS: [&str; 3] = ["ir", "core", "frames"];

fn generate() -> Vec<(PathBuf, String)> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.join("../../../operator");
    let files: Vec<PathBuf> = PROTOS
        .iter()
        .map(|name| root.join(format!("hawse_api/ir/{name}.proto")))
        .collect();
    let descriptors = protox::compile(&files, [&root]).expect("the .proto files compile");
    let out = tempdir();
    let mut config = prost_build::Config::new();
    config.out_dir(&out).btree_map(["."]);
    config.compile_fds(descriptors).expect("prost writes its code");
    let made = PROTOS
        .iter()
        .map(|name| {
            let code = fs::read_to_string(out.join(format!("hawse.{name}.v1.rs"))).expect("one file per package");
            (here.join(format!("src/generated/{name}.rs")), code)
        })
        .collect();
    fs::remove_dir_all(out).expect("the scratch folder is ours");
    made
}

fn tempdir() -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("proto-{}", std::process::id()));
    fs::create_dir_all(&path).expect("cargo's scratch folder is writable");
    path
}

#[test]
fn the_committed_code_is_what_the_proto_files_say() {
    for (path, code) in generate() {
        if std::env::var_os("HAWSE_REGEN").is_some() {
            fs::write(&path, &code).expect("the crate is writable");
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == code,
            "{} is out of date: run HAWSE_REGEN=1 cargo test -p hawse-proto",
            path.display()
        );
    }
}
