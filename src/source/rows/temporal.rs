//! Temporal values as ISO 8601. `None` where a value is outside the years 0 to 9999, as the
//! infinity of a database is, or outside a day, or where a duration is infinite.

use time::{Date, Duration, OffsetDateTime};

/// Writes the date that is so many days after 1970-01-01.
pub(super) fn date(days: i64) -> Option<String> {
    let day = OffsetDateTime::UNIX_EPOCH.date();
    let date = day.checked_add(Duration::days(bounded(days)?))?;
    shown(date)
}

/// Returns the days, if they are few enough for a calculation.
fn bounded(days: i64) -> Option<i64> {
    const MOST: i64 = 4_000_000;
    (-MOST..=MOST).contains(&days).then_some(days)
}

fn shown(date: Date) -> Option<String> {
    let year = u16::try_from(date.year()).ok()?;
    let (month, day) = (u8::from(date.month()), date.day());
    Some(format!("{year:04}-{month:02}-{day:02}"))
}

/// Writes the time of a day, given in units of which a second has `units`.
pub(super) fn time(value: i64, units: i64) -> Option<String> {
    let seconds = value.div_euclid(units);
    if !(0..86_400).contains(&seconds) {
        return None;
    }
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let fraction = fraction(value.rem_euclid(units), units);
    Some(format!("{hour:02}:{minute:02}:{second:02}{fraction}"))
}

/// Writes a time since 1970, given in units of which a second has `units`. A time without a zone is
/// written as one of UTC.
pub(super) fn timestamp(value: i64, units: i64) -> Option<String> {
    let day = units * 86_400;
    let (date, time) = (
        date(value.div_euclid(day))?,
        time(value.rem_euclid(day), units)?,
    );
    Some(format!("{date}T{time}Z"))
}

/// Writes a duration, given in units of which a second has `units`. Its longest part are hours: the
/// length of a day depends on the calendar.
pub(super) fn duration(value: i64, units: i64) -> Option<String> {
    let length = value.checked_abs().filter(|length| *length < i64::MAX)?;
    let seconds = length / units;
    let fraction = fraction(length % units, units);
    let sign = if value < 0 { "-" } else { "" };
    let part = |number: i64, unit| match number {
        0 => String::new(),
        number => format!("{number}{unit}"),
    };
    let (hours, minutes) = (part(seconds / 3_600, 'H'), part(seconds / 60 % 60, 'M'));
    let second = match (seconds % 60, fraction.as_str()) {
        (0, "") if length > 0 => String::new(),
        (second, fraction) => format!("{second}{fraction}S"),
    };
    Some(format!("{sign}PT{hours}{minutes}{second}"))
}

/// Writes the fraction of a second, without the zeros at its end.
fn fraction(value: i64, units: i64) -> String {
    if value == 0 {
        return String::new();
    }
    let digits = units.ilog10() as usize;
    let padded = format!("{value:0digits$}");
    format!(".{}", padded.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::format_description::well_known::Rfc3339;

    use super::*;

    const UNITS: [i64; 3] = [1_000, 1_000_000, 1_000_000_000];

    #[test]
    fn what_no_calendar_holds_is_not_written() {
        for value in [i64::MIN, i64::MAX, 4_000_001, 2_932_897] {
            assert_eq!(date(value), None, "{value}");
        }
        assert_eq!(date(2_932_896).as_deref(), Some("9999-12-31"));
        assert_eq!(date(-719_528).as_deref(), Some("0000-01-01"));
        assert_eq!(date(-719_529), None);
        for units in UNITS {
            assert_eq!(time(-1, units), None);
            assert_eq!(time(86_400 * units, units), None);
            assert_eq!(time(86_399 * units, units).as_deref(), Some("23:59:59"));
        }
        assert_eq!(timestamp(i64::MAX, 1_000), None);
    }

    #[test]
    fn a_duration_is_written_without_parts_that_are_zero() {
        for (value, expected) in [
            (0, "PT0S"),
            (1, "PT0.001S"),
            (60_000, "PT1M"),
            (3_600_000, "PT1H"),
            (3_601_500, "PT1H1.5S"),
            (93_784_500, "PT26H3M4.5S"),
            (-93_784_500, "-PT26H3M4.5S"),
        ] {
            assert_eq!(duration(value, 1_000).as_deref(), Some(expected));
        }
        for infinite in [i64::MIN, i64::MAX] {
            assert_eq!(duration(infinite, 1_000_000), None);
        }
    }

    proptest! {
        #[test]
        fn a_duration_is_the_sum_of_its_parts(value in i64::MIN + 1..i64::MAX) {
            for units in UNITS {
                let written = duration(value, units).expect("finite");
                let (sign, mut rest) = match written.strip_prefix("-PT") {
                    Some(rest) => (-1, rest),
                    None => (1, written.strip_prefix("PT").expect("a duration")),
                };
                let mut sum = 0;
                for (unit, length) in [('H', 3_600), ('M', 60), ('S', 1)] {
                    let Some((number, others)) = rest.split_once(unit) else {
                        continue;
                    };
                    rest = others;
                    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
                    let digits = units.ilog10() as usize;
                    let fraction: i128 = format!("{fraction:0<digits$}").parse().unwrap_or(0);
                    let whole: i128 = whole.parse().expect("digits");
                    sum += whole * length * i128::from(units) + fraction;
                }
                prop_assert_eq!(rest, "");
                prop_assert_eq!(sum * sign, i128::from(value));
            }
        }

        #[test]
        fn a_timestamp_is_the_same_time(millis in -60_000_000_000_000_i64..250_000_000_000_000) {
            for units in UNITS {
                let Some(value) = millis.checked_mul(units / 1_000) else {
                    continue;
                };
                let written = timestamp(value, units).expect("in range");
                let time = OffsetDateTime::parse(&written, &Rfc3339).expect("RFC 3339");
                prop_assert_eq!(time.unix_timestamp_nanos(), i128::from(millis) * 1_000_000);
            }
        }

        #[test]
        fn no_number_panics(value: i64) {
            for units in UNITS {
                let _ = (date(value), time(value, units), timestamp(value, units));
                let _ = duration(value, units);
            }
        }
    }
}
