//! A daemon that takes commands, and somebody who sends it whatever they like.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test uses what it needs"
)]

use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use doorward::command::{Action, CommandKey, MAX_MESSAGE, Request};
use jiff::{SignedDuration, Timestamp};
use rumqttc::{AsyncClient, MqttOptions, PublishOptions, PublishProperties};

use crate::broker::door::runtime;
use crate::broker::{Broker, wait_for};
use crate::door::daemon::Daemon;
use crate::door::{Door, fixture};

pub const TOPIC: &str = "doorward/front/command";
const KEY: [u8; 32] = [0x5a; 32];

pub fn key() -> CommandKey {
    CommandKey::new(KEY)
}

/// A door whose daemon takes commands by way of `broker`, with more lines of configuration, which
/// go on in `[device]`.
pub fn door(broker: &Broker, more: &str) -> Door {
    let config = format!(
        "[mqtt]\nhost = \"127.0.0.1\"\nport = {}\n[commands]\nkey_file = \"commands.key\"\n\
         [device]\nid = \"front\"\n{more}",
        broker.port
    );
    let door = Door::new(&config);
    write_key(&door, &KEY);
    door
}

pub fn write_key(door: &Door, key: &[u8; 32]) {
    let path = door.path("commands.key");
    let _ = std::fs::remove_file(&path);
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    std::io::Write::write_all(&mut file.unwrap(), digits.as_bytes()).unwrap();
}

/// The daemon of `door`, which watches a clip for ever and is ready for commands.
pub fn daemon(door: &Door) -> Daemon {
    let clip = fixture("door.mjpeg");
    // Each refusal of a command has a line of its own there.
    let log = [("RUST_LOG", "info,doorward::daemon::commands=debug")];
    let daemon = Daemon::start_with(door, &["run", "--replay", &clip, "--repeat"], &log);
    wait_for("commands are taken", || {
        daemon.lines_with("commands are taken") > 0
    });
    daemon
}

/// A command signed as it should be, issued so many seconds from now.
pub fn signed(action: &Action, seconds: i64) -> Vec<u8> {
    sign(action, "front", &key(), seconds, None)
}

pub fn sign(
    action: &Action,
    device: &str,
    key: &CommandKey,
    seconds: i64,
    life: Option<i64>,
) -> Vec<u8> {
    let issued_at = Timestamp::now() + SignedDuration::from_secs(seconds);
    let request = Request {
        device,
        action,
        id: &ulid::Ulid::generate().to_string(),
        issued_at,
        nonce: ulid::Ulid::generate().to_bytes(),
        challenge: None,
    };
    match life {
        Some(life) => request.sign_until(key, issued_at + SignedDuration::from_secs(life)),
        None => request.sign(key).unwrap(),
    }
}

/// Publishes each of `payloads`, and waits until the broker has them all.
pub fn publish(port: u16, payloads: Vec<Vec<u8>>, retain: bool) {
    runtime().block_on(async {
        let mut options = MqttOptions::new(ulid::Ulid::generate().to_string(), ("127.0.0.1", port));
        options.set_clean_start(true);
        let (client, mut event_loop) = AsyncClient::builder(options).capacity(16).build();
        let driver = tokio::spawn(async move { while event_loop.poll().await.is_ok() {} });
        let mut notices = Vec::new();
        for payload in payloads {
            let properties = PublishProperties {
                response_topic: Some("doorward/front/answer/enemy".to_owned()),
                ..<_>::default()
            };
            let mut options = PublishOptions::at_least_once().properties(properties);
            if retain {
                options = options.retained();
            }
            assert!(payload.len() <= MAX_MESSAGE + 1024);
            notices.push(
                client
                    .publish_tracked(TOPIC, payload, options)
                    .await
                    .unwrap(),
            );
        }
        for notice in notices {
            let sent = tokio::time::timeout(Duration::from_secs(30), notice.wait_async());
            sent.await.unwrap().unwrap();
        }
        client.disconnect().await.unwrap();
        let _ = tokio::time::timeout(Duration::from_secs(1), driver).await;
    });
}
