//! The command line.

use std::path::PathBuf;

use clap::Parser;
use tidelog_broker::Inputs;

/// The Tidelog broker: a durable, replayable event log in one process over one directory.
///
/// Every setting is a key of the configuration. Keys come from the file, then from the environment
/// (TIDELOG_SECTION__KEY), then from flags; the last one wins. --print-config lists them all.
#[derive(Debug, Parser)]
#[command(name = "tidelog-broker", version, max_term_width = 100)]
pub(crate) struct Args {
    /// Where everything is kept; created when it does not exist [default: ./tidelog-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Where gRPC, /metrics, /livez and /readyz are served; port 0 picks a free one [default: 127.0.0.1:9640]
    #[arg(long, value_name = "HOST:PORT")]
    api_addr: Option<String>,
    /// Where Kafka clients connect; port 0 picks a free one, off is nowhere [default: 127.0.0.1:9092]
    #[arg(long, value_name = "HOST:PORT")]
    kafka_addr: Option<String>,
    /// What Kafka clients are told to connect to; auto is the address each has reached the broker at
    /// [default: auto]
    #[arg(long, value_name = "HOST:PORT")]
    advertised_kafka_addr: Option<String>,
    /// Let other machines connect although there is neither encryption nor authentication
    #[arg(long)]
    insecure_allow_remote_plaintext: bool,
    /// The configuration file [default: ./tidelog.toml or /etc/tidelog/tidelog.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set any key of the configuration; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
    /// error, warn, info, debug or trace, or a filter per module like tidelog_log=debug [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// auto (text on a terminal, JSON otherwise), text or json [default: auto]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Print the configuration, with where each value comes from, and exit
    #[arg(long)]
    pub(crate) print_config: bool,
}

impl Args {
    /// What the configuration is made of.
    pub(crate) fn inputs(self) -> Inputs {
        let mut flags: Vec<(String, String, String)> = self
            .set
            .into_iter()
            .map(|(key, value)| {
                let flag = format!("--set {key}");
                (key, value, flag)
            })
            .collect();
        let allow = self.insecure_allow_remote_plaintext.then(|| "true".to_owned());
        let named = [
            ("storage.data_dir", self.data_dir, "--data-dir"),
            ("api.addr", self.api_addr, "--api-addr"),
            ("kafka.addr", self.kafka_addr, "--kafka-addr"),
            ("kafka.advertised_addr", self.advertised_kafka_addr, "--advertised-kafka-addr"),
            ("api.insecure_allow_remote_plaintext", allow, "--insecure-allow-remote-plaintext"),
            ("log.level", self.log_level, "--log-level"),
            ("log.format", self.log_format, "--log-format"),
        ];
        for (key, value, flag) in named {
            flags.extend(value.map(|value| (key.to_owned(), value, flag.to_owned())));
        }
        Inputs { file: self.config, env: std::env::vars_os().collect(), flags }
    }
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, like storage.sync_threads=8")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}
