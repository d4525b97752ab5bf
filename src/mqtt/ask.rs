//! The other side of a command: sends one to a device and waits for its answer.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rumqttc::{
    AsyncClient, Event, EventLoop, IncomingPacketSizeLimit, Packet, PubAckReason, PublishOptions,
    PublishProperties, QoS, SubscribeReasonCode,
};

use super::Problem;
use super::connect::{CONNECT_TIMEOUT, client_id, options};
use super::line::Goodbye;
use super::message::Topics;
use crate::config::{DeviceId, MqttSection};

/// Bytes of an answer at most.
const LARGEST_ANSWER: u32 = 32 << 20;

/// A connection that commands one device.
pub struct Asker {
    client: AsyncClient,
    event_loop: EventLoop,
    goodbye: Goodbye,
    topics: Topics,
    answer_topic: String,
    address: String,
    asked: u32,
}

impl Asker {
    /// Connects, and listens for answers. `name` has to be unlike that of any other client, and
    /// fit into a topic.
    ///
    /// # Errors
    /// What is wrong with the broker or the way to it.
    pub async fn connect(
        section: &MqttSection,
        device: &DeviceId,
        name: &str,
    ) -> Result<Self, Problem> {
        let goodbye = Goodbye::default();
        let client_id = format!("{}-{name}", client_id(section, device));
        let mut options = options(section, client_id, &goodbye)?;
        options.set_incoming_packet_size_limit(IncomingPacketSizeLimit::Bytes(LARGEST_ANSWER));
        let (client, event_loop) = AsyncClient::builder(options).capacity(4).build();
        let topics = Topics::new(section, device);
        let mut asker = Self {
            answer_topic: format!("{}/{name}", topics.answer),
            client,
            event_loop,
            goodbye,
            topics,
            address: section.address(),
            asked: 0,
        };
        asker
            .wait(CONNECT_TIMEOUT, |packet| {
                matches!(packet, Packet::ConnAck(_))
            })
            .await?;
        let subscribed = asker
            .client
            .try_subscribe(asker.answer_topic.as_str(), QoS::AtLeastOnce);
        subscribed.map_err(|error| asker.lost(&error.to_string()))?;
        let is_ack = |packet: &Packet| matches!(packet, Packet::SubAck(_));
        let taken = match asker.wait(CONNECT_TIMEOUT, is_ack).await? {
            Packet::SubAck(ack) => {
                matches!(ack.return_codes[..], [SubscribeReasonCode::Success(_)])
            }
            _ => false,
        };
        if taken {
            Ok(asker)
        } else {
            Err(Problem::Forbidden {
                what: "read",
                topic: asker.answer_topic,
            })
        }
    }

    /// Sends a command and waits for the answer.
    ///
    /// # Errors
    /// What is wrong with the way to the device, or that it does not answer.
    pub async fn ask(&mut self, command: Vec<u8>, patience: Duration) -> Result<Vec<u8>, Problem> {
        self.asked += 1;
        let correlation = self.asked.to_be_bytes();
        let properties = PublishProperties {
            content_type: Some("application/json".to_owned()),
            response_topic: Some(self.answer_topic.clone()),
            correlation_data: Some(correlation.to_vec().into()),
            ..<_>::default()
        };
        let options = PublishOptions::at_least_once().properties(properties);
        let sent = self
            .client
            .try_publish(self.topics.command.as_str(), command, options);
        sent.map_err(|error| self.lost(&error.to_string()))?;
        let is_end = |packet: &Packet| match packet {
            Packet::PubAck(ack) => ack.reason != PubAckReason::Success,
            Packet::Publish(publish) => {
                let properties = publish.properties.as_ref();
                let data = properties.and_then(|p| p.correlation_data.as_ref());
                data.is_some_and(|data| data[..] == correlation)
            }
            _ => false,
        };
        match self.wait(patience, is_end).await? {
            Packet::Publish(publish) => Ok(publish.payload.to_vec()),
            Packet::PubAck(ack) if ack.reason == PubAckReason::NoMatchingSubscribers => {
                Err(Problem::NobodyListens {
                    topic: self.topics.command.clone(),
                })
            }
            _ => Err(Problem::Forbidden {
                what: "write",
                topic: self.topics.command.clone(),
            }),
        }
    }

    /// Says goodbye to the broker. How it goes does not matter.
    pub async fn close(mut self) {
        self.goodbye.store(true, Ordering::Relaxed);
        if self.client.try_disconnect().is_ok() {
            let end = async { while self.event_loop.poll().await.is_ok() {} };
            let _ = tokio::time::timeout(CONNECT_TIMEOUT, end).await;
        }
    }

    /// The first packet that fits, within `patience`.
    async fn wait(
        &mut self,
        patience: Duration,
        fits: impl Fn(&Packet) -> bool,
    ) -> Result<Packet, Problem> {
        let Self {
            event_loop,
            address,
            ..
        } = self;
        let next = async {
            loop {
                match event_loop.poll().await {
                    Ok(Event::Incoming(packet)) if fits(&packet) => return Ok(packet),
                    Ok(_) => {}
                    Err(error) => return Err(Problem::from_library(error, address)),
                }
            }
        };
        match tokio::time::timeout(patience, next).await {
            Ok(found) => found,
            Err(_) => Err(Problem::Silent {
                address: self.address.clone(),
                seconds: patience.as_secs(),
            }),
        }
    }

    fn lost(&self, detail: &str) -> Problem {
        Problem::Lost {
            address: self.address.clone(),
            detail: detail.to_owned(),
        }
    }
}
