//! Names of people: what one may be. Whose they are the store knows.

/// What a rule says instead of a name.
pub(crate) const EVERYBODY: &str = "*";

/// A subject's name: 1 to 64 visible characters that can stand in a topic, a path and a log line.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubjectName(String);

/// Why a name is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty or too long.
    #[error("a name has 1 to 64 characters, not {0}")]
    Length(usize),
    /// A character that cannot be seen, or that has a meaning in topics.
    #[error("a name cannot contain {0:?}")]
    Character(char),
    /// What rules call everybody.
    #[error("nobody can be called *, which stands for everybody in the rules")]
    Everybody,
    /// A space at either end.
    #[error("a name neither begins nor ends with a space")]
    Space,
}

impl SubjectName {
    /// Checks `name`.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let length = name.chars().count();
        if !(1..=64).contains(&length) {
            return Err(NameError::Length(length));
        }
        if let Some(c) = name
            .chars()
            .find(|&c| c.is_control() || is_unseen(c) || is_topic_sign(c))
        {
            return Err(NameError::Character(c));
        }
        if name.trim() != name {
            return Err(NameError::Space);
        }
        Ok(Self(name.to_owned()))
    }

    /// Checks `name` for somebody who is to have it from now on.
    pub fn for_new(name: &str) -> Result<Self, NameError> {
        if name == EVERYBODY {
            return Err(NameError::Everybody);
        }
        Self::new(name)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for SubjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for SubjectName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

/// Separators and wildcards of MQTT topics.
fn is_topic_sign(c: char) -> bool {
    matches!(c, '/' | '+' | '#')
}

/// Characters of no width or that turn the direction of writing, by which one name could pass for
/// another.
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' | '\u{e0100}'..='\u{e01ef}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: Result<(), NameError>) {
        assert_eq!(SubjectName::new(name).map(|_| ()), expected, "{name:?}");
    }

    #[test]
    fn names() {
        check("Ada Lovelace", Ok(()));
        check("Zoë 山田", Ok(()));
        check(&"é".repeat(64), Ok(()));
        check(&"é".repeat(65), Err(NameError::Length(65)));
        check("", Err(NameError::Length(0)));
        check("a/b", Err(NameError::Character('/')));
        check("a+", Err(NameError::Character('+')));
        check("#", Err(NameError::Character('#')));
        check("a\nb", Err(NameError::Character('\n')));
        check("Ada\u{200b}", Err(NameError::Character('\u{200b}')));
        check("ada\u{fe0f}", Err(NameError::Character('\u{fe0f}')));
        check(" Ada", Err(NameError::Space));
        check("A*", Ok(()));
        assert_eq!(SubjectName::for_new("*"), Err(NameError::Everybody));
    }
}
