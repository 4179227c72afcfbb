use super::*;

fn complaint(arguments: &[&str]) -> String {
    let words = std::iter::once("tidelog").chain(arguments.iter().copied());
    one_line(&Cli::try_parse_from(words).unwrap_err().to_string())
}

#[test]
fn the_command_line_holds_together() {
    Cli::command().debug_assert();
}

#[test]
fn a_wrong_command_line_is_answered_in_one_line() {
    assert_eq!(
        complaint(&["version", "--outptu", "json"]),
        "unexpected argument '--outptu' found; tip: a similar argument exists: '--output' (see tidelog version --help)"
    );
    assert_eq!(
        complaint(&["version", "--output", "yaml"]),
        "invalid value 'yaml' for '--output <FORMAT>'; [possible values: text, json] (see tidelog --help)"
    );
    assert!(complaint(&["vesion"]).contains("'version'"), "{}", complaint(&["vesion"]));
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
