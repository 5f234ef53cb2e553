//! Small pieces of text.

use jiff::{SignedDuration, Timestamp};

/// A number of things.
pub(super) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// How long ago something was, as kubectl tells it (upstream: `k8s.io/apimachinery/pkg/util/duration.HumanDuration`).
pub(super) fn age(since: Timestamp, now: Timestamp) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    if since == Timestamp::UNIX_EPOCH {
        return "<unknown>".to_owned();
    }
    let seconds = SignedDuration::max(now.duration_since(since), SignedDuration::ZERO).as_secs();
    let two = |whole: i64, unit: char, part: i64, of: i64, smaller: char| match whole % part / of {
        0 => format!("{}{unit}", whole / part),
        rest => format!("{}{unit}{rest}{smaller}", whole / part),
    };
    match seconds {
        ..120 => format!("{seconds}s"),
        120..600 => two(seconds, 'm', MINUTE, 1, 's'),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(seconds, 'h', HOUR, MINUTE, 'm'),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(seconds, 'd', DAY, HOUR, 'h'),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => two(seconds, 'y', YEAR, DAY, 'd'),
        _ => format!("{}y", seconds / YEAR),
    }
}

/// Breaks a text into lines at blanks: the first of so many characters, the others of so many. A word that is longer has
/// a line of its own.
pub(super) fn wrap(text: &str, first: usize, others: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let width = if lines.len() > 1 { others } else { first };
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_at_blanks() {
        assert_eq!(wrap("one two three", 7, 7), ["one two", "three"]);
        assert_eq!(wrap("one two three four", 3, 9), ["one", "two three", "four"]);
        assert_eq!(wrap("a-very-long-word b", 5, 5), ["a-very-long-word", "b"]);
        assert_eq!(wrap("", 5, 5), [""]);
    }

    #[test]
    fn tells_ages_as_kubectl_does() {
        let now = Timestamp::from_second(2_000_000_000).unwrap();
        for (seconds, expected) in [
            (-5, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (121, "2m1s"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (10_860, "3h1m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (176_400, "2d1h"),
            (691_200, "8d"),
            (63_071_999, "729d"),
            (63_072_000, "2y"),
            (63_158_400, "2y1d"),
            (252_288_000, "8y"),
        ] {
            let since = Timestamp::from_second(2_000_000_000 - seconds).unwrap();
            assert_eq!(age(since, now), expected, "{seconds}");
        }
        assert_eq!(age(Timestamp::UNIX_EPOCH, now), "<unknown>");
    }
}
