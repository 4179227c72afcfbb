//! Rules for source files: length, an opening that says what the file is for, words that must not land,
//! where `unsafe` may stand, and no file that nothing compiles.

use std::collections::BTreeMap;

use regex::Regex;

use crate::tree::{Source, files, report};

/// The longest a source file may be, in lines.
const LINES_MAX: usize = 500;

/// Files that are longer, with their length: a number here may only go down.
const RATCHET: &str = include_str!("ratchet.txt");

/// The one loop that waits for a condition with a deadline, and tests that need real time to pass.
const MAY_SLEEP: [&str; 1] = ["tests/src/wait.rs"];

/// Where `unsafe` may stand.
const MAY_BE_UNSAFE: [&str; 2] = ["broker/log/", "tests/"];

/// Words that must not land anywhere, with what to do instead. They are spelled in two parts so that this
/// file does not find itself.
const FORBIDDEN: [(&str, &str, &str); 7] = [
    ("to", "do!(", "leave the feature out until it is whole"),
    ("unimple", "mented!(", "leave the feature out until it is whole"),
    ("#[ig", "nore", "a test that does not run proves nothing: fix or remove it"),
    ("should_", "panic", "assert on the error instead"),
    ("TO", "DO", "open an issue instead"),
    ("FIX", "ME", "fix it or open an issue"),
    ("db", "g!(", "use tracing, or nothing"),
];

/// Paths that exist on one machine only.
const MACHINE_PATHS: [(&str, &str); 4] = [("/wo", "rk/"), ("/ro", "ot/"), ("/ho", "me/"), ("/Us", "ers/")];

fn ratchet() -> BTreeMap<&'static str, usize> {
    let entry = |line: &'static str| {
        let (path, lines) = line.rsplit_once(' ').expect("ratchet.txt: PATH LINES");
        (path, lines.parse().expect("ratchet.txt: PATH LINES"))
    };
    RATCHET.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(entry).collect()
}

#[test]
fn source_files_fit_in_the_head() {
    let mut tolerated = ratchet();
    let mut complaints = Vec::new();
    for Source { path, text } in files(&[".rs"]) {
        let lines = text.lines().count();
        match tolerated.remove(path.as_str()) {
            None if lines > LINES_MAX => {
                complaints.push(format!("{path}: {lines} lines, at most {LINES_MAX}: split it"));
            }
            Some(_) if lines <= LINES_MAX => {
                complaints.push(format!("{path}: remove its line in ratchet.txt"))
            }
            Some(max) if lines > max => complaints.push(format!("{path}: grew from {max} to {lines} lines")),
            Some(max) if lines < max => complaints.push(format!("{path}: write {lines} into ratchet.txt")),
            _ => {}
        }
    }
    complaints.extend(tolerated.into_keys().map(|path| format!("{path}: in ratchet.txt but gone")));
    report("no file over 500 lines; the ratchet only turns one way", &complaints);
}

#[test]
fn every_source_file_says_what_it_is_for() {
    // `foo_tests.rs` beside `foo.rs` says it by its name.
    let told = files(&[".rs"]).into_iter().filter(|source| !source.path.ends_with("_tests.rs"));
    let silent = told.filter(|source| {
        let first = source.text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
        // The placeholder of an empty crate does not count.
        !first.is_some_and(|line| line.starts_with("//! ") && line.len() > 20)
            || source.text.starts_with("//! See the crate's description.")
    });
    let complaints: Vec<String> = silent.map(|source| source.path).collect();
    report("a file opens with `//!` and what it is for", &complaints);
}

#[test]
fn forbidden_words_do_not_land() {
    let mut complaints = Vec::new();
    for source in files(&[".rs"]) {
        for (number, line) in source.text.lines().enumerate() {
            for (head, tail, instead) in FORBIDDEN {
                let word = format!("{head}{tail}");
                if line.contains(&word) {
                    complaints.push(format!("{}:{}: `{word}`: {instead}", source.path, number + 1));
                }
            }
        }
    }
    report("some words do not land", &complaints);
}

#[test]
fn nothing_depends_on_one_machine() {
    let mut complaints = Vec::new();
    let texts = [".rs", ".md", ".toml", ".proto", ".sh", ".py", ".yml", ".ci/run", "/test"];
    for source in files(&texts) {
        for (number, line) in source.text.lines().enumerate() {
            for (head, tail) in MACHINE_PATHS {
                let path = format!("{head}{tail}");
                if line.contains(&path) {
                    complaints.push(format!("{}:{}: {path}", source.path, number + 1));
                }
            }
        }
    }
    report("no path of one machine", &complaints);
}

#[test]
fn tests_wait_for_conditions_and_never_sleep() {
    let sleep = Regex::new(r"\b(thread|time)::sle{2}p(_until)?\b|\bsle{2}p\(").unwrap();
    let mut sleepers: Vec<&str> = MAY_SLEEP.to_vec();
    let mut complaints = Vec::new();
    for source in files(&[".rs"]).iter().filter(|source| source.is_test()) {
        let lines: Vec<usize> =
            source.code_lines().filter(|(_, line)| sleep.is_match(line)).map(|(number, _)| number).collect();
        let allowed = MAY_SLEEP.contains(&source.path.as_str());
        if allowed && !lines.is_empty() {
            sleepers.retain(|path| *path != source.path);
        } else if !allowed {
            complaints.extend(lines.iter().map(|number| format!("{}:{number}", source.path)));
        }
    }
    complaints
        .extend(sleepers.iter().map(|path| format!("{path}: no longer sleeps: remove it from MAY_SLEEP")));
    report("tests wait for a condition with a deadline", &complaints);
}

#[test]
fn unsafe_code_stands_only_where_it_is_proved() {
    let keyword = Regex::new(r"\bunsafe\s*(\{|fn\b|impl\b|trait\b|extern\b)").unwrap();
    let mut complaints = Vec::new();
    for source in files(&[".rs"]) {
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, _) in source.code_lines().filter(|(_, line)| keyword.is_match(line)) {
            let place = format!("{}:{number}", source.path);
            if !MAY_BE_UNSAFE.iter().any(|prefix| source.path.starts_with(prefix)) {
                complaints.push(format!("{place}: not here"));
            }
            let above = &lines[number.saturating_sub(12)..number];
            if !above.iter().any(|line| line.contains("SAFETY:") || line.contains("# Safety")) {
                complaints.push(format!("{place}: no SAFETY comment above it"));
            }
        }
    }
    report("unsafe code is confined and proved", &complaints);
}

#[test]
fn every_source_file_is_compiled() {
    let sources = files(&[".rs", "Cargo.toml"]);
    let mut complaints = Vec::new();
    for source in sources.iter().filter(|source| source.path.ends_with(".rs")) {
        let (dir, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
        let stem = file.trim_end_matches(".rs");
        if ["lib", "main", "build"].contains(&stem) {
            continue;
        }
        let name = if stem == "mod" { dir.rsplit('/').next().unwrap_or(dir) } else { stem };
        let declared = Regex::new(&format!(r#"\bmod {name}\s*[;{{]|"[^"]*\b{file}""#)).unwrap();
        let crate_dir = dir.split("/src").next().unwrap_or(dir);
        let root = crate_dir.split('/').next().unwrap_or(crate_dir);
        // Files of a crate's tests/ and benches/ directories are found by cargo itself.
        let found_by_cargo =
            ["/tests", "/benches", "/examples", "/bin"].iter().any(|found| dir.ends_with(found));
        let named = sources.iter().any(|other| {
            other.path != source.path && other.path.starts_with(root) && declared.is_match(&other.text)
        });
        if !named && !found_by_cargo {
            complaints.push(format!("{}: no `mod {name}` anywhere", source.path));
        }
    }
    report("no source file lies around unused", &complaints);
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    let manifests = files(&["Cargo.toml"]);
    let crates = manifests.iter().filter(|manifest| {
        manifest.path != "Cargo.toml"
            && manifest.text.contains("[package]")
            && !manifest.text.contains("[workspace]")
    });
    let complaints: Vec<String> = crates
        .filter(|manifest| !manifest.text.contains("[lints]\nworkspace = true"))
        .map(|manifest| manifest.path.clone())
        .collect();
    report("`[lints] workspace = true` in every crate", &complaints);
}
