//! Values come from where the order says, and mistakes are named.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use super::{Config, ConfigError, Inputs, LogFormat, load};

/// A configuration of a file's text, environment variables, and flags as keys and values.
fn config(file: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut on_disk = tempfile::NamedTempFile::new().unwrap();
    on_disk.write_all(file.as_bytes()).unwrap();
    let os = |text: &str| OsString::from(text);
    load(&Inputs {
        file: Some(on_disk.path().to_owned()),
        env: env.iter().map(|(name, value)| (os(name), os(value))).collect(),
        flags: flags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned(), "--set".to_owned())).collect(),
    })
}

#[test]
fn each_level_overrides_the_one_before() {
    let file = "[api]\naddr = \"127.0.0.1:1\"\n[storage]\ndata_dir = \"a\"\nsync_threads = 7\n";
    let plain = config("", &[], &[]).unwrap();
    assert_eq!(plain.data_dir, PathBuf::from("./tidelog-data"));
    let read = config(file, &[], &[]).unwrap();
    assert_eq!((read.api_addr.port(), read.sync_threads), (1, 7));
    let env = [("TIDELOG_API__ADDR", "127.0.0.1:2"), ("TIDELOG_STORAGE__DATA_DIR", "b")];
    let over = config(file, &env, &[]).unwrap();
    assert_eq!((over.api_addr.port(), over.data_dir, over.sync_threads), (2, PathBuf::from("b"), 7));
    let last = config(file, &env, &[("api.addr", "localhost:3")]).unwrap();
    assert_eq!((last.api_addr.port(), &last.data_dir), (3, &PathBuf::from("b")));
    let printed = last.print();
    assert!(printed.contains("addr = \"127.0.0.1:3\"  # flag --set;"), "{printed}");
    assert!(printed.contains("data_dir = \"b\"  # env TIDELOG_STORAGE__DATA_DIR;"), "{printed}");
    assert!(printed.contains("sync_threads = 7  # file "), "{printed}");
    assert!(printed.contains("level = \"info\"  # default;"), "{printed}");
}

#[test]
fn what_is_printed_gives_the_same_values_again() {
    let file = "[storage]\ndata_dir = 'C:\\odd \"dir\"'\n[limits]\nin_flight_bytes = \"64MiB\"\n\
                [topics.defaults]\nretention.ms = 86400000\n\"tidelog.flush.policy\" = \"os\"\n";
    let first = config(file, &[], &[("log.format", "json"), ("shutdown.grace", "1500ms")]).unwrap();
    assert_eq!(first.in_flight_bytes_max, 64 << 20);
    assert_eq!(first.topic_defaults["retention.ms"], "86400000");
    assert_eq!(first.topic_defaults["tidelog.flush.policy"], "os");
    let again = config(&first.print(), &[], &[]).unwrap();
    assert_eq!((again.log_format, again.shutdown_grace), (LogFormat::Json, Duration::from_millis(1500)));
    let without_sources =
        |config: &Config| format!("{:?}", Config { sources: Default::default(), ..config.clone() });
    assert_eq!(without_sources(&first), without_sources(&again));
}

#[test]
fn topic_defaults_come_from_the_environment_too() {
    let env = [("TIDELOG_TOPICS__DEFAULTS__RETENTION_MS", "5"), ("TIDELOG_BROKER", "http://elsewhere")];
    assert_eq!(config("", &env, &[]).unwrap().topic_defaults["retention.ms"], "5");
}

#[test]
fn mistakes_name_their_place_and_the_remedy() {
    let message = |file: &str, env: &[(&str, &str)], flags: &[(&str, &str)]| {
        config(file, env, flags).unwrap_err().message
    };
    let wrong = message("[api]\nadr = 'x'\n", &[], &[]);
    assert!(wrong.contains("api.adr: did you mean api.addr?") && wrong.contains("(file "), "{wrong}");
    let wrong = message("data_dir = 'x'\n", &[], &[]);
    assert!(wrong.contains("did you mean storage.data_dir?"), "{wrong}");
    let wrong = message("[api]\naddr = ['x']\n", &[], &[]);
    assert!(wrong.contains("api.addr: write a string"), "{wrong}");
    let wrong = message("[api]\naddr = \n", &[], &[]);
    assert!(wrong.contains("is not TOML: line 2: ") && wrong.lines().count() == 1, "{wrong}");
    let wrong = message("", &[("TIDELOG_API__ADDR", "nowhere")], &[]);
    assert!(wrong.contains("HOST:PORT") && wrong.contains("(env TIDELOG_API__ADDR)"), "{wrong}");
    let wrong = message("", &[("TIDELOG_LIMITS__IN_FLIGHT_BYTES", "0")], &[]);
    assert!(wrong.contains("at least 1"), "{wrong}");
    for level in ["loud", "tidelog_log=", "info,tidelog_log=loud"] {
        let wrong = message("", &[], &[("log.level", level)]);
        assert!(wrong.contains("is not a log level"), "{wrong}");
    }
    let missing = load(&Inputs { file: Some("/nowhere/x.toml".into()), ..Inputs::default() }).unwrap_err();
    assert!(missing.message.contains("/nowhere/x.toml (--config)"), "{missing}");
}

#[test]
fn timeouts_of_groups_must_go_together() {
    let flags = [("groups.consumer_session_timeout", "20s"), ("groups.consumer_heartbeat_interval", "7s")];
    let group = config("", &[], &flags).unwrap().broker_options(None).group_config.consumer;
    assert_eq!((group.session_timeout_ms, group.heartbeat_interval_ms), (20_000, 7_000));
    for (shorter, longer, what) in [
        ("groups.consumer_heartbeat_interval", "groups.consumer_session_timeout", "50s"),
        ("groups.session_timeout_min", "groups.session_timeout_max", "1h"),
    ] {
        let error = config("", &[], &[(shorter, what)]).unwrap_err().to_string();
        assert!(error.contains(shorter) && error.contains(longer) && error.contains("--set"), "{error}");
    }
}
