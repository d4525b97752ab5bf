//! A short-lived connection that asks something and goes.

use rumqttc::{AsyncClient, Event, EventLoop, IncomingPacketSizeLimit, Packet};

use super::Problem;
use super::connect::{CONNECT_TIMEOUT, client_id, options};
use super::line::Goodbye;
use crate::config::{DeviceId, MqttSection};

/// Bytes of a packet from the broker at most.
const LARGEST_PACKET: u32 = 32 << 20;

/// Connects once, publishes nothing, and disconnects. It takes 10 s at most. The client id is not
/// the daemon's, so that a running one is not pushed out.
///
/// # Errors
/// What is wrong with the broker or the way to it.
pub async fn probe(section: &MqttSection, device: &DeviceId) -> Result<(), Problem> {
    Client::connect(section, device, "check")
        .await?
        .close()
        .await;
    Ok(())
}

/// The connection.
pub(super) struct Client {
    pub(super) client: AsyncClient,
    pub(super) address: String,
    event_loop: EventLoop,
    goodbye: Goodbye,
}

impl Client {
    /// Connects. `name` has to be unlike that of any other client of the device.
    pub(super) async fn connect(
        section: &MqttSection,
        device: &DeviceId,
        name: &str,
    ) -> Result<Self, Problem> {
        let goodbye = Goodbye::default();
        let client_id = format!("{}-{name}", client_id(section, device));
        let mut options = options(section, client_id, &goodbye)?;
        options.set_incoming_packet_size_limit(IncomingPacketSizeLimit::Bytes(LARGEST_PACKET));
        let (client, event_loop) = AsyncClient::builder(options).capacity(4).build();
        let mut client = Self {
            client,
            address: section.address(),
            event_loop,
            goodbye,
        };
        client
            .wait(|packet| matches!(packet, Packet::ConnAck(_)))
            .await?;
        Ok(client)
    }

    /// The first packet that fits, however long it takes.
    pub(super) async fn next(&mut self, fits: impl Fn(&Packet) -> bool) -> Result<Packet, Problem> {
        loop {
            match self.event_loop.poll().await {
                Ok(Event::Incoming(packet)) if fits(&packet) => return Ok(packet),
                Ok(_) => {}
                Err(error) => return Err(Problem::from_library(error, &self.address)),
            }
        }
    }

    /// The first packet that fits, from the broker itself, which has to answer at once.
    pub(super) async fn wait(&mut self, fits: impl Fn(&Packet) -> bool) -> Result<Packet, Problem> {
        match tokio::time::timeout(CONNECT_TIMEOUT, self.next(fits)).await {
            Ok(found) => found,
            Err(elapsed) => Err(Problem::from_library(elapsed.into(), &self.address)),
        }
    }

    /// Says goodbye to the broker. How it goes does not matter.
    pub(super) async fn close(mut self) {
        if self.client.try_disconnect().is_ok() {
            let end = async {
                while let Ok(event) = self.event_loop.poll().await {
                    self.goodbye.note(&event);
                }
            };
            let _ = tokio::time::timeout(CONNECT_TIMEOUT, end).await;
        }
    }
}
