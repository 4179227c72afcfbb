use clap::Parser as _;

use super::*;
use crate::args::Args;

#[test]
fn a_wrong_flag_is_answered_in_one_line() {
    let cases: [(&[&str], &str); 4] = [
        (&["--data-dri", "x"], "unexpected argument '--data-dri'; did you mean '--data-dir'?"),
        (&["--data-dir"], "--data-dir <DIR> needs a value"),
        (
            &["--set", "x"],
            "invalid value 'x' for '--set <KEY=VALUE>': write KEY=VALUE, like storage.sync_threads=8",
        ),
        (&["--config", "a", "--config", "b"], "'--config <FILE>' is given more than once"),
    ];
    for (arguments, said) in cases {
        let words = std::iter::once("tidelog-broker").chain(arguments.iter().copied());
        let error = Args::try_parse_from(words).unwrap_err();
        assert_eq!(one_line(&error), format!("{said} (see `tidelog-broker --help`)"));
    }
}
