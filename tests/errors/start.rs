//! What can keep a broker from starting.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tidelog_client::{Client, NewTopic, Record};
use tidelog_tests::binaries;
use tidelog_tests::broker::{BrokerCommand, run_to_end, say, touch};

use crate::{assert_one_clear_line, complaint};

fn fails_to_start(command: &BrokerCommand, what: &str, names: &[&str]) {
    let output = command.run_to_end().unwrap();
    assert_one_clear_line(what, &complaint(what, &output), names);
    assert!(output.stdout.is_empty(), "{what}: said it was ready");
}

#[test]
fn a_taken_port_is_named_with_the_flag_that_changes_it() {
    let home = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let command = BrokerCommand::new(home.path().join("data")).unwrap().api_addr(address);
    fails_to_start(&command, "port taken", &[&address.to_string(), "in use", "--api-addr"]);
}

#[test]
fn a_locked_data_directory_is_named_and_its_owner_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let first = BrokerCommand::new(&data).unwrap().start().unwrap();
    let second = BrokerCommand::new(&data).unwrap();
    fails_to_start(&second, "data directory locked", &[data.to_str().unwrap(), "another", "--data-dir"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = Client::connect(&first.url()).await.unwrap();
        client.admin().create_topic(NewTopic::new("still-here")).await.unwrap();
        let producer = client.producer().build().unwrap();
        producer.send(Record::new("still-here").value("yes")).await.unwrap();
    });
}

#[test]
fn a_newer_format_is_refused_and_left_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let command = BrokerCommand::new(&data).unwrap();
    assert!(command.start().unwrap().terminate().unwrap().success());
    let format = data.join("FORMAT");
    let ours = fs::read_to_string(&format).unwrap();
    let digits: String = ours.chars().filter(char::is_ascii_digit).collect();
    let newer = ours.replacen(&digits, "99", 1);
    assert_ne!(ours, newer, "FORMAT has a number: {ours:?}");
    fs::write(&format, &newer).unwrap();
    fails_to_start(&command, "newer format", &["99", "newer", data.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&format).unwrap(), newer, "the refused directory was changed");
    fs::write(&format, &ours).unwrap();
    assert!(command.start().unwrap().terminate().unwrap().success());
}

#[test]
fn a_file_in_place_of_the_data_directory_is_named() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    touch(&data).unwrap();
    let command = BrokerCommand::new(&data).unwrap();
    fails_to_start(&command, "not a directory", &[data.to_str().unwrap(), "--data-dir"]);
}

/// Root may write everywhere except where the file system itself says no.
#[test]
fn a_directory_that_may_not_be_written_is_named() {
    let home = tempfile::tempdir().unwrap();
    let place = home.path().join("read-only");
    fs::create_dir(&place).unwrap();
    let Some(_mounted) = Mount::new(&place, &["-t", "tmpfs", "-o", "ro,size=1m", "tidelog-test"]) else {
        return;
    };
    let data = place.join("data");
    let command = BrokerCommand::new(&data).unwrap();
    // The log of the broker goes beside the data: here that place is read-only too.
    let output = run_to_end(
        Command::new(binaries::broker().unwrap())
            .args(["--api-addr", "127.0.0.1:0", "--kafka-addr", "127.0.0.1:0", "--data-dir"])
            .arg(command.data_dir())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    );
    let output = output.unwrap();
    assert_one_clear_line(
        "no permission",
        &complaint("no permission", &output),
        &[data.to_str().unwrap(), "--data-dir"],
    );
}

#[test]
fn a_bad_flag_is_named_with_the_one_that_was_meant() {
    let cases: [(&[&str], &[&str]); 4] = [
        (
            &["--data-dri", "somewhere"],
            &["'--data-dri'", "did you mean '--data-dir'?", "tidelog-broker --help"],
        ),
        (&["--foo"], &["'--foo'", "tidelog-broker --help"]),
        (&["--set", "nothing"], &["--set", "KEY=VALUE", "tidelog-broker --help"]),
        (&["--api-addr", "nowhere"], &["nowhere", "--api-addr"]),
    ];
    for (flags, names) in cases {
        let output = broker(flags);
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
        assert_one_clear_line(&flags.join(" "), &String::from_utf8_lossy(&output.stderr), names);
    }
}

#[test]
fn a_bad_config_file_is_refused_with_the_key_that_was_meant() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("tidelog.toml");
    let path = file.to_str().unwrap();
    let cases: [(&str, &[&str]); 3] = [
        ("data_dri = \"x\"\n", &["data_dri", "data_dir", path]),
        ("data_dir = 5\n", &["data_dir", path]),
        ("data_dir = \n", &[path]),
    ];
    for (text, names) in cases {
        fs::write(&file, text).unwrap();
        let output = broker(&["--config", path]);
        assert_one_clear_line(text, &complaint(text, &output), names);
    }
    let missing = home.path().join("nothing.toml");
    let output = broker(&["--config", missing.to_str().unwrap()]);
    let what = "missing config file";
    assert_one_clear_line(what, &complaint(what, &output), &[missing.to_str().unwrap(), "--config"]);
}

fn broker(arguments: &[&str]) -> Output {
    let mut command = Command::new(binaries::broker().unwrap());
    let home = tempfile::tempdir().unwrap();
    command.args(arguments).current_dir(home.path());
    run_to_end(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped())).unwrap()
}

/// A mounted file system, unmounted when dropped.
pub(crate) struct Mount(std::path::PathBuf);

impl Mount {
    /// Mounts, or says why this machine cannot.
    pub(crate) fn new(place: &Path, arguments: &[&str]) -> Option<Self> {
        let output = Command::new("mount").args(arguments).arg(place).output();
        match output {
            Ok(output) if output.status.success() => Some(Self(place.to_path_buf())),
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr);
                say(&format!("SKIPPED: mounting needs root: {}", why.trim()));
                None
            }
            Err(error) => {
                say(&format!("SKIPPED: mounting needs the mount command: {error}"));
                None
            }
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            say(&format!("umount {} failed", self.0.display()));
        }
    }
}
