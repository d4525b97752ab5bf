//! GPIO lines through the kernel's character device.

use std::path::{Path, PathBuf};

use gpiocdev::line::{Bias, Value};
use gpiocdev::request::Request;

use crate::config::{DoorSection, Level};

/// What the kernel's list of lines calls us.
const CONSUMER: &str = "doorward";

/// Why a line cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "line {offset} of {} cannot be used as {purpose}: {cause}; `gpioinfo` lists the lines and who \
     holds them, and the user of the service has to be allowed to write to the chip",
    chip.display()
)]
pub struct LineError {
    chip: PathBuf,
    offset: u32,
    purpose: &'static str,
    cause: gpiocdev::Error,
}

/// The line that opens the door.
#[derive(Debug)]
pub struct Strike(Line);

impl Strike {
    /// Takes the line, shut; `None` when the configuration gives none.
    ///
    /// # Errors
    /// The chip is not there, or the line is in use.
    pub fn take(section: &DoorSection) -> Result<Option<Self>, LineError> {
        let Some(offset) = section.line else {
            return Ok(None);
        };
        let mut request = Request::builder();
        request.as_output(Value::Inactive);
        let line = Line::take(&section.chip, offset, section.active, "the strike", request)?;
        Ok(Some(Self(line)))
    }

    /// Opens or shuts.
    ///
    /// # Errors
    /// What the kernel says; the line is then in doubt.
    pub fn set(&self, open: bool) -> Result<(), LineError> {
        let value = if open { Value::Active } else { Value::Inactive };
        self.0
            .request
            .set_lone_value(value)
            .map_err(|e| self.0.error(e))
    }
}

impl Drop for Strike {
    fn drop(&mut self) {
        if let Err(error) = self.set(false) {
            log::error!("the door could not be shut: {error}");
        }
    }
}

/// The line that tells whether the door stands open.
#[derive(Debug)]
pub struct Contact(Line);

impl Contact {
    /// Takes the line; `None` when the configuration gives none. A broken wire reads as open.
    ///
    /// # Errors
    /// The chip is not there, or the line is in use.
    pub fn take(section: &DoorSection) -> Result<Option<Self>, LineError> {
        let Some(offset) = section.contact_line else {
            return Ok(None);
        };
        let take = |bias| {
            let mut request = Request::builder();
            request.as_input().with_bias(bias);
            Line::take(
                &section.chip,
                offset,
                section.contact_open,
                "the contact",
                request,
            )
        };
        let bias = match section.contact_open {
            Level::High => Bias::PullUp,
            Level::Low => Bias::PullDown,
        };
        // Not every chip has resistors of its own.
        take(Some(bias))
            .or_else(|_| take(None))
            .map(|line| Some(Self(line)))
    }

    /// Whether the door stands open.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn is_open(&self) -> Result<bool, LineError> {
        let value = self.0.request.lone_value().map_err(|e| self.0.error(e))?;
        Ok(value == Value::Active)
    }
}

#[derive(Debug)]
struct Line {
    request: Request,
    chip: PathBuf,
    offset: u32,
    purpose: &'static str,
}

impl Line {
    fn take(
        chip: &Path,
        offset: u32,
        active: Level,
        purpose: &'static str,
        mut request: gpiocdev::request::Builder,
    ) -> Result<Self, LineError> {
        request
            .on_chip(chip)
            .with_consumer(CONSUMER)
            .with_line(offset);
        match active {
            Level::High => request.as_active_high(),
            Level::Low => request.as_active_low(),
        };
        let chip = chip.to_owned();
        match request.request() {
            Ok(request) => Ok(Self {
                request,
                chip,
                offset,
                purpose,
            }),
            Err(cause) => Err(LineError {
                chip,
                offset,
                purpose,
                cause,
            }),
        }
    }

    fn error(&self, cause: gpiocdev::Error) -> LineError {
        LineError {
            chip: self.chip.clone(),
            offset: self.offset,
            purpose: self.purpose,
            cause,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chip_that_is_not_there_is_named_with_the_line() {
        let section = DoorSection {
            chip: "/dev/no-such-chip".into(),
            line: Some(17),
            contact_line: Some(27),
            ..DoorSection::default()
        };
        let strike = Strike::take(&section).unwrap_err().to_string();
        assert!(strike.contains("line 17 of /dev/no-such-chip"), "{strike}");
        let contact = Contact::take(&section).unwrap_err().to_string();
        assert!(
            contact.contains("line 27") && contact.contains("gpioinfo"),
            "{contact}"
        );
        let off = DoorSection::default();
        assert!(Strike::take(&off).unwrap().is_none() && Contact::take(&off).unwrap().is_none());
    }
}
