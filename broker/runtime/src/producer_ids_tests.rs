use super::*;

fn ids(epoch: i32) -> ProducerIds {
    ProducerIds::new(LeaderEpoch::new(epoch).unwrap())
}

#[test]
fn ids_are_positive_and_differ_within_a_run_and_between_runs() {
    let (first, second) = (ids(1), ids(2));
    let mut all: Vec<i64> =
        (0..100).flat_map(|_| [first.next(), second.next()]).map(|id| id.unwrap().0).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 200);
    let largest = ids(i32::MAX);
    largest.next.store(u32::MAX - 1, Ordering::Relaxed);
    assert_eq!(largest.next(), Some(ProducerId(i64::MAX - 1)));
    assert_eq!(largest.next(), None);
}
