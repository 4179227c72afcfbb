use super::*;

/// The bytes of a response that has all of them in memory.
pub(crate) fn gathered(response: Response) -> Gathered {
    let len = response.len();
    let mut parts = response.into_parts();
    let gathered = match parts.next() {
        Some(Part::Gathered(gathered)) => gathered,
        Some(Part::Extent(extent)) => panic!("{extent:?} is not in memory"),
        None => Gathered::default(),
    };
    assert!(parts.next().is_none(), "bytes in memory leave together");
    assert_eq!(gathered.remaining(), len);
    gathered
}

/// The same in one piece.
pub(crate) fn bytes_of(response: Response) -> Bytes {
    let mut gathered = gathered(response);
    gathered.copy_to_bytes(gathered.remaining())
}

fn drain(response: Response, step: usize) -> Vec<u8> {
    let (mut gathered, mut out) = (gathered(response), Vec::new());
    while gathered.has_remaining() {
        let count = step.min(gathered.chunk().len()).max(1);
        out.extend_from_slice(&gathered.chunk()[..count]);
        gathered.advance(count);
    }
    out
}

#[test]
fn a_frame_is_size_correlation_id_tags_and_the_pieces() {
    for (flexible, head) in [(false, &[0, 0, 0, 9, 0, 0, 0, 7][..]), (true, &[0, 0, 0, 10, 0, 0, 0, 7, 0])] {
        for step in 1..6 {
            let mut response = Response::new(Bytes::from_static(b"ab"));
            response.push(Bytes::new());
            response.push(Bytes::from_static(b"cde"));
            let frame = response.into_frame(7, flexible).unwrap();
            assert_eq!(frame.len(), head.len() + 5);
            assert_eq!(drain(frame, step), [head, b"abcde"].concat());
        }
    }
}

#[test]
fn responses_are_put_behind_each_other() {
    let mut response = Response::new(Bytes::from_static(b"ab"));
    response.append(Response::new(Bytes::from_static(b"cd")));
    response.append(Response::default());
    assert_eq!(response.len(), 4);
    assert_eq!(drain(response, 3), b"abcd");
}

#[test]
fn advancing_over_pieces_lands_inside_the_right_one() {
    let mut response = Response::new(Bytes::from_static(b"ab"));
    response.push(Bytes::from_static(b"cde"));
    response.push(Bytes::from_static(b"fg"));
    let mut gathered = gathered(response);
    gathered.advance(4);
    let mut slices = [IoSlice::new(&[]); 4];
    assert_eq!(gathered.chunks_vectored(&mut slices), 2);
    assert_eq!((&*slices[0], &*slices[1]), (&b"e"[..], &b"fg"[..]));
    assert_eq!(gathered.remaining(), 3);
}
