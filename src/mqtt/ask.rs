//! The other side of a command: sends one to a device and waits for its answer.

use std::time::Duration;

use rumqttc::{Packet, PubAckReason, PublishOptions, PublishProperties, QoS, SubscribeReasonCode};

use super::Problem;
use super::client::Client;
use super::message::{Topics, json};
use crate::config::{DeviceId, MqttSection};

/// A connection that commands one device.
pub struct Asker {
    connection: Client,
    topics: Topics,
    answer_topic: String,
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
        let topics = Topics::new(section, device);
        let mut asker = Self {
            connection: Client::connect(section, device, name).await?,
            answer_topic: format!("{}/{name}", topics.answer),
            topics,
            asked: 0,
        };
        let subscribed = asker
            .connection
            .client
            .try_subscribe(asker.answer_topic.as_str(), QoS::AtLeastOnce);
        subscribed.map_err(|error| asker.lost(&error.to_string()))?;
        let is_ack = |packet: &Packet| matches!(packet, Packet::SubAck(_));
        let taken = match asker.connection.wait(is_ack).await? {
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
            response_topic: Some(self.answer_topic.clone()),
            correlation_data: Some(correlation.to_vec().into()),
            ..json(None)
        };
        let options = PublishOptions::at_least_once().properties(properties);
        let sent =
            self.connection
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
        let answer = tokio::time::timeout(patience, self.connection.next(is_end)).await;
        let silent = |_| Problem::Silent {
            address: self.connection.address.clone(),
            seconds: patience.as_secs(),
        };
        match answer.map_err(silent)?? {
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
    pub async fn close(self) {
        self.connection.close().await;
    }

    fn lost(&self, detail: &str) -> Problem {
        Problem::Lost {
            address: self.connection.address.clone(),
            detail: detail.to_owned(),
        }
    }
}
