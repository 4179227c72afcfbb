use proptest::prelude::*;

use super::*;

/// The lines of `text` when the system brings `read_bytes` at a time.
fn lines(text: &[u8], read_bytes: usize, line_bytes_max: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    read_lines(BufReader::with_capacity(read_bytes, text), line_bytes_max, |chunk| match chunk {
        Chunk::Lines(more) => {
            assert!(!more.is_empty());
            lines.extend(more);
            true
        }
        Chunk::Failed(error) => panic!("{error}"),
    });
    lines
}

fn texts(lines: Vec<Line>) -> Vec<Result<Bytes, String>> {
    assert!(lines.iter().map(|line| line.number).eq(1..=lines.len() as u64));
    lines.into_iter().map(|line| line.text).collect()
}

#[test]
fn the_last_line_needs_no_end_and_empty_lines_count() {
    let text = |text: &'static str| Ok(Bytes::from(text));
    assert_eq!(texts(lines(b"a\n\nb", 2, 9)), [text("a"), text(""), text("b")]);
    assert_eq!(texts(lines(b"a\r\n", 2, 9)), [text("a\r")]);
    assert_eq!(texts(lines(b"", 2, 9)), []);
}

#[test]
fn a_line_too_long_is_named_and_costs_no_other() {
    let lines = texts(lines(b"abcdef\nxyz\n", 2, 3));
    assert_eq!(lines[0].clone().unwrap_err(), "has 6 bytes, at most 3 are possible");
    assert_eq!(lines[1], Ok(Bytes::from("xyz")));
}

#[test]
fn reading_ends_when_nobody_wants_more() {
    let mut chunks = 0;
    read_lines(BufReader::with_capacity(2, &b"a\nb\nc\n"[..]), 9, |_| {
        chunks += 1;
        false
    });
    assert_eq!(chunks, 1);
}

#[test]
fn a_failure_of_the_input_is_passed_on() {
    struct Broken;
    impl io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        }
    }
    let mut failed = 0;
    read_lines(BufReader::new(Broken), 9, |chunk| {
        failed += usize::from(matches!(chunk, Chunk::Failed(_)));
        true
    });
    assert_eq!(failed, 1);
}

proptest! {
    #[test]
    fn lines_joined_are_the_input(parts in proptest::collection::vec("[a-z\n]{0,9}", 0..9), read_bytes in 1_usize..9) {
        let text = parts.concat();
        let lines = lines(text.as_bytes(), read_bytes, 1_000);
        let joined: Vec<u8> =
            lines.iter().flat_map(|line| [line.text.clone().unwrap(), Bytes::from("\n")].concat()).collect();
        let expected = if text.is_empty() || text.ends_with('\n') { text } else { format!("{text}\n") };
        prop_assert_eq!(joined, expected.into_bytes());
    }
}
