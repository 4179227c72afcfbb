use super::super::testkit::*;
use super::*;

fn place(partition: i32) -> (TopicId, PartitionIndex) {
    (topic(1), PartitionIndex::new(partition).unwrap())
}

fn two_members() -> (Bench, Client, Client) {
    let mut bench = Bench::new(&[("a", 1, 4)]);
    let mut clients = ["m1", "m2"].map(|id| Client::new(id, &["a"]));
    for _ in 0..4 {
        for client in &mut clients {
            round(&mut bench, client);
        }
    }
    let [first, second] = clients;
    assert_eq!((count(&first), count(&second)), (2, 2));
    (bench, first, second)
}

fn round(bench: &mut Bench, client: &mut Client) -> i32 {
    let reply = bench.send(&client.request()).unwrap();
    let interval = reply.heartbeat_interval_ms;
    client.answered(Some(Ok(reply)));
    client.act();
    interval
}

fn count(client: &Client) -> usize {
    client.owned.values().map(std::collections::BTreeSet::len).sum()
}

fn dones(bench: &Bench) -> usize {
    bench.log.iter().filter(|event| matches!(event, ConsumerGroupEvent::SeekDone { .. })).count()
}

#[test]
fn a_seek_waits_until_nobody_reads_and_then_members_get_the_partitions_again() {
    let (mut bench, mut first, mut second) = two_members();
    let wanted = positions(&[(1, 0, 5), (1, 1, 5), (1, 2, 5), (1, 3, 5)]);
    bench.seek(&wanted);
    assert_eq!((bench.group.pending_seek(), dones(&bench)), (&wanted, 0));

    // The first hears of it, gives up and says so; the second still reads.
    assert_eq!(round(&mut bench, &mut first), 500, "members are asked again soon");
    assert_eq!(count(&first), 0);
    round(&mut bench, &mut first);
    assert_eq!(dones(&bench), 0);
    round(&mut bench, &mut second);
    round(&mut bench, &mut second);
    assert_eq!((dones(&bench), bench.group.pending_seek().len()), (1, 0));

    for _ in 0..3 {
        round(&mut bench, &mut first);
        round(&mut bench, &mut second);
    }
    assert_eq!((count(&first), count(&second)), (2, 2));
    assert_eq!(round(&mut bench, &mut first), 5_000, "and then as usual");
    assert_eq!(bench.replayed().state, bench.group.state);
}

#[test]
fn what_was_read_before_a_seek_cannot_be_committed_after_it() {
    let (mut bench, mut first, mut second) = two_members();
    let mine: Vec<i32> = first.owned[&topic(1)].iter().map(|index| index.get()).collect();
    bench.seek(&positions(&[(1, mine[0], 0)]));
    let sought = place(mine[0]);

    round_without_acting(&mut bench, &mut first);
    assert_eq!(bench.group.check_place("m1", sought), Ok(()), "it still has it: the seek comes after");
    assert!(bench.group.check_place("m2", sought).is_err(), "nobody else may");
    first.act();
    round(&mut bench, &mut first);
    assert_eq!(dones(&bench), 1);
    let epoch = first.epoch;
    assert_eq!(bench.group.check_commit("m1", epoch), Ok(()), "its other partition may be committed");
    assert_eq!(bench.group.check_place("m1", place(mine[1])), Ok(()));
    assert!(bench.group.check_place("m1", sought).is_err(), "the old position may not");

    // A restart changes nothing about it.
    bench.group = bench.replayed();
    assert!(bench.group.check_place("m1", sought).is_err());
    for _ in 0..3 {
        round(&mut bench, &mut first);
        round(&mut bench, &mut second);
    }
    let owner = if first.owned[&topic(1)].contains(&sought.1) { "m1" } else { "m2" };
    assert_eq!(bench.group.check_place(owner, sought), Ok(()), "who has it now may commit it");
    assert!(bench.group.check_commit("m1", epoch).is_err(), "and an old epoch may commit nothing");
}

fn round_without_acting(bench: &mut Bench, client: &mut Client) {
    let reply = bench.send(&client.request()).unwrap();
    client.answered(Some(Ok(reply)));
}

#[test]
fn a_seek_of_what_nobody_reads_is_done_at_once() {
    let mut bench = Bench::new(&[("a", 1, 1), ("b", 2, 1)]);
    bench.seek(&positions(&[(1, 0, 3)]));
    assert_eq!(dones(&bench), 1);
    let mut client = Client::new("m1", &["a"]);
    round(&mut bench, &mut client);
    let epoch = client.epoch;
    bench.seek(&positions(&[(2, 0, 3)]));
    assert_eq!(dones(&bench), 2);
    round(&mut bench, &mut client);
    assert_eq!(client.epoch, epoch, "no rebalance follows");
}

#[test]
fn members_that_go_let_a_seek_go_on() {
    let (mut bench, first, _) = two_members();
    bench.seek(&positions(&[(1, 0, 5), (1, 1, 5), (1, 2, 5), (1, 3, 5)]));
    bench.send(&beat(&first.member_id, LEAVE)).unwrap();
    assert_eq!(dones(&bench), 0);
    bench.pass(46);
    assert_eq!((dones(&bench), bench.group.is_empty()), (1, true));
    assert!(bench.group.state.fenced.is_empty());
}

const LEAVE: i32 = super::super::LEAVE_EPOCH;

#[test]
fn a_later_seek_takes_the_place_of_one_that_waits() {
    let (mut bench, mut first, mut second) = two_members();
    bench.seek(&positions(&[(1, 0, 5), (1, 1, 5)]));
    bench.seek(&positions(&[(1, 1, 9), (1, 2, 9)]));
    let wanted = positions(&[(1, 0, 5), (1, 1, 9), (1, 2, 9)]);
    assert_eq!(*bench.group.pending_seek(), wanted);
    for _ in 0..4 {
        round(&mut bench, &mut first);
        round(&mut bench, &mut second);
    }
    let done = bench.log.iter().find_map(|event| match event {
        ConsumerGroupEvent::SeekDone { positions, .. } => Some(positions.clone()),
        _ => None,
    });
    assert_eq!(done, Some(wanted));
}
