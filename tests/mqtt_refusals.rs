//! The publisher against a broker that says no, and the way to one that says yes.
#![allow(missing_docs, clippy::unwrap_used)]

mod broker;
mod support;

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use broker::door::{Door, NEEDED, config, is_event, runtime, says, seqs};
use broker::{Broker, DEADLINE, Subscriber, available, free_port, wait_for};
use doorward::config::MqttSection;
use doorward::event::{EventType, VerificationEvent};
use doorward::mqtt::{Asker, Problem, probe};
use jiff::SignedDuration;
use support::{event, noon};

fn probed(mqtt: &MqttSection) -> Result<(), Problem> {
    runtime().block_on(probe(mqtt, &config("").device.id))
}

#[test]
fn a_wrong_password_is_told_and_a_right_one_taken() {
    if !available(&[&NEEDED[..], &["mosquitto_passwd"]].concat()) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (users, password) = (folder.path().join("users"), folder.path().join("password"));
    let args = ["-b", "-c", users.to_str().unwrap(), "front", "open sesame"];
    assert!(
        Command::new("mosquitto_passwd")
            .args(args)
            .status()
            .unwrap()
            .success()
    );
    let settings = format!("allow_anonymous false\npassword_file {}", users.display());
    let broker = Broker::start(free_port(), &settings, folder.path());
    let subscriber = Subscriber::start(broker.port, &["-u", "front", "-P", "open sesame"]);

    let settings = format!(
        "port = {}\nusername = \"front\"\npassword_file = {password:?}\n",
        broker.port
    );
    let mqtt = config(&settings).mqtt;
    let missing = probed(&mqtt).unwrap_err();
    assert!(
        matches!(
            missing,
            Problem::File {
                key: "password_file",
                ..
            }
        ),
        "{missing}"
    );
    let stopped = MqttSection {
        password_file: Some("/run/credentials/none.service/mqtt.password".into()),
        ..mqtt.clone()
    };
    let away = probed(&stopped).unwrap_err();
    assert!(matches!(away, Problem::Away { .. }), "{away}");
    assert!(
        away.to_string().contains("while the service runs"),
        "{away}"
    );
    std::fs::write(&password, "wrong\n").unwrap();
    let wrong = probed(&mqtt).unwrap_err();
    assert!(matches!(wrong, Problem::Credentials { .. }), "{wrong}");
    let door = Door::start(&settings);
    door.record(EventType::Unknown);
    std::fs::write(&password, "open sesame\n").unwrap();
    probed(&mqtt).unwrap();
    subscriber.until("event", is_event);
    door.wait_until_sent();
    door.stop();
}

/// What a device may publish at least.
const ALLOWED: &str = "topic read #\ntopic write ready\ntopic write doorward/front/available\n";

/// A broker that takes what its access list allows, and logs the rest.
fn picky_broker(folder: &Path, allowed: &str) -> Broker {
    allow(folder, allowed);
    let settings = format!(
        "allow_anonymous true\nacl_file {0}/acl\nlog_dest file {0}/log\nlog_type all",
        folder.display()
    );
    Broker::start(free_port(), &settings, folder)
}

fn allow(folder: &Path, list: &str) {
    std::fs::write(folder.join("acl"), list).unwrap();
}

/// How often it has refused a topic that ends so.
fn denied(folder: &Path, topic: &str) -> usize {
    let log = std::fs::read_to_string(folder.join("log")).unwrap();
    let denied = |line: &&str| line.contains("Denied PUBLISH") && line.contains(topic);
    log.lines().filter(denied).count()
}

#[test]
fn a_refused_event_stays_until_the_broker_takes_it() {
    if !available(&NEEDED) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = picky_broker(folder.path(), ALLOWED);
    let subscriber = Subscriber::start(broker.port, &[]);
    let door = Door::start(&format!("port = {}", broker.port));
    door.record(EventType::Unknown);
    let denied = || denied(folder.path(), "/event'");
    wait_for("the refusal", || denied() > 0);
    assert_eq!(door.waiting(), 1);
    allow(
        folder.path(),
        &format!("{ALLOWED}topic readwrite doorward/#\n"),
    );
    broker.signal("HUP");
    subscriber.until("event", is_event);
    door.wait_until_sent();
    assert!((1..=3).contains(&denied()), "{} attempts", denied());
    door.stop();
}

#[test]
fn refused_records_hold_up_no_live_event() {
    if !available(&NEEDED) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let allowed = format!("{ALLOWED}topic write doorward/front/event\n");
    let broker = picky_broker(folder.path(), &allowed);
    let subscriber = Subscriber::start(broker.port, &[]);
    let door = Door::start(&format!("port = {}", broker.port));
    let old = noon() - SignedDuration::from_mins(5);
    for _ in 0..100 {
        door.record_at(EventType::Unknown, old);
    }
    let denied = || denied(folder.path(), "/audit'");
    wait_for("the refusals", || denied() >= 32);
    for seq in 101..=140 {
        let live = door.record(EventType::Unknown);
        assert_eq!(live.seq, seq);
    }
    subscriber.until("the last", |m| is_event(m) && m.json()["seq"] == 140);
    wait_for("only records wait", || door.waiting() == 100);

    allow(folder.path(), "topic readwrite #\n");
    broker.signal("HUP");
    door.wait_until_sent();
    door.stop();
}

#[test]
fn an_event_that_is_too_large_for_the_broker_costs_no_connection() {
    if !available(&NEEDED) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let settings = "allow_anonymous true\nmax_packet_size 1500";
    let broker = Broker::start(free_port(), settings, folder.path());
    let subscriber = Subscriber::start(broker.port, &[]);
    let door = Door::start(&format!("port = {}", broker.port));
    subscriber.until("birth", says("online"));
    let large = VerificationEvent {
        reason: "x".repeat(2000),
        ..event(EventType::Unknown, noon())
    };
    door.record_event(large);
    door.record(EventType::Unknown);
    let mut received = subscriber.until("the second", is_event);
    wait_for("the first alone waits", || door.waiting() == 1);
    door.stop();
    received.extend(subscriber.until("goodbye", says("stopped")));
    assert_eq!(seqs(&received), [2]);
    assert!(!received.iter().any(says("online")), "one connection");
}

#[test]
fn probe_says_what_is_wrong() {
    let port = free_port();
    let nobody = probed(&config(&format!("port = {port}")).mqtt).unwrap_err();
    assert!(matches!(nobody, Problem::Refused { .. }), "{nobody}");
    assert!(
        nobody.to_string().contains(&format!("127.0.0.1:{port}")),
        "{nobody}"
    );
    let name = MqttSection {
        host: "no-such-host.invalid".to_owned(),
        ..<_>::default()
    };
    let nowhere = probed(&name).unwrap_err();
    assert!(matches!(nowhere, Problem::Unreachable { .. }), "{nowhere}");
}

#[test]
fn a_broker_without_a_word_is_told_from_a_device_without_one() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = config(&format!("port = {}", silent.local_addr().unwrap().port()));
    let (mqtt, device) = (&config.mqtt, &config.device.id);
    let (probed, asked) = runtime()
        .block_on(async { tokio::join!(probe(mqtt, device), Asker::connect(mqtt, device, "x")) });
    for problem in [probed.err().unwrap(), asked.err().unwrap()] {
        assert!(matches!(problem, Problem::Unreachable { .. }), "{problem}");
    }
}

/// A certificate authority and what it signs, made by openssl.
fn make_certificates(folder: &Path) {
    let openssl = |args: &str| {
        let done = Command::new("openssl")
            .args(args.split(' '))
            .current_dir(folder)
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "{args}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for ca in ["ca", "other"] {
        openssl(&format!(
            "req -x509 {key} -days 2 -subj /CN={ca} -keyout {ca}.key -out {ca}.pem"
        ));
    }
    std::fs::write(folder.join("ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    for name in ["broker", "door"] {
        openssl(&format!(
            "req {key} -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
             -extfile ext -out {name}.pem"
        ));
    }
}

#[test]
fn tls_trusts_its_authority_and_shows_its_certificate() {
    if !available(&[&NEEDED[..], &["openssl"]].concat()) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    make_certificates(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let settings = format!(
        "allow_anonymous true\ncafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true",
        file("ca.pem"),
        file("broker.pem"),
        file("broker.key")
    );
    let broker = Broker::start(free_port(), &settings, folder.path());
    let (ca, cert, key) = (file("ca.pem"), file("door.pem"), file("door.key"));
    let subscriber = Subscriber::start(
        broker.port,
        &["--cafile", &ca, "--cert", &cert, "--key", &key],
    );

    let settings = |ca: &str, client: bool| {
        let client = match client {
            true => format!("client_cert_file = {cert:?}\nclient_key_file = {key:?}\n"),
            false => String::new(),
        };
        format!(
            "port = {}\ntls = true\nca_file = {ca:?}\n{client}",
            broker.port
        )
    };
    let stranger = probed(&config(&settings(&file("other.pem"), true)).mqtt).unwrap_err();
    assert!(
        stranger.to_string().contains("ca_file has to hold"),
        "{stranger}"
    );
    let empty = probed(&config(&settings(&file("ext"), true)).mqtt).unwrap_err();
    assert!(
        empty.to_string().contains("holds no certificate"),
        "{empty}"
    );
    let nameless = probed(&config(&settings(&ca, false)).mqtt).unwrap_err();
    assert!(
        nameless
            .to_string()
            .contains("wants [mqtt] client_cert_file"),
        "{nameless}"
    );
    let mut named = config(&settings(&ca, true)).mqtt;
    named.host = "localhost".to_owned();
    let named = probed(&named).unwrap_err();
    assert!(
        named
            .to_string()
            .contains("a name that the broker's certificate"),
        "{named}"
    );
    let plain = probed(&config(&format!("port = {}", broker.port)).mqtt).unwrap_err();
    assert!(plain.to_string().contains("speaks TLS"), "{plain}");

    let settings = settings(&ca, true);
    probed(&config(&settings).mqtt).unwrap();
    let door = Door::start(&settings);
    door.record(EventType::Unknown);
    subscriber.until("event", is_event);
    door.wait_until_sent();
    assert!(door.stop() < DEADLINE);
    subscriber.until("goodbye", says("stopped"));
}
