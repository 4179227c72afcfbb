use super::*;

#[test]
fn software_words_follow_kip_511() {
    for good in ["librdkafka", "apache-kafka-java", "2.15.0", "a", "v1.2-rc1"] {
        assert!(is_software_word(good), "{good}");
    }
    for bad in ["", "-a", "a-", ".", "a b", "ä", "a\n"] {
        assert!(!is_software_word(bad), "{bad:?}");
    }
}
