//! Who may use whom, checked against `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::tree::{report, root};

/// What each crate may use of the workspace: `server -> {grpc, kafka} -> runtime -> {core, log} -> model`,
/// `{grpc, sdk} -> proto -> model`, `cli -> sdk`. The core and the log do not know each other, and nothing
/// in `client/` sees `broker/` except the SDK's `testing` feature.
const ARROWS: [(&str, &[&str]); 13] = [
    ("tidelog-model", &[]),
    ("tidelog-proto", &["tidelog-model"]),
    ("tidelog-core", &["tidelog-model"]),
    ("tidelog-log", &["tidelog-model"]),
    ("tidelog-runtime", &["tidelog-core", "tidelog-log", "tidelog-model"]),
    ("tidelog-grpc", &["tidelog-runtime", "tidelog-core", "tidelog-proto", "tidelog-model"]),
    ("tidelog-kafka", &["tidelog-runtime", "tidelog-core", "tidelog-model"]),
    ("tidelog-broker", &["tidelog-grpc", "tidelog-kafka", "tidelog-runtime", "tidelog-log", "tidelog-model"]),
    ("tidelog-client", &["tidelog-proto", "tidelog-model", "tidelog-broker?"]),
    ("tidelog", &["tidelog-client", "tidelog-model"]),
    ("tidelog-examples", &["tidelog-client", "tidelog-model", "tidelog-tests"]),
    ("tidelog-tests", &["*"]),
    ("tidelog-benches", &["*"]),
];

/// What tests of a crate may use beyond its arrows.
const DEV_ARROWS: [(&str, &str); 5] = [
    ("tidelog-log", "tidelog-log"),
    ("tidelog-client", "tidelog-client"),
    ("tidelog-grpc", "tidelog-log"),
    ("tidelog-broker", "tidelog-proto"),
    ("tidelog", "tidelog-client"),
];

/// Every library the pure crates may use: they have no I/O, no clock, no threads.
const PURE: [(&str, &[&str]); 2] = [
    ("tidelog-model", &["bytes", "crc32c", "flate2", "lz4_flex", "snap", "thiserror", "uuid", "zstd"]),
    ("tidelog-core", &["bytes", "prost", "thiserror", "uuid"]),
];

/// Libraries that must not appear below the runtime.
const ASYNC: [&str; 5] = ["tokio", "tokio-stream", "tonic", "axum", "futures"];

struct Dependency {
    name: String,
    dev: bool,
    optional: bool,
    ours: bool,
}

fn packages() -> BTreeMap<String, Vec<Dependency>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let dependency = |value: &Value| Dependency {
        name: text(&value["name"]),
        dev: value["kind"] == "dev",
        optional: value["optional"] == true,
        ours: value["path"].is_string(),
    };
    let package = |value: &Value| {
        (text(&value["name"]), value["dependencies"].as_array().unwrap().iter().map(dependency).collect())
    };
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

#[test]
fn crates_use_only_the_crates_below_them() {
    let arrows: BTreeMap<_, _> = ARROWS.into_iter().collect();
    let mut complaints = Vec::new();
    for (package, dependencies) in packages() {
        let Some(allowed) = arrows.get(package.as_str()) else {
            complaints.push(format!("{package} has no line in ARROWS: say what it may use"));
            continue;
        };
        for dependency in dependencies.iter().filter(|dependency| dependency.ours) {
            let name = dependency.name.as_str();
            let optional = format!("{name}?");
            let fine = allowed.contains(&"*")
                || allowed.contains(&name)
                || (dependency.optional && allowed.contains(&optional.as_str()))
                || (dependency.dev && DEV_ARROWS.contains(&(package.as_str(), name)));
            if !fine {
                complaints.push(format!("{package} must not use {name}"));
            }
        }
    }
    report("the arrows between crates go one way", &complaints);
}

#[test]
fn no_async_library_is_used_below_the_runtime_and_pure_crates_stay_pure() {
    let packages = packages();
    let mut complaints = Vec::new();
    for below in ["tidelog-model", "tidelog-core", "tidelog-log"] {
        let dependencies = packages.get(below).expect("the crate exists");
        for dependency in dependencies.iter().filter(|dependency| !dependency.dev) {
            if ASYNC.contains(&dependency.name.as_str()) {
                complaints.push(format!("{below} must not use {}", dependency.name));
            }
        }
    }
    for (pure, allowed) in PURE {
        let dependencies = packages.get(pure).expect("the crate exists");
        for dependency in dependencies.iter().filter(|dependency| !dependency.dev && !dependency.ours) {
            if !allowed.contains(&dependency.name.as_str()) {
                complaints.push(format!("{pure} is pure and has no use for {}", dependency.name));
            }
        }
    }
    report("the crates below the runtime are synchronous", &complaints);
}

#[test]
fn every_table_names_only_crates_that_exist() {
    let existing: BTreeSet<String> = packages().into_keys().collect();
    let named = ARROWS.iter().map(|(name, _)| *name).chain(DEV_ARROWS.iter().map(|(name, _)| *name));
    let complaints: Vec<String> =
        named.filter(|name| !existing.contains(*name)).map(|name| format!("no crate {name}")).collect();
    report("the layering tables are up to date", &complaints);
}
