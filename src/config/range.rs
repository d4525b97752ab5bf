//! Numbers that carry their range, so that a value out of it is refused where it stands.

/// Declares a newtype over a number with an inclusive range, checked while deserialising.
macro_rules! ranged {
    ($(#[$doc:meta])* $name:ident($inner:ty), $low:literal ..= $high:literal, $unit:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, PartialOrd, serde::Deserialize)]
        #[serde(try_from = "Number")]
        pub struct $name($inner);

        impl $name {
            /// The number.
            pub const fn get(self) -> $inner {
                self.0
            }

            /// A value known to lie in the range when the program was written.
            #[allow(dead_code, reason = "not every key has a default")]
            pub(crate) const fn of(value: $inner) -> Self {
                assert!(value >= $low && value <= $high);
                Self(value)
            }
        }

        impl TryFrom<Number> for $name {
            type Error = String;

            fn try_from(number: Number) -> Result<Self, String> {
                let wrong = |what| {
                    format!(
                        "{number} is {what}: expected {} to {} ({})",
                        stringify!($low),
                        stringify!($high),
                        $unit
                    )
                };
                let value = <$inner>::try_from(number).map_err(wrong)?;
                if ($low..=$high).contains(&value) {
                    Ok(Self(value))
                } else {
                    Err(wrong($crate::config::range::OUT_OF_RANGE))
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}
pub(crate) use ranged;

/// What is wrong with a number that is too small or too large.
pub(crate) const OUT_OF_RANGE: &str = "out of range";

/// A TOML number, whole or not.
#[derive(Clone, Copy, serde::Deserialize)]
#[serde(untagged, expecting = "expected a number")]
pub(crate) enum Number {
    /// A whole number.
    Whole(i64),
    /// Any other.
    Real(f64),
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(n) => n.fmt(f),
            Self::Real(x) => x.fmt(f),
        }
    }
}

impl TryFrom<Number> for u32 {
    type Error = &'static str;

    fn try_from(number: Number) -> Result<Self, &'static str> {
        match number {
            Number::Whole(n) => n.try_into().map_err(|_| OUT_OF_RANGE),
            Number::Real(_) => Err("no whole number"),
        }
    }
}

impl TryFrom<Number> for f64 {
    type Error = &'static str;

    #[expect(clippy::cast_precision_loss, reason = "settings are far below 2^53")]
    fn try_from(number: Number) -> Result<Self, &'static str> {
        match number {
            Number::Whole(n) => Ok(n as Self),
            Number::Real(x) => Ok(x),
        }
    }
}
