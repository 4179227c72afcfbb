use super::*;

fn complain(arguments: &[&str]) -> String {
    let words = std::iter::once("tidelog").chain(arguments.iter().copied());
    let error = Cli::try_parse_from(words).unwrap_err();
    complaint(&error, arguments.iter().map(OsString::from)).to_string()
}

#[test]
fn json_is_seen_also_in_words_that_are_wrong() {
    let wants = |words: &[&str]| wants_json(words.iter().map(OsString::from));
    for words in [
        ["-o", "json", "nosuch"],
        ["topic", "--output=json", "x"],
        ["--output", "json", "--x"],
        ["-ojson", "", ""],
    ] {
        assert!(wants(&words), "{words:?}");
    }
    for words in [["-o", "text", "json"], ["--", "-o", "json"], ["json", "-o", ""]] {
        assert!(!wants(&words), "{words:?}");
    }
}

#[test]
fn the_command_line_holds_together() {
    Cli::command().debug_assert();
}

#[test]
fn a_wrong_command_line_is_answered_in_one_line() {
    let cases: [(&[&str], &str); 7] = [
        (
            &["version", "--outptu", "json"],
            "unexpected argument '--outptu'; did you mean '--output'? (see `tidelog version --help`)",
        ),
        (
            &["-b", "http://replay", "version", "--output", "yaml"],
            "invalid value 'yaml' for '--output <FORMAT>': use one of text, json (see `tidelog version --help`)",
        ),
        (&["vesion"], "unknown command 'vesion'; did you mean 'version'? (see `tidelog --help`)"),
        (
            &["replay", "o", "--rate", "fast"],
            "invalid value 'fast' for '--rate <RATE>': \"fast\" is not a rate: use records such as 500/s, or \
             bytes such as 10MB/s (see `tidelog replay --help`)",
        ),
        (
            &["replay", "o", "--speed", "-1x"],
            "invalid value '-1x' for '--speed <SPEED>': \"-1x\" is not a speed: use a multiple such as 1x, 10x \
             or 0.5x, or max (see `tidelog replay --help`)",
        ),
        (&["topic", "show"], "missing: <NAME> (see `tidelog topic describe --help`)"),
        (&["produce", "o", "--key"], "--key <KEY> needs a value (see `tidelog produce --help`)"),
    ];
    for (arguments, said) in cases {
        assert_eq!(complain(arguments), format!("error: {said}"));
    }
}

#[test]
fn there_is_a_completion_script_for_every_shell() {
    use clap::ValueEnum as _;
    for shell in Shell::value_variants() {
        let mut script = Vec::new();
        clap_complete::generate(*shell, &mut Cli::command(), "tidelog", &mut script);
        assert!(!script.is_empty(), "{shell}");
    }
}
