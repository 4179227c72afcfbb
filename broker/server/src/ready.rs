//! What the broker says when it serves: one JSON line for a program, and what to try next for a person.

use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Where the command line looks for a broker by itself.
const DEFAULT_PORT: u16 = 9640;

/// The message for whoever reads standard output.
pub(crate) fn message(api: SocketAddr, kafka: Option<SocketAddr>, data_dir: &Path) -> String {
    if std::io::stdout().is_terminal() { banner(api, kafka, data_dir) } else { line(api, kafka) }
}

fn line(api: SocketAddr, kafka: Option<SocketAddr>) -> String {
    // Neither an address nor a version has anything to escape.
    let kafka = kafka.map_or_else(|| "null".to_owned(), |kafka| format!("\"{kafka}\""));
    format!("{{\"ready\":true,\"kafka\":{kafka},\"api\":\"{api}\",\"version\":\"{VERSION}\"}}\n")
}

fn banner(api: SocketAddr, kafka: Option<SocketAddr>, data_dir: &Path) -> String {
    let url = format!("http://{}", reachable(api));
    let data = data_dir.display();
    let kafka = kafka.map_or_else(String::new, |kafka| {
        format!("Kafka clients connect to {} as they are.\n", reachable(kafka))
    });
    let export =
        if api.port() == DEFAULT_PORT { String::new() } else { format!("  export TIDELOG_BROKER={url}\n") };
    format!(
        "\nTidelog {VERSION} is ready at {url}, its data is in {data}. Ctrl-C stops it.\n{kafka}\n\
         Try in another terminal:\n{export}\
         \x20 cargo install --locked --path client/cli\n\
         \x20 tidelog topic create flights --partitions 3\n\
         \x20 printf 'hello\\nworld\\n' | tidelog produce flights\n\
         \x20 tidelog replay flights --from -1h\n\n"
    )
}

/// An address that a client on this machine can connect to.
fn reachable(api: SocketAddr) -> SocketAddr {
    let ip = match api.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, api.port())
}

#[cfg(test)]
mod tests {
    use super::{banner, line};

    #[test]
    fn a_program_gets_one_json_line() {
        let line = line("127.0.0.1:9640".parse().unwrap(), Some("127.0.0.1:9092".parse().unwrap()));
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(parsed["ready"], true);
        assert_eq!(parsed["api"], "127.0.0.1:9640");
        assert_eq!(parsed["kafka"], "127.0.0.1:9092");
        assert_eq!(line.lines().count(), 1);
    }

    #[test]
    fn a_person_gets_an_address_that_can_be_connected_to() {
        let kafka = Some("0.0.0.0:7001".parse().unwrap());
        let banner = banner("0.0.0.0:7000".parse().unwrap(), kafka, "data".as_ref());
        assert!(banner.contains("Kafka clients connect to 127.0.0.1:7001 "), "{banner}");
        assert!(banner.contains("export TIDELOG_BROKER=http://127.0.0.1:7000\n"), "{banner}");
        assert!(banner.contains("  tidelog topic create"), "{banner}");
    }
}
