//! Times in arguments and in the output.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::failure::Failure;

/// Parses a time of the command line: RFC 3339, a day (its beginning in UTC), or an age.
pub(crate) fn parse(text: &str) -> Result<OffsetDateTime, String> {
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(time);
    }
    if let Ok(midnight) = OffsetDateTime::parse(&format!("{text}T00:00:00Z"), &Rfc3339) {
        return Ok(midnight);
    }
    let ago =
        duration(text).and_then(|ago| OffsetDateTime::now_utc().checked_sub(ago.try_into().ok()?));
    ago.ok_or_else(|| {
        "allowed: 2026-11-20T10:15:00Z, a day such as 2026-11-20, or an age such as 30m, 12h, 3d"
            .to_owned()
    })
}

/// Rejects a range of times that ends before it begins. Each time comes with the name of its
/// option.
pub(crate) fn check_order(
    (begin, from): (&str, Option<OffsetDateTime>),
    (end, to): (&str, Option<OffsetDateTime>),
) -> Result<(), Failure> {
    let Some(from) = from else { return Ok(()) };
    let now = OffsetDateTime::now_utc();
    let cause = match to {
        Some(to) if to < from => {
            format!("{end} {} is before {begin} {}", format(to), format(from))
        }
        None if now < from => format!("{begin} {} is in the future", format(from)),
        Some(_) | None => return Ok(()),
    };
    Err(Failure::usage(
        cause,
        "the range of times is empty: correct the times",
    ))
}

/// Parses a duration: `30s`, `15m`, `12h`, `3d`.
fn duration(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    let count: u64 = text.strip_suffix(unit)?.parse().ok()?;
    count.checked_mul(seconds).map(Duration::from_secs)
}

/// Formats a time in UTC, to the second.
pub(crate) fn format(time: OffsetDateTime) -> String {
    let time = time
        .to_offset(time::UtcOffset::UTC)
        .replace_nanosecond(0)
        .unwrap_or(time);
    time.format(&Rfc3339).unwrap_or_default()
}

/// Formats an age in whole units of the largest unit that fits: `45m`, `6h`, `3d`.
pub(crate) fn format_age(age: time::Duration) -> String {
    let seconds = age.whole_seconds().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Converts seconds since 1970, the unit of Kinesis's arrival times.
pub(crate) fn from_unix_seconds(seconds: f64) -> Option<OffsetDateTime> {
    OffsetDateTime::UNIX_EPOCH.checked_add(time::Duration::checked_seconds_f64(seconds)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_each_form_are_parsed_and_others_are_rejected_with_the_allowed_forms() {
        for (text, expected) in [
            ("2026-11-20T10:15:00Z", "2026-11-20T10:15:00Z"),
            ("2026-11-20T10:15:00.5+02:00", "2026-11-20T08:15:00Z"),
            ("2026-11-20", "2026-11-20T00:00:00Z"),
        ] {
            assert_eq!(parse(text).map(format), Ok(expected.to_owned()));
        }
        for text in [
            "yesterday",
            "3w",
            "d",
            "-3d",
            "99999999999999999d",
            "2026-13-01",
            "",
        ] {
            assert!(
                parse(text).is_err_and(|error| error.contains("12h")),
                "{text}"
            );
        }
        let ago = OffsetDateTime::now_utc() - parse("2h").expect("an age");
        assert!((7199..7300).contains(&ago.whole_seconds()), "{ago}");
    }

    #[test]
    fn ages_are_formatted_in_their_largest_unit() {
        for (seconds, expected) in [
            (-5, "0s"),
            (59, "59s"),
            (60, "1m"),
            (7199, "1h"),
            (86_399, "23h"),
            (200_000, "2d"),
        ] {
            assert_eq!(format_age(time::Duration::seconds(seconds)), expected);
        }
        assert_eq!(
            from_unix_seconds(1_763_633_700.5).map(format).as_deref(),
            Some("2025-11-20T10:15:00Z")
        );
    }
}
