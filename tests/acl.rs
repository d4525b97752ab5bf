//! The example access list with a real broker: who may write and read what.
#![allow(missing_docs, clippy::unwrap_used)]

mod broker;
mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use broker::door::{Door, NEEDED, is_event};
use broker::{Broker, Subscriber, available, free_port};
use doorward::event::EventType;

const USERS: [&str; 5] = ["front", "back", "home", "lock", "owner"];

const TOPICS: [&str; 11] = [
    "doorward/front/available",
    "doorward/front/state",
    "doorward/front/event",
    "doorward/front/audit",
    "doorward/front/answer/01J",
    "doorward/front/command",
    "doorward/back/event",
    "doorward/back/answer/01J",
    "doorward/back/command",
    "other",
    "doorward/front/lock",
];

/// What each of [`USERS`] may write, as places in [`TOPICS`].
const WRITES: [&[usize]; 5] = [&[0, 1, 2, 3, 4, 10], &[6, 7], &[], &[], &[5, 8]];

/// What each may read.
const READS: [&[usize]; 5] = [
    &[5],
    &[8],
    &[0, 1, 2, 3, 6],
    &[0, 10],
    &[0, 1, 2, 3, 4, 6, 7],
];

/// A broker with the example list, and one more user, `all`, who may do everything.
fn guarded(folder: &Path) -> Broker {
    let users = folder.join("users");
    std::fs::write(&users, "").unwrap();
    for user in USERS.iter().chain(&["all"]) {
        let args = ["-b", users.to_str().unwrap(), user, "secret"];
        let made = Command::new("mosquitto_passwd").args(args).status();
        assert!(made.unwrap().success());
    }
    let list = include_str!("../config/mosquitto.acl");
    let acl = folder.join("acl");
    // "ready" is how the test's subscribers find out that they are subscribed.
    let more = "\nuser all\ntopic readwrite #\npattern readwrite ready\n";
    std::fs::write(&acl, format!("{list}{more}")).unwrap();
    let settings = format!(
        "allow_anonymous false\npassword_file {}\nacl_file {}",
        users.display(),
        acl.display()
    );
    Broker::start(free_port(), &settings, folder)
}

fn login(user: &str) -> [&str; 4] {
    ["-u", user, "-P", "secret"]
}

fn publish(port: u16, user: &str, topic: &str) {
    let port = port.to_string();
    let mut publish = Command::new("mosquitto_pub");
    publish.args(["-V", "mqttv5", "-q", "1", "-h", "127.0.0.1", "-p", &port]);
    publish.args(login(user)).args(["-t", topic, "-m", user]);
    // Whether it was allowed is seen by what arrives.
    publish.output().unwrap();
}

/// The topics on which something of `users` came, up to the end that `all` sends.
fn seen(subscriber: &Subscriber) -> BTreeSet<(String, String)> {
    let messages = subscriber.until("the end", |m| m.topic == "end");
    let told = messages.into_iter().filter(|m| m.topic != "end");
    told.map(|m| (m.payload, m.topic)).collect()
}

fn table(user: usize, allowed: &[usize]) -> BTreeSet<(String, String)> {
    let pair = |&i: &usize| (USERS[user].to_owned(), TOPICS[i].to_owned());
    allowed.iter().map(pair).collect()
}

#[test]
fn everybody_writes_what_is_theirs_and_nothing_else() {
    if !available(&[&NEEDED[..], &["mosquitto_passwd"]].concat()) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = guarded(folder.path());
    let subscriber = Subscriber::start(broker.port, &login("all"));
    for user in USERS {
        for topic in TOPICS {
            publish(broker.port, user, topic);
        }
    }
    publish(broker.port, "all", "end");
    let expected: BTreeSet<_> = (0..USERS.len())
        .flat_map(|user| table(user, WRITES[user]))
        .collect();
    assert_eq!(seen(&subscriber), expected);
}

#[test]
fn everybody_reads_what_concerns_them_and_nothing_else() {
    if !available(&[&NEEDED[..], &["mosquitto_passwd"]].concat()) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = guarded(folder.path());
    let subscribers = USERS.map(|user| Subscriber::start(broker.port, &login(user)));
    for topic in TOPICS {
        publish(broker.port, "all", topic);
    }
    publish(broker.port, "all", "ready");
    for (subscriber, reads) in subscribers.iter().zip(READS) {
        let told = subscriber.drain(Duration::from_secs(2));
        let topics: BTreeSet<_> = told
            .iter()
            .filter(|m| m.payload == "all" && m.topic != "ready")
            .map(|m| m.topic.as_str())
            .collect();
        let expected: BTreeSet<_> = reads.iter().map(|&i| TOPICS[i]).collect();
        assert_eq!(topics, expected);
    }
}

#[test]
fn a_device_publishes_under_the_list() {
    if !available(&[&NEEDED[..], &["mosquitto_passwd"]].concat()) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = guarded(folder.path());
    let password = folder.path().join("password");
    std::fs::write(&password, "secret\n").unwrap();
    let subscriber = Subscriber::start(broker.port, &login("home"));
    let door = Door::start(&format!(
        "port = {}\nusername = \"front\"\npassword_file = {password:?}\n",
        broker.port
    ));
    door.record(EventType::Match);
    subscriber.until("the event", is_event);
    door.wait_until_sent();
    door.stop();
}
