//! Days and hours, in the civil time of the door.

use std::str::FromStr;

use jiff::ZonedDateTime;
use jiff::civil::{Date, Weekday};

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// A stretch of the day, such as `07:00-19:00`, or over midnight, such as `22:00-06:00`. It begins
/// with its first minute and ends before its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    /// Minutes since midnight.
    from: u16,
    to: u16,
}

impl FromStr for Hours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("\"{text}\" is no stretch of a day: expected HH:MM-HH:MM, as 07:00-19:00");
        let minute = |clock: &str| {
            let (hour, minute) = clock.split_once(':')?;
            let number = |digits: &str| {
                let two = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
                two.then(|| digits.parse::<u16>().ok()).flatten()
            };
            let (hour, minute) = (number(hour)?, number(minute)?);
            let at = hour * 60 + minute;
            (minute < 60 && at <= DAY).then_some(at)
        };
        let (from, to) = text.split_once('-').ok_or_else(wrong)?;
        match (minute(from), minute(to)) {
            (Some(from), Some(to)) if from != to && from < DAY => Ok(Self { from, to }),
            _ => Err(wrong()),
        }
    }
}

/// A day of the week by its first three letters, `mon` to `sun`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day(Weekday);

impl FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        use Weekday::{Friday, Monday, Saturday, Sunday, Thursday, Tuesday, Wednesday};
        let day = match text {
            "mon" => Monday,
            "tue" => Tuesday,
            "wed" => Wednesday,
            "thu" => Thursday,
            "fri" => Friday,
            "sat" => Saturday,
            "sun" => Sunday,
            _ => {
                return Err(format!(
                    "\"{text}\" is no day: expected mon, tue, wed, thu, fri, sat or sun"
                ));
            }
        };
        Ok(Self(day))
    }
}

/// When a rule holds. Without days it holds on all, without hours all day long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// The days. Hours over midnight belong to the day on which they begin.
    pub days: Vec<Day>,
    /// The hours of these days.
    pub hours: Vec<Hours>,
}

impl Schedule {
    /// Whether it needs a clock at all.
    pub fn is_limited(&self) -> bool {
        !self.days.is_empty() || !self.hours.is_empty()
    }

    /// The days that `now`, in the door's time zone, belongs to: a night belongs to the day on which
    /// its hours begin. None when it lies outside.
    pub fn days_of(&self, now: &ZonedDateTime) -> impl Iterator<Item = Date> + '_ {
        let minute =
            u16::try_from(i32::from(now.hour()) * 60 + i32::from(now.minute())).unwrap_or(u16::MAX);
        let today = now.date();
        let yesterday = today.yesterday().unwrap_or(today);
        let all_day = self.hours.is_empty().then_some(today);
        let begun = self.hours.iter().flat_map(move |&Hours { from, to }| {
            let over_midnight = from > to;
            let since = minute >= from && (over_midnight || minute < to);
            [
                since.then_some(today),
                (over_midnight && minute < to).then_some(yesterday),
            ]
        });
        let days = all_day.into_iter().chain(begun.flatten());
        days.filter(|day| self.days.is_empty() || self.days.contains(&Day(day.weekday())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_of_days_in_the_time_of_the_door() {
        // 2026-03-06 is a Friday; on the 29th Berlin's clocks go from 02:00 to 03:00.
        for (days, hours, at, expected) in [
            ("", "", "2026-03-06T12:00+01:00", true),
            ("mon fri", "", "2026-03-06T00:00+01:00", true),
            ("mon fri", "", "2026-03-07T00:00+01:00", false),
            ("", "07:00-19:00", "2026-03-06T07:00+01:00", true),
            ("", "07:00-19:00", "2026-03-06T06:59:59+01:00", false),
            ("", "07:00-19:00", "2026-03-06T19:00+01:00", false),
            ("", "00:00-24:00", "2026-03-06T23:59:59+01:00", true),
            (
                "",
                "07:00-09:00 17:00-19:00",
                "2026-03-06T18:00+01:00",
                true,
            ),
            ("fri", "22:00-06:00", "2026-03-06T22:00+01:00", true),
            ("fri", "22:00-06:00", "2026-03-07T05:59+01:00", true),
            ("fri", "22:00-06:00", "2026-03-07T22:30+01:00", false),
            ("fri", "22:00-06:00", "2026-03-06T05:00+01:00", false),
            ("", "07:00-08:00", "2026-03-29T05:30Z", true),
            ("", "07:00-08:00", "2026-03-28T05:30Z", false),
        ] {
            let schedule = Schedule {
                days: days
                    .split_whitespace()
                    .map(|d| d.parse().expect(d))
                    .collect(),
                hours: hours
                    .split_whitespace()
                    .map(|h| h.parse().expect(h))
                    .collect(),
            };
            let at: jiff::Timestamp = at.parse().expect(at);
            let now = at.in_tz("Europe/Berlin").expect("a time zone");
            let holds = schedule.days_of(&now).next().is_some();
            assert_eq!(holds, expected, "{days} {hours} {now}");
        }
    }

    #[test]
    fn what_is_no_stretch_of_a_day_is_refused() {
        for text in [
            "",
            "7:00-19:00",
            "07:00",
            "07:00-24:01",
            "07:60-08:00",
            "+7:00-08:00",
            "07:00-07:00",
            "24:00-06:00",
            "07:00-19:00 ",
        ] {
            assert!(text.parse::<Hours>().is_err(), "{text}");
        }
        assert!("Monday".parse::<Day>().is_err());
    }
}
