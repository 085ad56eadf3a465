//! The logger of a process against real sockets. One logger to a process: the tests take turns.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::Read;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tsdaemonize_core::syslog::{self, Config, Transport};

static TURN: Mutex<()> = Mutex::new(());
const LONG: Duration = Duration::from_secs(20);

fn open(path: &Path, options: i32) -> MutexGuard<'static, ()> {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    syslog::open(config(path, options));
    turn
}

fn config(path: &Path, options: i32) -> Config {
    Config {
        ident: "test".into(),
        options,
        facility: libc::LOG_DAEMON,
        transport: Transport::Local(path.into()),
        attached: false,
    }
}

fn receive(socket: &UnixDatagram) -> String {
    let mut buffer = [0u8; 16 << 10];
    socket.set_read_timeout(Some(LONG)).unwrap();
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

fn text(line: &str) -> &str {
    line.split_once("test: ").unwrap().1
}

#[test]
fn messages_arrive_in_order_and_a_flush_waits_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let receiver = UnixDatagram::bind(&path).unwrap();
    let _turn = open(&path, 0);
    let reader = std::thread::spawn(move || {
        (0..5000).map(|_| text(&receive(&receiver)).to_owned()).collect::<Vec<_>>()
    });
    for n in 0..5000 {
        syslog::log(libc::LOG_INFO, format!("number {n}").as_bytes());
    }
    assert!(syslog::flush(LONG));
    assert_eq!(syslog::stats().queued, 0);
    let lines = reader.join().unwrap();
    assert!(lines.iter().enumerate().all(|(n, line)| *line == format!("number {n}")));
}

#[test]
fn a_logger_that_is_restarted_gets_all_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let first = UnixDatagram::bind(&path).unwrap();
    let _turn = open(&path, 0);
    syslog::log(libc::LOG_INFO, b"before");
    assert_eq!(text(&receive(&first)), "before");
    drop(first);
    std::fs::remove_file(&path).unwrap();
    for n in 0..100 {
        syslog::log(libc::LOG_INFO, format!("number {n}").as_bytes());
    }
    assert!(!syslog::flush(Duration::from_millis(300)));
    assert_eq!(syslog::stats().queued, 100);
    let second = UnixDatagram::bind(&path).unwrap();
    for n in 0..100 {
        assert_eq!(text(&receive(&second)), format!("number {n}"));
    }
    assert!(syslog::flush(LONG));
}

#[test]
fn a_logger_that_does_not_read_blocks_nobody_and_the_newest_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let receiver = UnixDatagram::bind(&path).unwrap();
    let _turn = open(&path, 0);
    let before = syslog::stats();
    let message = vec![b'x'; 4096];
    let begun = Instant::now();
    for _ in 0..3000 {
        syslog::log(libc::LOG_INFO, &message);
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
    let dropped = syslog::stats().dropped - before.dropped;
    assert!(dropped > 0 && dropped < 3000);
    let mut lines = 0;
    loop {
        let line = receive(&receiver);
        if line.contains("were dropped") {
            assert!(line.contains(&format!("{dropped} messages were dropped")), "{line}");
            break;
        }
        lines += 1;
    }
    assert_eq!(lines, 3000 - dropped);
    assert!(syslog::flush(LONG));
}

#[test]
fn a_stream_gets_messages_with_a_nul_behind_each() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let listener = UnixListener::bind(&path).unwrap();
    let _turn = open(&path, libc::LOG_PID);
    for n in 0..300 {
        syslog::log(libc::LOG_ERR, format!("number {n} {}", "y".repeat(2000)).as_bytes());
    }
    let mut stream = listener.accept().unwrap().0;
    stream.set_read_timeout(Some(LONG)).unwrap();
    let mut all = Vec::new();
    let mut buffer = [0u8; 4096];
    while all.iter().filter(|byte| **byte == 0).count() < 300 {
        let length = stream.read(&mut buffer).unwrap();
        all.extend_from_slice(&buffer[..length]);
    }
    assert!(syslog::flush(LONG));
    let tag = format!("test[{}]: number", std::process::id());
    let lines = String::from_utf8(all).unwrap();
    for (n, line) in lines.split_terminator('\0').enumerate() {
        assert!(line.starts_with("<27>") && line.contains(&format!("{tag} {n} y")), "{line:.80}");
    }
}

#[test]
fn an_openlog_behind_a_message_leaves_the_next_one_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let receiver = UnixDatagram::bind(&path).unwrap();
    let _turn = open(&path, 0);
    for n in 0..200 {
        syslog::log(libc::LOG_INFO, format!("number {n}").as_bytes());
        syslog::open(config(&path, if n % 2 == 0 { libc::LOG_PID } else { 0 }));
        assert!(syslog::flush(LONG));
        assert!(receive(&receiver).ends_with(&format!(": number {n}")));
    }
    syslog::open(config(&path, 0));
}

#[test]
fn what_waits_in_vain_goes_where_the_program_turned_to_since() {
    let dir = tempfile::tempdir().unwrap();
    let _turn = open(&dir.path().join("none"), 0);
    syslog::log(libc::LOG_INFO, b"first");
    syslog::open(config(&dir.path().join("none as well"), 0));
    syslog::log(libc::LOG_INFO, b"second");
    let path = dir.path().join("log");
    let receiver = UnixDatagram::bind(&path).unwrap();
    syslog::open(config(&path, 0));
    syslog::log(libc::LOG_INFO, b"third");
    assert!(syslog::flush(LONG));
    assert_eq!(
        ["first", "second", "third"],
        [(); 3].map(|()| text(&receive(&receiver)).to_owned())[..]
    );
}
