use super::*;
use crate::skipped::SKIPPED;

#[test]
fn the_table_is_sorted_and_names_no_api_twice() {
    assert!(APIS.windows(2).all(|pair| pair[0].key < pair[1].key));
}

#[test]
fn names_versions_and_flexible_versions_are_the_protocols() {
    for api in APIS {
        let known = kafka_wire::API_DESCRIPTORS.iter().find(|known| known.api_key.value() == api.key);
        let known = known.unwrap_or_else(|| panic!("there is no API {}", api.key));
        assert_eq!(known.request.name, format!("{}Request", api.name));
        assert!(api.told_min <= api.min && api.min <= api.max, "{}", api.name);
        assert!(known.supported_versions.max().value() >= api.max, "{}", api.name);
        let flexible = known.flexible_versions.map_or(i16::MAX, |range| range.min().value());
        assert_eq!(flexible, api.flexible_from, "{}", api.name);
    }
}

#[test]
fn every_api_is_served_or_skipped() {
    let is_known = |key| find(key).is_some() || SKIPPED.iter().any(|skipped| skipped.key == key);
    let missing: Vec<&str> = kafka_wire::API_DESCRIPTORS
        .iter()
        .filter(|known| !is_known(known.api_key.value()))
        .map(|known| known.request.name)
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
