//! From the configuration to the library's options.

use std::path::Path;
use std::time::Duration;

use rumqttc::{LastWill, MqttOptions, NetworkOptions, QoS, TlsConfiguration, Transport};

use super::Problem;
use super::line::{self, Goodbye};
use super::message::Topics;
use crate::config::{DeviceId, MqttSection};

/// How long a connection may take, from the name to the broker's word.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Options of a client called `client_id`: clean session, credentials, TLS. `goodbye` has to be
/// shown all events.
pub(super) fn options(
    section: &MqttSection,
    client_id: String,
    goodbye: &Goodbye,
) -> Result<MqttOptions, Problem> {
    let mut options = MqttOptions::new(client_id, (section.host.as_str(), section.port()));
    options
        .set_clean_start(true)
        .set_keep_alive(keep_alive(section))
        .set_connect_timeout(CONNECT_TIMEOUT);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    let goodbye = goodbye.clone();
    options
        .set_socket_connector(move |host, network| line::connect(host, network, goodbye.clone()));
    if let Some(username) = &section.username {
        match &section.password_file {
            Some(path) => {
                let password = read("password_file", path)?;
                options.set_credentials(username, without_line_end(password));
            }
            None => {
                options.set_username(username);
            }
        }
    }
    if section.tls {
        options.set_transport(Transport::tls_with_config(tls(section)?));
    }
    Ok(options)
}

/// The client id of this device: two clients of one id push each other out.
pub(super) fn client_id(section: &MqttSection, device: &DeviceId) -> String {
    format!("{}-{}", section.base.as_str(), device.as_str())
}

/// What the broker says for this device when it has gone without a word.
pub(super) fn last_will(topics: &Topics) -> LastWill {
    LastWill::new(
        topics.available.as_str(),
        "offline",
        QoS::AtLeastOnce,
        true,
        None,
    )
}

/// Whole seconds, as MQTT counts them; at least one, for none would switch it off.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped"
)]
fn keep_alive(section: &MqttSection) -> u16 {
    section
        .keep_alive_s
        .get()
        .ceil()
        .clamp(1.0, f64::from(u16::MAX)) as u16
}

/// A client certificate comes with its key and with an authority: the configuration was refused
/// otherwise.
fn tls(section: &MqttSection) -> Result<TlsConfiguration, Problem> {
    let Some(ca) = &section.ca_file else {
        return TlsConfiguration::try_default_rustls()
            .map_err(|e| Problem::from_library(e.into(), &section.address()));
    };
    let client_auth = match (&section.client_cert_file, &section.client_key_file) {
        (Some(certificate), Some(key)) => Some((
            read("client_cert_file", certificate)?,
            read("client_key_file", key)?,
        )),
        _ => None,
    };
    Ok(TlsConfiguration::Simple {
        ca: read("ca_file", ca)?,
        alpn: None,
        client_auth,
    })
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, Problem> {
    std::fs::read(path).map_err(|cause| Problem::file(key, path, cause))
}

/// Editors end a file with a line end, which belongs to no password.
fn without_line_end(mut password: Vec<u8>) -> Vec<u8> {
    if password.last() == Some(&b'\n') {
        password.pop();
        if password.last() == Some(&b'\r') {
            password.pop();
        }
    }
    password
}
