//! HTTP's `Date` header, in the one form that servers still send (RFC 9110, IMF-fixdate).

use taut_core::WallMs;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT`; nothing if it is anything else or before 1970.
pub(super) fn parse(text: &str) -> Option<WallMs> {
    let (_, rest) = text.split_once(", ")?;
    let mut fields = rest.split(' ');
    let day: u64 = number(fields.next()?, 1..=31)?;
    let month = fields.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let year = number(fields.next()?, 1970..=9999)?;
    let mut time = fields.next()?.split(':');
    let hour = number(time.next()?, 0..=23)?;
    let minute = number(time.next()?, 0..=59)?;
    let second = number(time.next()?, 0..=60)?;
    if fields.next() != Some("GMT") || fields.next().is_some() || time.next().is_some() {
        return None;
    }
    Some(WallMs((((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1000))
}

fn number(digits: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
    let digital = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|value| digital && range.contains(value))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years are counted from March, so that a leap day is
/// the last of its year.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    let in_year = (153 * month + 2) / 5 + day - 1;
    // Days from 0000-03-01 to 1970-01-01.
    (year * 365 + leap_days + in_year) - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_become_milliseconds() {
        let cases = [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Tue, 29 Feb 2000 23:59:59 GMT", 951_868_799),
            ("Sun, 22 Nov 2026 00:12:29 GMT", 1_795_306_349),
            ("Sat, 31 Dec 2050 12:00:00 GMT", 2_556_100_800),
        ];
        for (text, secs) in cases {
            assert_eq!(parse(text), Some(WallMs(secs * 1000)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_date() {
        let odd = [
            "",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT x",
        ];
        for text in odd {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}", day in 0u64..40, year in 0u64..20_000) {
            parse(&text);
            parse(&format!("Sun, {day:02} Feb {year} 08:49:37 GMT"));
        }
    }
}
