//! Values that TOML writes in more than one way, or of which there are few.

use std::fmt::Display;
use std::str::FromStr;

use jiff::civil::Date;
use serde::Deserialize;
use toml::Value;

/// One of a few words; `words` says which, and what each means.
pub(super) fn choose<T: Copy>(value: &Value, words: &[(&str, T)]) -> Result<T, String> {
    let chosen = words.iter().find(|(word, _)| value.as_str() == Some(word));
    chosen.map(|(_, choice)| *choice).ok_or_else(|| {
        let words: Vec<_> = words
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect();
        format!("{value} is none of {}", words.join(", "))
    })
}

/// Declares how a setting is read that is one of a few words.
macro_rules! choice {
    ($name:ident: $($word:literal => $choice:ident),+) => {
        impl TryFrom<toml::Value> for $name {
            type Error = String;

            fn try_from(value: toml::Value) -> Result<Self, String> {
                $crate::config::choice::choose(&value, &[$(($word, Self::$choice)),+])
            }
        }
    };
}
pub(crate) use choice;

/// A value that is written as text.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Value", bound = "T: FromStr, T::Err: Display")]
pub struct Text<T>(pub T);

impl<T: FromStr<Err: Display>> TryFrom<Value> for Text<T> {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        text.parse()
            .map(Self)
            .map_err(|error: T::Err| error.to_string())
    }
}

/// A day of the calendar, as text or as a date of TOML.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "Value")]
pub struct CalendarDay(pub Date);

impl TryFrom<Value> for CalendarDay {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let date = Text::<Date>::try_from(value.clone());
        date.map(|date| Self(date.0))
            .map_err(|_| format!("{value} is no day: expected one as 2026-12-31, YYYY-MM-DD"))
    }
}
