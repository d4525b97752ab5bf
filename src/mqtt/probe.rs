//! One connection, to see whether it works.

use std::sync::atomic::Ordering;

use rumqttc::{AsyncClient, Event, Packet};

use super::connect::{CONNECT_TIMEOUT, options};
use super::line::Goodbye;
use super::{Problem, connect};
use crate::config::{DeviceId, MqttSection};

/// Connects once, publishes nothing, and disconnects. It takes 10 s at most. The client id is not
/// the daemon's, so that a running one is not pushed out.
pub async fn probe(section: &MqttSection, device: &DeviceId) -> Result<(), Problem> {
    let client_id = format!("{}-check", connect::client_id(section, device));
    let goodbye = Goodbye::default();
    let options = options(section, client_id, &goodbye)?;
    let (client, mut event_loop) = AsyncClient::builder(options).capacity(1).build();
    let address = section.address();
    let answer = tokio::time::timeout(CONNECT_TIMEOUT, async {
        loop {
            if let Event::Incoming(Packet::ConnAck(_)) = event_loop.poll().await? {
                return Ok(());
            }
        }
    });
    match answer.await {
        Ok(answer) => answer.map_err(|e| Problem::from_library(e, &address))?,
        Err(elapsed) => return Err(Problem::from_library(elapsed.into(), &address)),
    }
    // The answer is known; how the goodbye goes does not matter.
    goodbye.store(true, Ordering::Relaxed);
    if client.try_disconnect().is_ok() {
        let end = async { while event_loop.poll().await.is_ok() {} };
        let _ = tokio::time::timeout(CONNECT_TIMEOUT, end).await;
    }
    Ok(())
}
