//! What comes over the network: commands, answers, and MQTT itself.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use doorward::command::{Action, Answer, Command, CommandKey, Judge, Moment, Request};
use doorward::config::Config;
use doorward::mqtt::Asker;
use jiff::Timestamp;
use proptest::prelude::*;

use crate::fuzz;
use crate::mutate::mutated;

const NOON: &str = "2026-03-01T12:00:00Z";

fn noon() -> Timestamp {
    NOON.parse().unwrap()
}

fn signed(action: &Action) -> Vec<u8> {
    let request = Request {
        device: "front",
        action,
        id: "1",
        issued_at: noon(),
        nonce: [1; 16],
        challenge: None,
    };
    request.sign(&CommandKey::new([7; 32])).unwrap()
}

#[test]
fn commands() {
    let enroll = Action::Enroll {
        subject: "Ada".to_owned(),
        photo: Some(vec![7; 300]),
    };
    let strategy = prop_oneof![
        mutated(signed(&Action::Open)),
        mutated(signed(&enroll)),
        prop::collection::vec(any::<u8>(), 0..500),
        "\\PC{0,200}".prop_map(String::into_bytes),
    ];
    let whole = [signed(&Action::Open), signed(&enroll)];
    fuzz("commands", 1, strategy, |bytes| {
        let moment = Moment {
            now: Some(noon()),
            uptime: Duration::ZERO,
            random: [0; 16],
        };
        let mut judge = Judge::new("front", CommandKey::new([7; 32]));
        let obeyed = judge.judge(&bytes, false, &moment);
        if let Ok(Command { action, .. }) = obeyed {
            // Changes may cancel out; nothing else is obeyed.
            assert!(same_json(&whole, &bytes), "{action:?}");
        }
        let _ = Answer::parse(&bytes);
    });
}

/// Whether `bytes` say the same as one of `whole`; JSON has more than one way to say a thing.
fn same_json(whole: &[Vec<u8>], bytes: &[u8]) -> bool {
    let read = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
    whole.iter().any(|one| read(one) == read(bytes))
}

/// What a broker says to somebody who connects, subscribes, publishes and is answered.
fn broker_says() -> Vec<u8> {
    let answer = Answer::obeyed("front", "1", "done".to_owned(), serde_json::Value::Null);
    let payload = serde_json::to_vec(&answer).unwrap();
    let topic = b"doorward/front/answer/x";
    // Correlation data, four bytes long: the first command of a connection.
    let properties = [9, 0, 4, 0, 0, 0, 1];
    let mut publish = vec![0, u8::try_from(topic.len()).unwrap()];
    publish.extend_from_slice(topic);
    publish.push(u8::try_from(properties.len()).unwrap());
    publish.extend_from_slice(&properties);
    publish.extend_from_slice(&payload);
    let length = publish.len();
    let low = u8::try_from(length % 128).unwrap() | 128;
    let head = [0x30, low, u8::try_from(length / 128).unwrap()];
    let connack = [0x20, 3, 0, 0, 0];
    let suback = [0x90, 4, 0, 1, 0, 1];
    [&connack[..], &suback, &head, &publish].concat()
}

/// A broker for one connection: says `bytes`, as far as the other side listens.
fn broker(bytes: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let Ok((mut stream, _)) = listener.accept() else {
            return;
        };
        let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(&bytes);
        // Until nothing more comes.
        while let Ok(1..) = stream.read(&mut [0; 1024]) {}
    });
    port
}

async fn ask(port: u16) -> Result<Vec<u8>, doorward::mqtt::Problem> {
    let text = format!("[device]\nid = \"front\"\n[mqtt]\nhost = \"127.0.0.1\"\nport = {port}\n");
    let config = Config::parse(&text, std::path::Path::new("test")).unwrap();
    let mut asker = Asker::connect(&config.mqtt, &config.device.id, "x").await?;
    asker.ask(b"{}".to_vec(), Duration::from_secs(2)).await
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn mqtt() {
    let runtime = runtime();
    let answered = runtime.block_on(ask(broker(broker_says())));
    answered.expect("what is not changed is understood");
    let strategy = prop_oneof![
        4 => mutated(broker_says()),
        1 => prop::collection::vec(any::<u8>(), 0..100),
    ];
    fuzz("MQTT", 8, strategy, |bytes| {
        // Whatever it says: it has to end.
        let _ = runtime.block_on(ask(broker(bytes)));
    });
}
