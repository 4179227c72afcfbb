//! The tables of `docs/` that are written from the code.

use std::fs;

use tidelog_core::catalog::{ConfigKey, KEPT_CONFIGS, RETIRED_CONFIGS, TOPIC_CONFIGS};
use tidelog_core::delivery::QUEUE_CONFIGS;
use tidelog_kafka::{APIS, SKIPPED};
use tidelog_model::ErrorCode;
use tidelog_tests::binaries::root;

/// What stands between the two marks of a table in a document.
fn check(document: &str, name: &str, table: &str) {
    let path = root().join(document);
    let text = fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let start = text.find(&begin).unwrap_or_else(|| panic!("{document} has no {begin:?}")) + begin.len();
    let stop = text.find(&end).unwrap_or_else(|| panic!("{document} has no {end:?}"));
    let found = text.get(start..stop).unwrap();
    if found == table {
        return;
    }
    assert!(
        std::env::var_os("TIDELOG_BLESS").is_some(),
        "{document}: the table {name} is not what the code says; run again with TIDELOG_BLESS=1"
    );
    let blessed = format!("{}{table}{}", text.get(..start).unwrap(), text.get(stop..).unwrap());
    fs::write(path, blessed).unwrap();
}

fn config_table<'a>(configs: impl Iterator<Item = &'a ConfigKey>) -> String {
    let mut table = "| config | type | default | what it does |\n| --- | --- | --- | --- |\n".to_owned();
    for config in configs {
        let kind = format!("{}: {}", config.kind.name(), config.kind.allowed());
        let default =
            if config.default.is_empty() { "nothing".to_owned() } else { format!("`{}`", config.default) };
        let row = format!("| `{}` | {kind} | {default} | {} |\n", config.key, config.documentation);
        table.push_str(&row);
    }
    table
}

#[test]
fn topic_configs_are_documented_as_they_are() {
    check("docs/topic-configs.md", "topic-configs", &config_table(TOPIC_CONFIGS.iter()));
    let kept = config_table(KEPT_CONFIGS.iter().chain(RETIRED_CONFIGS));
    check("docs/topic-configs.md", "kept-configs", &kept);
}

#[test]
fn queue_configs_are_documented_as_they_are() {
    check("docs/queues.md", "queue-configs", &config_table(QUEUE_CONFIGS.iter()));
}

#[test]
fn error_codes_are_documented_as_they_are() {
    let mut table = "| code | the same request may succeed later | the record may be stored all the same |\n\
                     | --- | --- | --- |\n"
        .to_owned();
    let yes = |yes: bool| if yes { "yes" } else { "no" };
    for code in ErrorCode::ALL {
        let (retry, written) = (yes(code.is_retryable()), yes(code.may_have_been_written()));
        table.push_str(&format!("| `{}` | {retry} | {written} |\n", code.name()));
    }
    check("docs/error-codes.md", "error-codes", &table);
}

#[test]
fn kafka_apis_are_documented_as_they_are() {
    let mut served = "| key | API | versions | |\n| ---: | --- | --- | --- |\n".to_owned();
    for api in APIS {
        let versions =
            if api.min == api.max { api.min.to_string() } else { format!("{}-{}", api.min, api.max) };
        served.push_str(&format!("| {} | {} | {versions} | {} |\n", api.key, api.name, api.note));
    }
    check("docs/compatibility.md", "kafka-apis", &served);
    let mut skipped = "| key | API | why |\n| ---: | --- | --- |\n".to_owned();
    for api in SKIPPED {
        skipped.push_str(&format!("| {} | {} | {} |\n", api.key, api.name, api.why));
    }
    check("docs/compatibility.md", "kafka-apis-skipped", &skipped);
}
