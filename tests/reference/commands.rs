//! Every command line of a document is held against the help of the real binary.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tidelog_tests::binaries::{broker, cli, root};

/// The documents whose command lines are checked.
fn documents() -> Vec<PathBuf> {
    let mut documents = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    let entries = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    documents.extend(entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    documents
}

/// The lines of fenced blocks marked `sh`, with continued lines joined and comments gone.
fn command_lines(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let mut lines = Vec::new();
    let mut inside = false;
    for line in joined.lines().map(str::trim) {
        if line.starts_with("```") {
            inside = !inside && line == "```sh";
        } else if inside {
            lines.extend(line.split(" #").next().map(str::to_owned).filter(|line| !line.is_empty()));
        }
    }
    lines
}

/// The words of one of our programs in a command line, without what comes before or after it in a pipe.
fn ours(line: &str) -> Option<(PathBuf, Vec<String>)> {
    let part = line.split(['|', '>', '<']).find(|part| {
        let first = part.split_whitespace().find(|word| !word.contains('='));
        first
            .is_some_and(|word| word.starts_with("tidelog") || word.starts_with("target/") || word == "cargo")
    })?;
    let mut words = part.split_whitespace().skip_while(|word| word.contains('=')).map(str::to_owned);
    let program = words.next()?;
    let words: Vec<String> = words.collect();
    match program.rsplit('/').next()? {
        "tidelog" => Some((cli().unwrap(), words)),
        "tidelog-broker" => Some((broker().unwrap(), words)),
        // `cargo run --release -- FLAGS` is the broker.
        "cargo" if words.first().is_some_and(|word| word == "run") && !words.contains(&"-p".to_owned()) => {
            let after = words.into_iter().skip_while(|word| word != "--").skip(1).collect();
            Some((broker().unwrap(), after))
        }
        _ => None,
    }
}

fn help(program: &PathBuf, path: &[String]) -> Result<String, String> {
    let output = Command::new(program).args(path).arg("--help").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(text) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Goes down the subcommands as long as the help lists the next word as one.
fn check(program: &PathBuf, words: &[String]) -> Result<(), String> {
    let mut path: Vec<String> = Vec::new();
    let mut text = help(program, &path)?;
    let mut flags = Vec::new();
    for word in words {
        if word.starts_with('-') {
            flags.push(word.split('=').next().unwrap_or(word).to_owned());
        } else if flags.is_empty() && has_subcommands(&text) {
            path.push(word.clone());
            text = help(program, &path)?;
        }
    }
    // A negative position such as `-5` is a value.
    let is_value =
        |flag: &String| flag.trim_start_matches('-').starts_with(|letter: char| letter.is_ascii_digit());
    let top = help(program, &[])?;
    for flag in flags.iter().filter(|flag| !is_value(flag) && *flag != "--" && *flag != "-") {
        let known = |text: &str| {
            text.split(|letter: char| letter.is_whitespace() || ",=[]<".contains(letter))
                .any(|word| word == flag)
        };
        if !known(&text) && !known(&top) {
            return Err(format!("no flag {flag}"));
        }
    }
    Ok(())
}

fn has_subcommands(help: &str) -> bool {
    help.lines().any(|line| line.trim_end() == "Commands:")
}

#[test]
fn every_command_in_the_documents_is_one_that_the_binaries_know() {
    let mut complaints = Vec::new();
    let mut checked = 0;
    for document in documents() {
        for line in command_lines(&fs::read_to_string(&document).unwrap()) {
            if let Some((program, words)) = ours(&line) {
                checked += 1;
                if let Err(error) = check(&program, &words) {
                    complaints.push(format!("{}: {line}\n    {error}", document.display()));
                }
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert!(checked > 5, "only {checked} commands found: the reader of documents is broken");
}
