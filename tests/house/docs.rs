//! Documents name only what exists: links, anchors, files, cargo targets.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use regex::Regex;

use crate::tree::{Source, files, report, root};

fn documents() -> Vec<Source> {
    files(&[".md"])
}

/// `a/b/../c` without the dots.
fn plain(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                parts.pop();
            }
            Component::CurDir => {}
            part => parts.push(part),
        }
    }
    parts
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars()
        .filter(|letter| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter))
        .map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#'))).collect()
}

/// The text without fenced blocks.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let kept = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    kept.collect::<Vec<_>>().join("\n")
}

/// The commands of the fenced blocks marked `sh`, one a line, without comments.
fn commands(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("```") {
            inside = !inside && line == "```sh";
        } else if inside {
            let command = line.split(" #").next().unwrap_or_default().trim();
            if !command.is_empty() && !command.starts_with('#') {
                commands.push(command.to_owned());
            }
        }
    }
    commands
}

#[test]
fn every_link_of_a_document_resolves() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let root = root();
    let mut complaints = Vec::new();
    for Source { path, text } in documents() {
        for found in link.captures_iter(&prose(&text)) {
            let target = &found[1];
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
            let here = root.join(&path);
            let there =
                if file.is_empty() { here.clone() } else { plain(&here.parent().unwrap().join(file)) };
            if !there.exists() {
                complaints.push(format!("{path}: {target}: no such file"));
            } else if !fragment.is_empty()
                && !anchors(&fs::read_to_string(&there).unwrap_or_default()).contains(fragment)
            {
                complaints.push(format!("{path}: {target}: no such heading"));
            }
        }
    }
    report("links resolve", &complaints);
}

#[test]
fn every_file_that_a_document_names_exists() {
    let file = Regex::new(
        r"`((?:proto|broker|client|tests|benches|examples|docs|\.ci)/[A-Za-z0-9_./-]+|\./[a-z]+)`",
    )
    .unwrap();
    let root = root();
    let mut complaints = Vec::new();
    for Source { path, text } in documents() {
        for found in file.captures_iter(&prose(&text)) {
            if !root.join(found[1].trim_end_matches('/')).exists() {
                complaints.push(format!("{path}: `{}` does not exist", &found[1]));
            }
        }
    }
    report("documents name files that exist", &complaints);
}

#[test]
fn every_command_of_the_documents_exists() {
    let mut complaints = Vec::new();
    let manifests: String = files(&["Cargo.toml"]).into_iter().map(|manifest| manifest.text).collect();
    let target = Regex::new(r"(?:-p|--package|--bin|--test|--bench|--example)[ =]([A-Za-z0-9_-]+)").unwrap();
    let mut seen = 0;
    for Source { path, text } in documents() {
        for command in commands(&text) {
            seen += 1;
            let program = command.split_whitespace().next().unwrap_or_default();
            if program.starts_with("./") && !root().join(program).exists() {
                complaints.push(format!("{path}: {command}: no such program"));
            }
            for found in target.captures_iter(&command).filter(|_| program == "cargo") {
                let name = &found[1];
                let declared = manifests.contains(&format!("name = \"{name}\""))
                    || files(&[".rs"])
                        .iter()
                        .any(|source| source.path.ends_with(&format!("/tests/{name}.rs")));
                if !declared {
                    complaints.push(format!("{path}: {command}: no target {name}"));
                }
            }
        }
    }
    assert!(seen > 0, "no commands found: the reader of fenced blocks is broken");
    report("commands in documents exist", &complaints);
}
