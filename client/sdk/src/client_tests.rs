//! The URL forms that are taken and those that are refused.

use super::*;

#[test]
fn both_schemes_are_taken_and_scheme_and_port_may_be_left_out() {
    let cases = [
        ("http://127.0.0.1:9640", "http://127.0.0.1:9640"),
        ("tidelog://broker:1", "http://broker:1"),
        ("tidelog://broker", "http://broker:9640"),
        ("http://localhost/", "http://localhost:9640"),
        ("http://[::1]:9641", "http://[::1]:9641"),
        ("tidelog://[::1]", "http://[::1]:9640"),
        ("127.0.0.1:9641", "http://127.0.0.1:9641"),
        ("broker", "http://broker:9640"),
        ("[::1]:1/", "http://[::1]:1"),
    ];
    for (given, expected) in cases {
        assert_eq!(normalize_url(given).unwrap(), expected, "{given}");
    }
}

#[test]
fn a_bad_url_is_refused_with_the_form_to_use() {
    let cases = [
        ("127.0.0.1:port", "\"port\" is not a port"),
        ("", "expected a host and a port"),
        ("kafka://localhost", "unknown scheme \"kafka\""),
        ("https://localhost", "TLS is not supported by this version"),
        ("http://", "expected a host and a port"),
        ("http://localhost/topics", "expected a host and a port"),
        ("http://localhost:99999", "\"99999\" is not a port"),
    ];
    for (url, why) in cases {
        let error = normalize_url(url).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::InvalidRequest);
        assert_eq!(error.message(), format!("{url:?} is not a broker address: {why}"));
        assert_eq!(error.help(), Some("write it as host:port"));
    }
}

#[test]
fn a_client_outside_of_a_runtime_is_an_error_not_a_panic() {
    let error = Client::builder("http://localhost").build().unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::InvalidRequest);
}
