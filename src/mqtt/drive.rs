//! The library at work, in a task of its own.

use rumqttc::{Event, EventLoop, Packet};
use tokio::sync::mpsc;

use super::Problem;
use super::commands::Intake;
use super::line::Goodbye;

/// News from the event loop.
pub(super) enum News {
    /// With the largest packet that the broker takes, if it has said so.
    Connected(Option<u32>),
    Lost(Problem),
}

/// Keeps the library at work. It must not be interrupted in the middle of a packet, and after an
/// error it would connect again by itself; so it has a task of its own, which ends there.
pub(super) async fn drive(
    mut event_loop: EventLoop,
    news: mpsc::UnboundedSender<News>,
    intake: Option<Intake>,
    goodbye: Goodbye,
    address: String,
) {
    let mut taken = false;
    loop {
        let word = match event_loop.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(ack))) => {
                taken = true;
                News::Connected(ack.properties.and_then(|said| said.max_packet_size))
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => {
                if let Some(intake) = &intake {
                    intake.take(&publish);
                }
                continue;
            }
            Ok(event) => {
                goodbye.note(&event);
                continue;
            }
            Err(error) if taken => News::Lost(Problem::from_library(error, &address).once_taken()),
            Err(error) => News::Lost(Problem::from_library(error, &address)),
        };
        let over = matches!(word, News::Lost(_));
        if news.send(word).is_err() || over {
            return;
        }
    }
}
