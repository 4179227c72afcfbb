use super::*;

fn route(group: &str, reads: &[&str], dead_letters: &str) -> Route {
    Route {
        group: GroupId::new(group).unwrap(),
        reads: reads.iter().map(|topic| TopicName::new(topic).unwrap()).collect(),
        dead_letters: TopicName::new(dead_letters).unwrap(),
    }
}

fn check(new: &Route, others: &[Route]) -> Option<Vec<String>> {
    check_circles(new, others).err().map(|error| error.circle)
}

#[test]
fn a_group_does_not_read_its_own_dead_letters() {
    let circle = check(&route("a", &["orders", "dlq.a"], "dlq.a"), &[]).unwrap();
    assert_eq!(circle, ["dlq.a", "group a", "dlq.a"]);
    assert_eq!(check(&route("a", &["orders"], "dlq.a"), &[]), None);
}

#[test]
fn dead_letters_of_dead_letters_are_fine_until_they_come_back() {
    let others = [route("a", &["orders"], "dlq.a"), route("b", &["dlq.a"], "dlq.b")];
    assert_eq!(check(&route("c", &["dlq.b"], "dlq.c"), &others), None);
    let circle = check(&route("c", &["dlq.b"], "orders"), &others).unwrap();
    assert_eq!(circle.first(), circle.last());
    for name in ["orders", "group a", "dlq.a", "group b", "dlq.b", "group c"] {
        assert!(circle.iter().any(|found| found == name), "{circle:?}");
    }
}

#[test]
fn a_group_that_is_changed_is_judged_by_what_it_becomes() {
    let others = [route("a", &["orders", "dlq.b"], "dlq.a"), route("b", &["dlq.a"], "dlq.b")];
    assert!(check(&others[1], &others).is_some());
    assert_eq!(check(&route("b", &["other"], "dlq.b"), &others), None);
}

#[test]
fn a_circle_that_others_have_among_themselves_does_not_hang_the_check() {
    let others = [route("x", &["t"], "u"), route("y", &["u"], "t")];
    assert_eq!(check(&route("a", &["orders"], "t"), &others), None);
    let text = check_circles(&route("a", &["dlq.a"], "dlq.a"), &others).unwrap_err().to_string();
    assert!(text.contains("dlq.a -> group a -> dlq.a"), "{text}");
}
