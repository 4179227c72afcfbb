use clap::Parser as _;
use tidelog_client::Timestamp;

use super::*;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    args: ProduceArgs,
}

fn parser(flags: &[&str]) -> Parser {
    let words = ["produce", "orders"].iter().chain(flags);
    Parser::new(TopicName::new("orders").unwrap(), &Line::parse_from(words).args)
}

fn parse(flags: &[&str], line: &'static str) -> Result<Record, String> {
    parser(flags).parse(Bytes::from(line))
}

#[test]
fn a_line_is_a_value() {
    let record = parse(&[], "a:b").unwrap();
    assert_eq!((record.get_key(), record.get_value()), (None, Some(&Bytes::from("a:b"))));
    assert_eq!(parse(&[], "").unwrap().get_value(), Some(&Bytes::new()));
}

#[test]
fn a_separator_splits_at_its_first_place_only() {
    let record = parse(&["-K", "::"], "k::a::b").unwrap();
    assert_eq!(record.get_key(), Some(&Bytes::from("k")));
    assert_eq!(record.get_value(), Some(&Bytes::from("a::b")));
    assert_eq!(parse(&["-K", "::"], "a:b").unwrap_err(), r#"no "::" between key and value"#);
}

#[test]
fn flags_give_every_record_key_headers_and_partition() {
    let record = parse(&["-k", "k", "-H", "a=1", "-H", "a=2", "-p", "3"], "v").unwrap();
    assert_eq!(record.get_key(), Some(&Bytes::from("k")));
    assert_eq!(record.get_partition(), Some(3));
    let header = |value: &'static str| (Bytes::from("a"), Some(Bytes::from(value)));
    assert_eq!(record.get_headers(), [header("1"), header("2")]);
}

#[test]
fn a_json_line_brings_its_own_parts() {
    const LINE: &str = r#"{"topic":"x","partition":2,"offset":9,"timestamp":5,"key":"k","value":null,"headers":[["h",null]]}"#;
    let record = parse(&["-i", "json", "-H", "a=1"], LINE).unwrap();
    assert_eq!(record.topic_name().unwrap().as_str(), "orders");
    assert_eq!((record.get_key(), record.get_value()), (Some(&Bytes::from("k")), None));
    assert_eq!((record.get_timestamp(), record.get_partition()), (Some(Timestamp::from_millis(5)), None));
    assert_eq!(record.get_headers().len(), 2);
    let same = ["-i", "json", "--partition-by", "same"];
    assert_eq!(parse(&same, LINE).unwrap().get_partition(), Some(2));
    assert!(parse(&same, r#"{"value":"v"}"#).unwrap_err().contains("names no partition"));
    assert!(parse(&same, r#"{"value":"v","partition":-1}"#).unwrap_err().contains("negative"));
    assert!(parse(&["-i", "json"], "v").unwrap_err().contains("not a record as JSON"));
}
