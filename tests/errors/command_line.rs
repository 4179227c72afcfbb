//! What a user of the command line can do wrong.

use std::process::{Command, Output, Stdio};

use tidelog_tests::binaries;
use tidelog_tests::broker::{BrokerCommand, run_to_end};

use crate::{assert_one_clear_line, complaint};

fn tidelog(server: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(binaries::cli().unwrap());
    command.args(["--server", server]).args(arguments);
    run_to_end(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped())).unwrap()
}

#[test]
fn the_command_line_names_cause_and_remedy() {
    let home = tempfile::tempdir().unwrap();
    let broker = BrokerCommand::new(home.path().join("data")).unwrap().start().unwrap();
    let url = broker.url();
    assert!(tidelog(&url, &["topic", "create", "orders", "--partitions", "2"]).status.success());
    let cases: [(&[&str], &[&str]); 5] = [
        (&["consume", "ordres", "--exit"], &["ordres"]),
        (&["topic", "create", "orders"], &["orders", "exists"]),
        (&["topic", "create", "x", "--config", "retentoin.ms=5"], &["retentoin.ms", "retention.ms"]),
        (&["topic", "show", "ordres"], &["ordres"]),
        (&["replay", "orders", "--from", "yesterdya"], &["yesterdya"]),
    ];
    for (arguments, names) in cases {
        let what = arguments.join(" ");
        let output = tidelog(&url, arguments);
        assert_one_clear_line(&what, &complaint(&what, &output), names);
        assert!(output.stdout.is_empty(), "{what}: data on stdout");
    }
}

#[test]
fn a_broker_that_is_not_there_is_named() {
    let home = tempfile::tempdir().unwrap();
    let broker = BrokerCommand::new(home.path().join("data")).unwrap().start().unwrap();
    let url = broker.url();
    let address = broker.api_addr().to_string();
    drop(broker);
    let output = tidelog(&url, &["topic", "ls"]);
    let what = "no broker";
    assert_one_clear_line(what, &complaint(what, &output), &[&address, "refused"]);
}
