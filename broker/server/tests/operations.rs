//! The tables of `docs/operations.md` are what the binary and the metrics page say.
//!
//! `TIDELOG_BLESS=1` writes them anew.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test program: a failure is a panic with its cause")]

use std::fs;
use std::process::Command;

use tidelog_broker::{Config, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
/// Keys whose defaults depend on the processor.
const BY_CORES: [(&str, &str); 2] = [
    ("runtime.worker_threads", "as many as cores"),
    ("storage.recovery_threads", "4 for each core, at most 32"),
];

/// Holds a table against what stands between its two marks.
fn check(name: &str, table: &str) {
    let text = fs::read_to_string(DOCUMENT).unwrap();
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("no {begin:?}"));
    let (found, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end:?}"));
    if found == table {
        return;
    }
    assert!(
        std::env::var_os("TIDELOG_BLESS").is_some(),
        "the table {name} of {DOCUMENT} is not what the code says; run again with TIDELOG_BLESS=1"
    );
    fs::write(DOCUMENT, format!("{before}{begin}{table}{end}{after}")).unwrap();
}

#[test]
fn the_tables_are_what_the_broker_says() {
    check("keys", &keys());
    check("metrics", &metrics());
}

fn keys() -> String {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidelog-broker"));
    // Neither a file nor a variable of this machine may get into the document.
    let output = command.arg("--print-config").current_dir(home.path()).env_clear().output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let mut table = "| key | default | what it is |\n| --- | --- | --- |\n".to_owned();
    let mut section = String::new();
    for line in printed.lines().filter(|line| !line.is_empty()) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
            continue;
        }
        let (setting, comment) = line.split_once("  # ").unwrap();
        let (name, value) = setting.split_once(" = ").unwrap();
        let (source, help) = comment.split_once("; ").unwrap();
        assert_eq!(source, "default", "{line}");
        let key = format!("{section}.{name}");
        let default = match BY_CORES.iter().find(|(by_cores, _)| *by_cores == key) {
            Some((_, text)) => (*text).to_owned(),
            None => format!("`{value}`"),
        };
        table.push_str(&format!("| `{key}` | {default} | {help} |\n"));
    }
    table
}

/// The name of each metric as a query writes it, its kind and its help.
#[tokio::main]
async fn metrics() -> String {
    let home = tempfile::tempdir().unwrap();
    let mut config = Config::new(home.path());
    config.api_addr = "127.0.0.1:0".parse().unwrap();
    config.kafka_addr = Some("127.0.0.1:0".parse().unwrap());
    let server = Server::start(config).await.unwrap();
    let mut stream = TcpStream::connect(server.api_addr()).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    server.shutdown().await.unwrap();

    let mut table = "| metric | kind | what it is |\n| --- | --- | --- |\n".to_owned();
    let mut help = "";
    for line in page.lines() {
        if let Some((_, text)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            help = text;
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let suffix = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            table.push_str(&format!("| `{name}{suffix}` | {kind} | {help} |\n"));
        }
    }
    table
}
