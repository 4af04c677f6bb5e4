//! Reads the pause that a response asks for. Pure.
//!
//! <https://www.rfc-editor.org/rfc/rfc9110#field.retry-after>

use std::time::Duration;

use time::{Date, Month, OffsetDateTime, Time};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Reads the value of `Retry-After`: seconds, or a date. `date` is the response's own `Date`, the
/// clock by which the server means its date. `now`, our clock, may differ and is used where the
/// response has no date. A date in the past is no pause. `None` where the value has neither form.
pub(super) fn wait(value: &str, date: Option<&str>, now: OffsetDateTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let now = date.and_then(|date| http_date(date, now)).unwrap_or(now);
    let until = http_date(value, now)?;
    Some(Duration::try_from(until - now).unwrap_or_default())
}

/// Reads a date in each of the three forms that a recipient has to know: `Sun, 06 Nov 1994 08:49:37
/// GMT`, `Sunday, 06-Nov-94 08:49:37 GMT` and `Sun Nov  6 08:49:37 1994`.
/// <https://www.rfc-editor.org/rfc/rfc9110#name-date-time-formats>
fn http_date(text: &str, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let parts: Vec<&str> = text
        .split([' ', ',', '-'])
        .filter(|part| !part.is_empty())
        .collect();
    let ([_, day, month, year, clock, "GMT"] | [_, month, day, clock, year]) = parts[..] else {
        return None;
    };
    let month = MONTHS.iter().position(|name| *name == month)?;
    let month = Month::try_from(u8::try_from(month + 1).ok()?).ok()?;
    let date = Date::from_calendar_date(full_year(year, now)?, month, day.parse().ok()?).ok()?;
    Some(date.with_time(time_of_day(clock)?).assume_utc())
}

/// Completes a year of two digits: one that would be more than 50 years ahead is in the past.
fn full_year(year: &str, now: OffsetDateTime) -> Option<i32> {
    let number: i32 = year.parse().ok().filter(|number| *number >= 0)?;
    match year.len() {
        4 => Some(number),
        2 => {
            let full = now.year() / 100 * 100 + number;
            let is_past = full > now.year() + 50;
            Some(if is_past { full - 100 } else { full })
        }
        _ => None,
    }
}

/// Reads a time of day. A leap second counts as the second before it.
fn time_of_day(clock: &str) -> Option<Time> {
    let mut parts = clock.split(':').map(|part| part.parse::<u8>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let second = if second == 60 { 59 } else { second };
    if parts.next().is_some() {
        return None;
    }
    Time::from_hms(hour, minute, second).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "Sun, 29 Nov 2026 23:01:55 GMT";

    fn seconds(value: &str, date: Option<&str>) -> Option<u64> {
        // Our clock is an hour ahead of the server's.
        let ours =
            http_date("Mon, 30 Nov 2026 00:01:55 GMT", OffsetDateTime::UNIX_EPOCH).expect("a date");
        wait(value, date, ours).map(|wait| wait.as_secs())
    }

    #[test]
    fn a_pause_is_read_in_seconds_or_as_a_date_of_the_server_s_clock() {
        for (value, expected) in [
            ("5", Some(5)),
            (" 7 ", Some(7)),
            ("0", Some(0)),
            ("Sun, 29 Nov 2026 23:02:00 GMT", Some(5)),
            ("Sunday, 29-Nov-26 23:02:00 GMT", Some(5)),
            ("Sun Nov 29 23:02:00 2026", Some(5)),
            ("Tue Dec  1 23:01:55 2026", Some(2 * 86_400)),
            ("Sun, 29 Nov 2026 23:01:60 GMT", Some(4)),
            ("Sun, 29 Nov 2026 23:01:00 GMT", Some(0)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(0)),
            ("Mon, 29 Nov 2027 23:01:55 GMT", Some(365 * 86_400)),
            ("", None),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("Sun, 29 Nov 2026 23:02:00 CET", None),
            ("Sun, 31 Nov 2026 23:02:00 GMT", None),
            ("Sun, 29 nov 2026 23:02:00 GMT", None),
            ("Sun, 29 Nov 2026 25:02:00 GMT", None),
            ("Sun, 29 Nov 2026 23:02 GMT", None),
            ("Sun, 29 Nov 12026 23:02:00 GMT", None),
            ("2026-11-29T23:02:00Z", None),
        ] {
            assert_eq!(seconds(value, Some(NOW)), expected, "{value}");
        }
    }

    #[test]
    fn a_response_without_a_date_is_read_by_our_own_clock() {
        for date in [None, Some(""), Some("yesterday")] {
            assert_eq!(
                seconds("Mon, 30 Nov 2026 00:02:00 GMT", date),
                Some(5),
                "{date:?}"
            );
            assert_eq!(
                seconds("Sun, 29 Nov 2026 23:02:00 GMT", date),
                Some(0),
                "{date:?}"
            );
        }
    }
}
