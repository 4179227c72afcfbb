//! "Did you mean": the nearest key to one that does not exist.

use super::keys::KEYS;

/// What to say about a key that does not exist.
pub(super) fn unknown_key(name: &str) -> String {
    match nearest(name, KEYS.iter().map(|key| key.name)) {
        Some(known) => format!("there is no key {name}: did you mean {known}?"),
        None => format!("there is no key {name}: --print-config lists them all"),
    }
}

/// The candidate that is least far from `name`, when one is near.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let last = |key: &'a str| key.rsplit('.').next().unwrap_or_default();
    let name_last = name.rsplit('.').next().unwrap_or_default();
    let measured = candidates.map(|candidate| {
        // The right name in the wrong section, or in none, is a near miss.
        let far = distance(name, candidate).min(1 + distance(name_last, last(candidate)));
        (far, candidate)
    });
    let (far, candidate) = measured.min_by_key(|(far, _)| *far)?;
    (far <= (name.len() / 3).clamp(3, 6)).then_some(candidate)
}

/// The Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut behind = i + 1;
        let mut next = vec![behind];
        for (right, above) in b.iter().zip(row.iter().skip(1)) {
            let change = diagonal + usize::from(left != *right);
            behind = change.min(above + 1).min(behind + 1);
            diagonal = *above;
            next.push(behind);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn distances_are_levenshteins() {
        for (a, b, far) in [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "abc", 0), ("ab", "ba", 2)] {
            assert_eq!(distance(a, b), far, "{a} {b}");
            assert_eq!(distance(b, a), far, "{b} {a}");
        }
    }

    #[test]
    fn a_near_key_is_suggested_and_a_far_one_is_not() {
        let keys = ["api.addr", "storage.data_dir"];
        assert_eq!(nearest("api.adr", keys.into_iter()), Some("api.addr"));
        assert_eq!(nearest("server.data_dir", keys.into_iter()), Some("storage.data_dir"));
        assert_eq!(nearest("something.else.entirely", keys.into_iter()), None);
    }
}
