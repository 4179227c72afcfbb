//! kcat, the command line of librdkafka: what one types at a Kafka broker.

use std::process::{Command, Stdio};

use serde_json::Value as Json;

use crate::installed::on_path;
use crate::program::broker;
use crate::records::run;

#[test]
fn kcat_lists_produces_and_consumes() {
    let Some(kcat) = on_path("kcat") else { return };
    let home = tempfile::tempdir().unwrap();
    let broker = broker(home.path());
    let kcat = |words: &[&str]| {
        let mut command = Command::new(&kcat);
        command.args(["-b", &broker.bootstrap_servers()]).args(words).stdin(Stdio::null());
        String::from_utf8(run(&mut command).stdout).unwrap()
    };
    let file = |name: &str, text: &str| {
        let path = home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let lines: String = (0..200).map(|number| format!("key {number}|value {number}\n")).collect();
        let input = file("lines", &lines);
        kcat(&["-P", "-t", codec, "-p", "0", "-K", "|", "-z", codec, "-H", "from=kcat", "-l", &input]);
        let read = kcat(&["-C", "-t", codec, "-p", "0", "-e", "-q", "-f", "%k|%s\n"]);
        assert_eq!(read, lines, "{codec}");
        let headers = kcat(&["-C", "-t", codec, "-p", "0", "-e", "-q", "-o", "-1", "-f", "%o %h"]);
        assert_eq!(headers, "199 from=kcat", "{codec}");
    }
    // With -Z an empty value is none: a tombstone.
    kcat(&["-P", "-t", "tombstones", "-p", "0", "-Z", "-K", "|", "-l", &file("tombstone", "gone|\n")]);
    assert_eq!(
        kcat(&["-C", "-t", "tombstones", "-p", "0", "-e", "-q", "-Z", "-f", "%k %s %S"]),
        "gone NULL -1"
    );

    let listed: Json = serde_json::from_str(&kcat(&["-L", "-J"])).unwrap();
    let topics: Vec<&str> =
        listed["topics"].as_array().unwrap().iter().filter_map(|topic| topic["topic"].as_str()).collect();
    assert!(topics.contains(&"zstd"), "{topics:?}");
    assert_eq!(listed["controllerid"], listed["brokers"][0]["id"]);
    assert_eq!(kcat(&["-Q", "-t", "zstd:0:-1"]), "zstd [0] offset 200\n");
    assert!(broker.terminate().unwrap().success());
}
