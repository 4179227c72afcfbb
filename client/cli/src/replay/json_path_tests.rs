use proptest::prelude::*;

use super::*;

fn passes(test: &str, json: &str) -> bool {
    test.parse::<JsonTest>().unwrap().passes(json.as_bytes())
}

#[test]
fn a_place_is_found_by_names_and_indexes() {
    let json = r#"{"user":{"id":42,"name":"Eva","tags":["a",{"b":true}]},"none":null}"#;
    for test in
        [".user.id=42", ".user.name=Eva", ".user.tags[0]=a", ".user.tags[1].b=true", ".user", ".none=null"]
    {
        assert!(passes(test, json), "{test}");
    }
    for test in [".user.id=43", ".user.tags[2]", ".user.name.x", ".none", ".id=42", "[0]"] {
        assert!(!passes(test, json), "{test}");
    }
}

#[test]
fn numbers_equal_any_spelling_and_strings_of_digits() {
    assert!(passes(".n=42", r#"{"n":42.0}"#));
    assert!(passes(".n=4.2e1", r#"{"n":42}"#));
    assert!(passes(".n=42", r#"{"n":"42"}"#));
    assert!(!passes(r#".n="42""#, r#"{"n":42}"#));
    assert!(!passes(".n=9007199254740993", r#"{"n":9007199254740992}"#));
}

#[test]
fn a_value_may_hold_an_equals_sign_and_the_root_is_a_dot() {
    assert!(passes(".q=a=b", r#"{"q":"a=b"}"#));
    assert!(passes(".=7", "7"));
    assert!(passes(".[1]=x", r#"["w","x"]"#));
}

#[test]
fn what_is_no_json_never_passes() {
    assert!(!passes(".a", "a"));
    assert!(!passes(".", ""));
}

#[test]
fn broken_paths_are_refused() {
    for text in ["a", "..a", ".a[", ".a[x]", ".a]b["] {
        assert!(text.parse::<JsonTest>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn any_test_and_any_bytes_are_read_or_refused(text: String, bytes: Vec<u8>) {
        if let Ok(test) = text.parse::<JsonTest>() {
            test.passes(&bytes);
        }
    }
}
