//! The daemon under a service manager: what it says, and a reload while it runs.
#![allow(missing_docs, clippy::unwrap_used)]

mod broker;
mod door;
mod support;

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use broker::{deaf_broker, last_word};
use door::daemon::end;
use door::{Door, fixture};

/// Nothing here takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The daemon on the clip, and the socket that it tells of itself.
struct Service {
    child: Child,
    socket: UnixDatagram,
    /// Events, a line each.
    events: Receiver<String>,
}

impl Service {
    /// Over and over, with events to be read.
    fn start(door: &Door) -> Self {
        Self::start_with(door, &["--repeat", "--sink", "stdout"], Stdio::piped())
    }

    fn start_with(door: &Door, options: &[&str], stdout: Stdio) -> Self {
        let path = door.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let clip = fixture("door.mjpeg");
        let command = door.command(&[&["run", "--replay", &clip], options].concat());
        let mut child = Command::new(command.get_program())
            .args(command.get_args())
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "30000000")
            .stdout(stdout)
            .spawn()
            .unwrap();
        let (sender, events) = channel();
        if let Some(stdout) = child.stdout.take() {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            std::thread::spawn(move || lines.map(|l| sender.send(l)).all(|sent| sent.is_ok()));
        }
        Self {
            child,
            socket,
            events,
        }
    }

    /// Waits for a message that contains `words`.
    fn hear(&self, words: &str) -> String {
        let mut heard = Vec::new();
        let mut bytes = [0; 4096];
        loop {
            let length = self.socket.recv(&mut bytes);
            let length = length.unwrap_or_else(|e| panic!("{words}: {e}; heard {heard:?}"));
            let message = String::from_utf8(bytes[..length].to_vec()).unwrap();
            if message.contains(words) {
                return message;
            }
            heard.push(message);
        }
    }

    fn signal(&self, name: &str) {
        let kill = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
    }

    /// Events until one of this type.
    fn until(&self, event_type: &str) -> Vec<String> {
        let mut kinds = Vec::new();
        while let Ok(line) = self.events.recv_timeout(PATIENCE) {
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            kinds.push(event["event_type"].as_str().unwrap().to_owned());
            if kinds.last().unwrap() == event_type {
                return kinds;
            }
        }
        panic!("no {event_type} but {kinds:?}");
    }

    /// The exit status.
    fn end(&mut self) -> Option<i32> {
        end(&mut self.child).expect("the service has ended").code()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_service_manager_hears_all() {
    let door = Door::new("");
    let mut service = Service::start(&door);
    service.hear("READY=1");
    service.hear("WATCHDOG=1");
    let status = service.hear("STATUS=camera ");
    assert!(status.contains("door.mjpeg"), "{status}");
    assert!(status.contains("nobody is enrolled yet"), "{status}");
    service.hear("last event: unknown");
    service.signal("HUP");
    service.hear("RELOADING=1\nMONOTONIC_USEC=");
    service.hear("READY=1");
    service.signal("TERM");
    service.hear("STOPPING=1");
    assert_eq!(service.end(), Some(0));
}

#[test]
fn a_second_signal_ends_a_daemon_that_nobody_reads() {
    let (_unread, pipe) = std::io::pipe().unwrap();
    let mut full = pipe.try_clone().unwrap();
    std::thread::spawn(move || while full.write_all(&[0; 4096]).is_ok() {});
    let door = Door::new("");
    let mut service = Service::start_with(&door, &["--fast", "--sink", "stdout"], pipe.into());
    service.hear("last event: unknown");
    service.signal("TERM");
    service.hear("STOPPING=1");
    service.signal("TERM");
    assert_eq!(service.end(), Some(130));
}

#[test]
fn a_signal_cuts_an_ending_short_that_no_signal_began() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let door = Door::new(&format!("[mqtt]\nhost = \"127.0.0.1\"\nport = {port}\n"));
    let mut service = Service::start_with(&door, &["--fast"], Stdio::null());
    let broker = deaf_broker(&listener);
    service.hear("STOPPING=1");
    service.signal("TERM");
    assert_eq!(service.end(), Some(130));
    let end = last_word(broker).expect_err("the connection is reset");
    assert_eq!(end.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_new_configuration_holds_without_a_restart() {
    let door = Door::new("threshold = 0.9999\n");
    door.expect(0, &["enroll", "ada", "--photo", &fixture("ada.jpg")]);
    let service = Service::start(&door);
    service.until("unknown");
    let path = door.path("door.toml");
    let config = fs::read_to_string(&path).unwrap();
    // What is wrong changes nothing.
    fs::write(&path, "[camera]\nframes = 1\n").unwrap();
    service.signal("HUP");
    service.hear("RELOADING=1");
    service.hear("READY=1");
    fs::write(&path, config.replace("threshold = 0.9999\n", "")).unwrap();
    service.signal("HUP");
    let kinds = service.until("match");
    assert!(kinds.iter().all(|kind| kind != "camera"), "{kinds:?}");
}

#[test]
fn only_the_journal_gets_levels_for_times() {
    for (of_stderr, journal) in [(true, true), (false, false)] {
        let door = Door::new("");
        let path = door.path("log");
        let log = fs::File::create(&path).unwrap();
        let file = log.metadata().unwrap();
        // Another inode is what a terminal inherits.
        let inode = file.ino() + u64::from(!of_stderr);
        let command = door.command(&["gallery", "list"]);
        let status = Command::new(command.get_program())
            .args(command.get_args())
            .env("JOURNAL_STREAM", format!("{}:{inode}", file.dev()))
            .stdout(Stdio::null())
            .stderr(log)
            .status();
        assert!(status.unwrap().success());
        let said = fs::read_to_string(&path).unwrap();
        assert!(said.contains("made the key"), "{said}");
        assert_eq!(said.starts_with("<6>made the key"), journal, "{said}");
    }
}
