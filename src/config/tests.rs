//! The reference file and what is refused.

use super::*;

fn refused(text: &str) -> String {
    let parsed = Config::parse(text, Path::new("door.toml"));
    parsed.expect_err(text).to_string()
}

/// The reference with every `# key = value` taken in.
fn reference() -> String {
    let text = include_str!("../../config/doorward.toml");
    let lines = text.lines().map(|line| match line.strip_prefix("# ") {
        Some(key) if key.split_once(" = ").is_some_and(|(k, _)| is_key(k)) => key,
        Some(table) if table.starts_with("[[") => table,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn is_key(word: &str) -> bool {
    word.chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[test]
fn the_reference_shows_the_defaults() {
    for text in [
        include_str!("../../config/doorward.toml"),
        include_str!("../../systemd/doorward.toml"),
    ] {
        let shipped = Config::parse(text, Path::new("reference")).expect("parses");
        assert_eq!(format!("{shipped:?}"), format!("{:?}", Config::default()));
    }
    let spelled = Config::parse(&reference(), Path::new("reference")).expect("parses");
    // Keys without a default show an example instead.
    let (mut spelled, mut default) = (spelled, Config::default());
    for config in [&mut spelled, &mut default] {
        config.camera.size = None;
        config.camera.fps = None;
        config.camera.replay.path = None;
        config.models.directory = None;
        config.models.manifest = None;
        config.models.detector = None;
        config.models.embedder = None;
        config.models.liveness = None;
        config.detection.score = None;
        config.liveness.threshold = None;
        config.access.rule.clear();
        config.door.line = None;
        config.door.contact_line = None;
        config.matching.threshold = None;
        config.mqtt.port = None;
        config.store.key_file = None;
        config.mqtt.username = None;
        config.mqtt.password_file = None;
        config.mqtt.ca_file = None;
        config.mqtt.client_cert_file = None;
        config.mqtt.client_key_file = None;
        config.commands.key_file = None;
    }
    assert_eq!(format!("{spelled:?}"), format!("{default:?}"));
}

#[test]
fn the_reference_knows_every_key() {
    let shown: Vec<_> = reference()
        .lines()
        .filter_map(|line| line.split_once(" = ").map(|(key, _)| key.to_owned()))
        .collect();
    // serde names all keys of a section when it meets one that it does not know.
    for section in [
        "device",
        "camera",
        "camera.replay",
        "models",
        "detection",
        "quality",
        "matching",
        "decision",
        "liveness",
        "challenge",
        "access",
        "lockout",
        "door",
        "mqtt",
        "commands",
        "store",
    ] {
        let message = refused(&format!("[{section}]\nno_such_key = 1\n"));
        let known = message.split_once("expected").expect("names the keys").1;
        for key in known
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|key| !["replay", "rule"].contains(key))
        {
            assert!(
                shown.iter().any(|s| s == key),
                "the reference does not show {section}.{key}"
            );
        }
    }
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let cases: [(&str, &[&str]); 38] = [
        (
            "[camera]\nfsp = 10\n",
            &["line 2, column 1", "fsp", "`fps`"],
        ),
        ("[camra]\n", &["line 1, column 2", "camra", "`camera`"]),
        (
            "[matching]\nfmr = 2.0\n",
            &[
                "line 2, column 7",
                "fmr",
                "2 is out of range",
                "1e-9 to 0.5",
            ],
        ),
        (
            "[matching]\nfmr = \"low\"\n",
            &["line 2", "expected a number"],
        ),
        (
            "[decision]\nagree = 2.5\n",
            &["line 2", "agree", "2.5 is no whole number", "1 to 100"],
        ),
        ("[decision]\nagree = 6\n", &["agree = 6", "of = 5"]),
        (
            "[matching]\nthreshold = nan\n",
            &["line 2", "threshold", "NaN is out of range", "0.0 to 1.0"],
        ),
        (
            "[matching]\nthreshold = 50\n",
            &["line 2", "threshold", "50 is out of range"],
        ),
        (
            "[matching]\nthreshold = -1\n",
            &["line 2", "threshold", "-1 is out of range"],
        ),
        (
            "[camera]\nfps = 1\n",
            &["[decision] visit_gap_s = 1 ", "[camera] fps = 1,"],
        ),
        (
            "[camera]\nsource = \"replay\"\n[camera.replay]\npath = \"p\"\nfps = 1\n",
            &["[decision] visit_gap_s = 1 ", "[camera.replay] fps = 1,"],
        ),
        (
            "[device]\nid = \"front/door\"\n",
            &["line 2", "front/door", "A-Z a-z 0-9"],
        ),
        ("[camera]\nformat = \"H264\"\n", &["line 2", "H264", "YUYV"]),
        ("[camera]\nsource = \"replay\"\n", &["[camera.replay] path"]),
        (
            "[quality]\nmin_brightness = 200\nmax_brightness = 100\n",
            &["min_brightness = 200"],
        ),
        (
            "[mqtt]\nhost = \"broker.lan\"\n",
            &["broker.lan", "tls = true", "allow_plaintext"],
        ),
        (
            "[mqtt]\npassword_file = \"p\"\n",
            &["password_file needs username"],
        ),
        ("[mqtt]\nclient_key_file = \"p\"\n", &["client_cert_file"]),
        (
            "[mqtt]\nclient_cert_file = \"c\"\nclient_key_file = \"p\"\n",
            &["client_cert_file needs ca_file"],
        ),
        ("[mqtt\n", &["line 1"]),
        ("[door]\nline = 4\n", &["[[access.rule]]"]),
        (
            "[door]\nline = 4\ncontact_line = 4\n[[access.rule]]\nname = \"a\"\nsubjects = [\"*\"]\n",
            &["contact_line are the same"],
        ),
        ("[door]\npulse_s = 600\n", &["line 2", "0.1 to 60.0"]),
        (
            "[[access.rule]]\nname = \"a\"\nsubjects = [\"*\"]\nhours = [\"7-19\"]\n",
            &["line 4", "7-19", "HH:MM-HH:MM"],
        ),
        (
            "[[access.rule]]\nname = \"a\"\nsubjects = [\"*\"]\ndays = [\"Monday\"]\n",
            &["line 4", "Monday", "mon, tue"],
        ),
        (
            "[[access.rule]]\nname = \"a\"\nsubjects = [\"*\"]\nvalid_from = \"2026-02-30\"\n",
            &["line 4", "2026-02-30"],
        ),
        (
            "[[access.rule]]\nname = \"a\"\nsubjects = [\"*\"]\nvalid_from = \"2026-03-02\"\n\
             valid_until = \"2026-03-01\"\n",
            &["\"a\"", "2026-03-02 is after"],
        ),
        (
            "[access]\ntime_zone = \"Mars/Base\"\n[[access.rule]]\nname = \"a\"\n\
             subjects = [\"*\"]\ndays = [\"mon\"]\n",
            &["time_zone", "Mars/Base", "Europe/Berlin"],
        ),
        ("[[access.rule]]\nname = \"a\"\n", &["line 1", "subjects"]),
        (
            "[[access.rule]]\nname = \"a\"\nsubjects = []\n",
            &["\"a\"", "lets nobody in", "\"*\""],
        ),
        (
            "[[access.rule]]\nname = \"a\"\nsubjects = [\"ada\", \"b/c\"]\n",
            &["\"a\"", "b/c", "cannot contain"],
        ),
        (
            "[[access.rule]]\nname = \"a\"\nsubjects = [\"*\"]\nliveness = true\n",
            &["line 4", "true is none of \"off\", \"warn\", \"required\""],
        ),
        (
            "[[access.rule]]\nname = \"a\"\nsubjects = [\"*\"]\nvalid_from = \"1.3.2026\"\n",
            &["line 4", "1.3.2026", "YYYY-MM-DD"],
        ),
        (
            "[door]\nactive = 1\n",
            &["line 2", "1 is none of \"high\", \"low\""],
        ),
        (
            "[mqtt]\nhost = \"localhost:1883\"\n",
            &["localhost:1883", "[mqtt] port"],
        ),
        (
            "[mqtt]\nhost = \"mqtt://localhost\"\n",
            &["mqtt://localhost", "[mqtt] tls"],
        ),
        ("[lockout]\nslow_after = 9\n", &["slow_after = 9"]),
        ("[challenge]\nturn_yaw = 50\n", &["max_yaw"]),
    ];
    for (text, expected) in cases {
        let message = refused(text);
        for words in expected
            .iter()
            .chain(&["door.toml", "config/doorward.toml"])
        {
            assert!(
                message.contains(words),
                "{text}: {message}\nshould say {words}"
            );
        }
    }
}

#[test]
fn a_day_is_text_or_a_date() {
    let rule = "[[access.rule]]\nname = \"a\"\nsubjects = [\"*\"]\n";
    let text = format!("{rule}valid_from = 2026-01-01\nvalid_until = \"2026-01-31\"\n");
    let config = Config::parse(&text, Path::new("door.toml")).expect("parses");
    let rule = &config.access.rule[0];
    let day = |day: Option<choice::CalendarDay>| day.map(|day| day.0.to_string());
    assert_eq!(day(rule.valid_from).as_deref(), Some("2026-01-01"));
    assert_eq!(day(rule.valid_until).as_deref(), Some("2026-01-31"));
}

#[test]
fn a_host_may_be_any_address() {
    for host in [
        "localhost",
        "::1",
        "127.0.0.1",
        "fe80::1%eth0",
        "broker-1.lan",
    ] {
        let text = format!("[mqtt]\nhost = \"{host}\"\nallow_plaintext = true\n");
        Config::parse(&text, Path::new("door.toml")).expect(host);
    }
}

#[test]
fn relative_paths_are_relative_to_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("door.toml");
    std::fs::write(
        &path,
        "[store]\npath = \"door.db\"\n[models]\ndirectory = \"/m\"\n",
    )
    .expect("writes");
    let config = Config::load(Some(&path)).expect("loads");
    assert_eq!(config.store.path, folder.path().join("door.db"));
    assert_eq!(config.models.directory.as_deref(), Some(Path::new("/m")));
    let missing = Config::load(Some(&folder.path().join("none.toml"))).expect_err("missing");
    assert!(missing.to_string().contains("none.toml"), "{missing}");
    let endless = Config::load(Some(Path::new("/dev/zero"))).expect_err("endless");
    let said = endless.to_string();
    assert!(
        said.contains("/dev/zero") && said.contains("more than 1 MiB"),
        "{said}"
    );
}
