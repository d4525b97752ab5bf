//! The publisher and the store against a real broker that is late or dies.
#![allow(missing_docs, clippy::unwrap_used)]

mod broker;
mod support;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use broker::door::{Door, NEEDED, is_event, says, seqs};
use broker::{
    Broker, DEADLINE, Line, Message, Subscriber, available, deaf_broker, free_port, last_word,
    wait_for,
};
use doorward::event::{EventType, VerificationEvent};
use jiff::SignedDuration;
use support::noon;

#[test]
fn events_arrive_once_in_order_and_are_never_retained() {
    if !available(&NEEDED) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::open(free_port(), folder.path());
    let subscriber = Subscriber::start(broker.port, &[]);
    let door = Door::start(&format!("port = {}", broker.port));
    subscriber.until("birth", says("online"));
    door.state
        .send_modify(|state| state.camera = "ok".to_owned());
    for _ in 0..50 {
        door.record(EventType::Unknown);
    }
    let sent = door.record(EventType::Match);
    door.wait_until_sent();
    let state = |m: &Message| m.topic == "doorward/front/state" && m.json()["camera"] == "ok";
    let mut received = subscriber.until("state", state);
    let took = door.stop();
    assert!(took < DEADLINE, "{took:?}");
    received.extend(subscriber.until("goodbye", says("stopped")));

    assert_eq!(seqs(&received), (1..=51).collect::<Vec<_>>());
    assert!(
        received.iter().all(|m| m.payload != "offline"),
        "no last will after a clean stop"
    );
    let events: Vec<_> = received.iter().filter(|m| is_event(m)).collect();
    assert!(
        events
            .iter()
            .all(|m| !m.retained && m.content_type == "application/json")
    );
    let accept = events.last().unwrap();
    assert_eq!(
        serde_json::from_str::<VerificationEvent>(&accept.payload).unwrap(),
        sent
    );
    assert!(
        (1..=5).contains(&accept.expiry.parse::<u32>().unwrap()),
        "{accept:?}"
    );
    assert_eq!(
        events[0].expiry, "",
        "an unknown face opens nothing at any time"
    );

    // Who comes later learns how things stand, and no event.
    let later = Subscriber::start(broker.port, &[]);
    let marker = [
        "-h",
        "127.0.0.1",
        "-p",
        &broker.port.to_string(),
        "-t",
        "end",
        "-m",
        "end",
    ];
    assert!(
        Command::new("mosquitto_pub")
            .args(marker)
            .status()
            .unwrap()
            .success()
    );
    let mut retained = later.until("end", |m| m.topic == "end");
    retained.pop();
    let topics: BTreeSet<_> = retained.iter().map(|m| m.topic.as_str()).collect();
    assert_eq!(
        topics,
        BTreeSet::from(["doorward/front/available", "doorward/front/state"])
    );
    assert!(retained.iter().all(|m| m.retained));
}

#[test]
fn a_broker_that_is_late_gets_everything() {
    if !available(&NEEDED) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let line = Line::new(port, true);
    let door = Door::start(&format!("port = {}", line.port));
    for _ in 0..10 {
        door.record(EventType::Unknown);
    }
    line.close();
    let broker = Broker::open(port, folder.path());
    let subscriber = Subscriber::start(broker.port, &[]);
    assert!(!*door.connected.borrow());
    line.open();
    let received = subscriber.until("last", |m| is_event(m) && m.json()["seq"] == 10);
    assert_eq!(seqs(&received), (1..=10).collect::<Vec<_>>());
    door.wait_until_sent();
    door.stop();
}

#[test]
fn a_stop_without_a_broker_does_not_wait() {
    let door = Door::start(&format!("port = {}", free_port()));
    door.record(EventType::Unknown);
    let took = door.stop();
    assert!(took < DEADLINE, "{took:?}");
}

#[test]
fn what_a_stop_leaves_unread_is_thrown_away() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let door = Door::start(&format!("port = {}", listener.local_addr().unwrap().port()));
    let broker = deaf_broker(&listener);
    door.wait_until_connected();
    door.record(EventType::Match);
    door.stop();
    // The kernel would go on delivering what it holds of a connection that ends otherwise.
    let end = last_word(broker).expect_err("the connection is reset");
    assert_eq!(end.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_broker_killed_in_the_middle_loses_nothing() {
    if !available(&NEEDED) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let broker = Broker::open(port, folder.path());
    let line = Line::new(port, true);
    let subscriber = Subscriber::start(port, &[]);
    let door = Door::start(&format!("port = {}", line.port));
    door.wait_until_connected();
    let mut recorded: BTreeSet<String> = BTreeSet::new();
    for _ in 0..100 {
        recorded.insert(door.record(EventType::Unknown).event_id);
    }
    let mut received = subscriber.until("some", |m| is_event(m) && m.json()["seq"] == 20);
    broker.kill();
    line.close();
    for _ in 0..100 {
        recorded.insert(door.record(EventType::Unknown).event_id);
    }
    // What the first subscriber still holds of the broker that is dead.
    wait_for("the connection is lost", || !*door.connected.borrow());
    let left = door.waiting();
    assert!(left >= 100, "{left}");

    let broker = Broker::open(port, folder.path());
    let second = Subscriber::start(port, &[]);
    line.open();
    let newer = second.until("last", |m| is_event(m) && m.json()["seq"] == 200);
    door.wait_until_sent();
    // The first subscriber comes back by itself; its word ends what it has to tell.
    let marker = [
        "-h",
        "127.0.0.1",
        "-p",
        &port.to_string(),
        "-t",
        "end",
        "-m",
        "end",
    ];
    let begun = Instant::now();
    while begun.elapsed() < DEADLINE {
        assert!(
            Command::new("mosquitto_pub")
                .args(marker)
                .status()
                .unwrap()
                .success()
        );
        let part = subscriber.drain(Duration::from_millis(200));
        let ended = part.iter().any(|m| m.topic == "end");
        received.extend(part);
        if ended {
            break;
        }
    }
    let again = seqs(&newer);
    assert!(again.is_sorted(), "{again:?}");
    assert_eq!(
        again.len(),
        BTreeSet::from_iter(&again).len(),
        "no event twice on one connection"
    );
    let ids: BTreeSet<String> = received
        .iter()
        .chain(&newer)
        .filter(|m| is_event(m))
        .map(|m| m.json()["event_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(recorded.difference(&ids).count(), 0);
    door.stop();
    drop(broker);
}

#[test]
fn a_broker_that_stops_answering_is_left_and_found_again() {
    if !available(&NEEDED) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::open(free_port(), folder.path());
    let subscriber = Subscriber::start(broker.port, &[]);
    let door = Door::start(&format!("port = {}", broker.port));
    subscriber.until("birth", says("online"));
    broker.signal("STOP");
    door.record(EventType::Unknown);
    wait_for("the connection is given up", || !*door.connected.borrow());
    assert_eq!(door.waiting(), 1);
    broker.signal("CONT");
    subscriber.until("event", is_event);
    door.wait_until_sent();
    door.stop();
}

#[test]
fn a_slow_disk_is_no_silence_of_the_broker() {
    if !available(&NEEDED) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::open(free_port(), folder.path());
    let subscriber = Subscriber::start(broker.port, &[]);
    let door = Door::start(&format!("port = {}", broker.port));
    subscriber.until("birth", says("online"));
    door.store.sleeps.store(2, Ordering::SeqCst);
    door.record(EventType::Unknown);
    door.wait_until_sent();
    door.record(EventType::Unknown);
    door.wait_until_sent();
    door.stop();
    let received = subscriber.until("goodbye", says("stopped"));
    assert_eq!(seqs(&received), [1, 2], "each once");
    assert!(!received.iter().any(says("online")), "one connection");
}

#[test]
fn the_last_will_speaks_when_the_line_is_cut() {
    if !available(&NEEDED) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::open(free_port(), folder.path());
    let subscriber = Subscriber::start(broker.port, &[]);
    let line = Line::new(broker.port, true);
    let door = Door::start(&format!("port = {}", line.port));
    subscriber.until("birth", says("online"));
    line.close();
    subscriber.until("last will", says("offline"));
    let later = Subscriber::start(broker.port, &[]);
    let retained = later.until("retained last will", says("offline"));
    assert!(retained.last().unwrap().retained);
    line.open();
    subscriber.until("second birth", says("online"));
    door.stop();
}

#[test]
fn an_accept_that_comes_too_late_is_for_the_record_only() {
    if !available(&NEEDED) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::open(free_port(), folder.path());
    let subscriber = Subscriber::start(broker.port, &[]);
    let line = Line::new(broker.port, false);
    let door = Door::start(&format!("port = {}", line.port));
    let sent = door.record(EventType::Match);
    door.record(EventType::Unknown);
    let late = noon() + SignedDuration::from_secs(5);
    door.clock.store(late.as_millisecond(), Ordering::SeqCst);
    line.open();
    let received = subscriber.until("the other event", is_event);
    assert_eq!(seqs(&received), [2], "the accept is not on the event topic");
    let audit: Vec<_> = received
        .iter()
        .filter(|m| m.topic == "doorward/front/audit")
        .collect();
    let expected = VerificationEvent {
        replayed: true,
        ..sent
    };
    assert_eq!(audit.len(), 1);
    assert_eq!(
        serde_json::from_str::<VerificationEvent>(&audit[0].payload).unwrap(),
        expected
    );
    assert!(!audit[0].retained);

    // A clock that has been set back makes no late accept young again.
    let back = noon() - SignedDuration::from_hours(1);
    door.clock.store(back.as_millisecond(), Ordering::SeqCst);
    door.record(EventType::Match);
    let received = subscriber.until("audit", |m| m.topic == "doorward/front/audit");
    assert!(seqs(&received).is_empty());
    door.wait_until_sent();
    door.stop();
}

/// `DOORWARD_EVENTS` says how many wait, 1,000 when it is not set.
#[test]
fn events_that_waited_an_hour_arrive_once_and_open_nothing() {
    if !available(&NEEDED) {
        return;
    }
    let count = std::env::var("DOORWARD_EVENTS").map_or(1000, |number| number.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::open(free_port(), folder.path());
    let line = Line::new(broker.port, false);
    let subscriber = Subscriber::start(broker.port, &[]);
    let door = Door::start(&format!("port = {}", line.port));
    let kinds = [EventType::Match, EventType::Unknown];
    let recorded: BTreeSet<String> = (0..count)
        .map(|i| door.record(kinds[i as usize % 2]).event_id)
        .collect();
    assert_eq!(door.waiting(), count);
    let later = noon() + SignedDuration::from_hours(1);
    door.clock.store(later.as_millisecond(), Ordering::SeqCst);
    line.open();
    let late = |m: &Message| m.topic == "doorward/front/audit";
    let received = subscriber.until("the last", |m| late(m) && m.json()["seq"] == count);
    door.wait_until_sent();
    door.stop();

    let arrived: Vec<_> = received
        .iter()
        .filter(|m| late(m))
        .map(Message::json)
        .collect();
    let ids = arrived
        .iter()
        .map(|event| event["event_id"].as_str().unwrap().to_owned());
    let ids: BTreeSet<String> = ids.collect();
    let lost = recorded.difference(&ids).count();
    println!(
        "broker away: {count} events waited for an hour, {} arrived, {lost} lost, {} twice",
        ids.len(),
        arrived.len() - ids.len(),
    );
    assert_eq!(
        (ids.len(), lost, arrived.len()),
        (recorded.len(), 0, recorded.len())
    );
    assert!(arrived.iter().all(|event| event["replayed"] == true));
    assert!(seqs(&received).is_empty(), "nothing that could be acted on");
}

#[test]
fn a_backlog_holds_up_no_live_event() {
    if !available(&NEEDED) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::open(free_port(), folder.path());
    let line = Line::new(broker.port, false);
    let subscriber = Subscriber::start(broker.port, &[]);
    let door = Door::start(&format!("port = {}", line.port));
    let old = noon() - SignedDuration::from_mins(5);
    for _ in 0..300 {
        door.record_at(EventType::Unknown, old);
    }
    let live = door.record(EventType::Unknown).seq;
    line.open();
    let mut received = subscriber.until("the live one", is_event);
    assert_eq!(seqs(&received).last(), Some(&live));
    assert!(
        received.len() < 150,
        "{} of 300 went before it",
        received.len()
    );
    received.extend(subscriber.until("the last", |m| {
        m.topic.ends_with("/audit") && m.json()["seq"] == 300
    }));
    let records = received
        .iter()
        .filter(|m| m.topic.ends_with("/audit"))
        .count();
    assert_eq!(records, 300, "each once");
    door.wait_until_sent();
    door.stop();
}
