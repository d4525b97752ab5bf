//! What can be wrong with the broker or the way to it, and how to mend it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rumqttc::{ConnectReturnCode, ConnectionError, DisconnectReasonCode, StateError, TlsError};

use crate::config::{AWAY, is_credential};

/// Why there is no connection. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// A file of `[mqtt]` cannot be read.
    #[error("[mqtt] {key} = \"{}\" cannot be read: {cause}", path.display())]
    File {
        /// The key in the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// This user may not read a file of `[mqtt]`.
    #[error(
        "[mqtt] {key} = \"{}\" may not be read by this user; for the service run `chown doorward {}`",
        path.display(), path.display()
    )]
    Denied {
        /// The key in the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A credential that systemd does not provide now.
    #[error("[mqtt] {key} = \"{}\" {AWAY}", path.display())]
    Away {
        /// The key in the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Nobody listens.
    #[error(
        "nothing listens at {address}; is the broker running, and are [mqtt] host and port \
             right?"
    )]
    Refused {
        /// Host and port.
        address: String,
    },
    /// The network does not lead there.
    #[error(
        "the broker at {address} cannot be reached: {detail}; check the network, and [mqtt] \
             host and port"
    )]
    Unreachable {
        /// Host and port.
        address: String,
        /// What the system said.
        detail: String,
    },
    /// TLS came to no agreement.
    #[error("no secure connection to {address}: {detail}; {advice}")]
    Tls {
        /// Host and port.
        address: String,
        /// What TLS said.
        detail: String,
        /// What to look at.
        advice: &'static str,
    },
    /// User name, password or certificate do not suffice.
    #[error(
        "the broker at {address} refuses this client ({code}); check [mqtt] username and \
             password_file, or the client certificate, and the broker's list of users"
    )]
    Credentials {
        /// Host and port.
        address: String,
        /// The broker's reason.
        code: String,
    },
    /// The broker says no for another reason.
    #[error("the broker at {address} refuses the connection ({code}); its log says more")]
    Broker {
        /// Host and port.
        address: String,
        /// The broker's reason.
        code: String,
    },
    /// A connection has ended.
    #[error("the connection to {address} has ended: {detail}")]
    Lost {
        /// Host and port.
        address: String,
        /// How.
        detail: String,
    },
    /// The other side has ended a connection without saying why, before it took it.
    #[error(
        "the connection to {address} has ended: {detail} (a broker also does so when one side \
             speaks TLS and the other does not)"
    )]
    HungUp {
        /// Host and port.
        address: String,
        /// How.
        detail: String,
    },
    /// The broker has ended a connection that it had taken, as it does for another client of the
    /// same name.
    #[error(
        "the connection to {address} has ended: {detail}; if this comes again and again, another \
             client uses the same [device] id, which has to be one device's alone"
    )]
    PushedOff {
        /// Host and port.
        address: String,
        /// How.
        detail: String,
    },
    /// The broker's access list is against it.
    #[error(
        "the broker does not let this client {what} {topic}; commands are the owner's, not the \
             device's (mosquitto.acl): name a configuration of the owner's user (--config \
             owner.toml)"
    )]
    Forbidden {
        /// `read` or `write`.
        what: &'static str,
        /// The topic.
        topic: String,
    },
    /// The device is not there, or takes no commands.
    #[error(
        "nobody listens to {topic}; is the device running and connected, is [device] id its name, \
             and has it a [commands] key_file?"
    )]
    NobodyListens {
        /// The topic.
        topic: String,
    },
    /// No answer has come.
    #[error(
        "no answer has come within {seconds} s by way of {address}; is the device connected, and \
             does the broker let it read its commands and write its answers?"
    )]
    Silent {
        /// Host and port.
        address: String,
        /// How long was waited.
        seconds: u64,
    },
}

impl Problem {
    /// Whether only a person can mend it, so that trying often is of no use.
    pub fn needs_somebody(&self) -> bool {
        matches!(
            self,
            Self::File { .. } | Self::Denied { .. } | Self::Away { .. } | Self::Credentials { .. }
        )
    }

    /// The file at `path`, which `key` of `[mqtt]` names, cannot be read.
    pub(super) fn file(key: &'static str, path: &Path, cause: std::io::Error) -> Self {
        let path = path.to_owned();
        if cause.kind() == ErrorKind::NotFound && is_credential(&path) {
            return Self::Away { key, path };
        }
        if cause.kind() == ErrorKind::PermissionDenied {
            return Self::Denied { key, path };
        }
        Self::File { key, path, cause }
    }

    /// The same of a connection that the broker had taken: TLS is not to blame any more.
    pub(super) fn once_taken(self) -> Self {
        match self {
            Self::HungUp { address, detail } => Self::PushedOff { address, detail },
            other => other,
        }
    }

    pub(super) fn from_library(error: ConnectionError, address: &str) -> Self {
        let address = address.to_owned();
        match error {
            ConnectionError::ConnectionRefused(code)
            | ConnectionError::MqttState(StateError::ConnFail { reason: code }) => {
                refused(code, address)
            }
            ConnectionError::MqttState(StateError::ServerDisconnect {
                reason_code: code @ DisconnectReasonCode::SessionTakenOver,
                ..
            }) => Self::PushedOff {
                address,
                detail: format!("{code:?}"),
            },
            ConnectionError::Tls(TlsError::Io(error)) | ConnectionError::Io(error) => {
                network(&error, address)
            }
            ConnectionError::Tls(error) => tls(error.to_string(), address),
            ConnectionError::Timeout(_) => Self::Unreachable {
                address,
                detail: "no answer in time".to_owned(),
            },
            other => ended(other.to_string(), address),
        }
    }
}

fn refused(code: ConnectReturnCode, address: String) -> Problem {
    let text = format!("{code:?}");
    match code {
        ConnectReturnCode::BadUserNamePassword
        | ConnectReturnCode::NotAuthorized
        | ConnectReturnCode::BadAuthenticationMethod
        | ConnectReturnCode::Banned => Problem::Credentials {
            address,
            code: text,
        },
        _ => Problem::Broker {
            address,
            code: text,
        },
    }
}

fn network(error: &std::io::Error, address: String) -> Problem {
    let detail = error.to_string();
    match error.kind() {
        ErrorKind::ConnectionRefused => Problem::Refused { address },
        // Where the handshake failed, the system's error wraps that of TLS.
        ErrorKind::InvalidData => tls(detail, address),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => {
            ended(detail, address)
        }
        _ => Problem::Unreachable { address, detail },
    }
}

/// A connection that the other side has ended, in whatever layer that was noticed.
fn ended(detail: String, address: String) -> Problem {
    if detail.contains("fatal alert") {
        return tls(detail, address);
    }
    let abrupt = ["reset by peer", "closed by peer", "eof"];
    if abrupt.iter().any(|sign| detail.contains(sign)) {
        Problem::HungUp { address, detail }
    } else {
        Problem::Lost { address, detail }
    }
}

fn tls(detail: String, address: String) -> Problem {
    let advice = [
        (
            "UnknownIssuer",
            "[mqtt] ca_file has to hold the authority that signed the broker's \
                           certificate",
        ),
        (
            "CaUsedAsEndEntity",
            "the broker has to show a certificate of its own, not the \
                               authority's",
        ),
        (
            "NotValidForName",
            "[mqtt] host has to be a name that the broker's certificate holds",
        ),
        (
            "not valid for name",
            "[mqtt] host has to be a name that the broker's certificate \
                                holds",
        ),
        (
            "Expired",
            "the broker's certificate has run out, or this device's clock is wrong",
        ),
        (
            "expired",
            "the broker's certificate has run out, or this device's clock is wrong",
        ),
        (
            "NotValidYet",
            "this device's clock is wrong, or the broker's certificate is for later",
        ),
        (
            "not valid yet",
            "this device's clock is wrong, or the broker's certificate is for \
                           later",
        ),
        (
            "InvalidContentType",
            "this port does not speak TLS; [mqtt] port is 8883 with most \
                                brokers",
        ),
        (
            "corrupt message",
            "this port does not speak TLS; [mqtt] port is 8883 with most \
                             brokers",
        ),
        (
            "CertificateRequired",
            "the broker wants [mqtt] client_cert_file and client_key_file",
        ),
        (
            "No valid CA",
            "[mqtt] ca_file holds no certificate in PEM form",
        ),
        (
            "No valid certificate for client",
            "[mqtt] client_cert_file holds no certificate in PEM \
                                             form",
        ),
        (
            "No valid key",
            "[mqtt] client_key_file holds no private key in PEM form",
        ),
    ]
    .into_iter()
    .find_map(|(sign, advice)| detail.contains(sign).then_some(advice))
    .unwrap_or("check [mqtt] ca_file, client_cert_file and client_key_file");
    Problem::Tls {
        address,
        detail,
        advice,
    }
}
