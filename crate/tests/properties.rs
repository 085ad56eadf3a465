//! What is read from others, with anything in it: pidfiles, /proc, frames on the hand-over socket; and
//! what is written to the logger, whatever a program logs.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::SystemTime;

use ::syslog::LogFormat;
use proptest::prelude::*;
use tsdaemonize::holder::is_flock_for_writing;
use tsdaemonize::pidfile::parse_pid;
use tsdaemonize::process::Stat;
use tsdaemonize::syslog::format::{Fields, LONGEST, Record, facility, severity};
use tsdaemonize::syslog::rfc3164::Rfc3164;
use tsdaemonize::syslog::{Config, Transport};
use tsdaemonize::takeover::{Frame, receive, send};

fn formatted(priority: i32, text: &[u8], packed: &[u8]) -> Vec<u8> {
    let config = Config {
        ident: "fuzz".into(),
        options: 0,
        facility: libc::LOG_DAEMON,
        transport: Transport::Local("/dev/log".into()),
        attached: false,
    };
    let mut formatter = Rfc3164::new(&config);
    let time = SystemTime::UNIX_EPOCH;
    formatter.set_time(time);
    let mut line = Vec::new();
    let fields = Fields(packed);
    let record = Record { facility: facility(priority), time, text, fields };
    formatter.format(&mut line, severity(priority), record).unwrap();
    line
}

fn kinds() -> impl Strategy<Value = Frame> {
    prop_oneof![
        Just(Frame::Hello),
        Just(Frame::Ready),
        Just(Frame::Failed),
        Just(Frame::StepFailed),
        Just(Frame::Go),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_pid_that_is_written_is_read(pid in 1..=i32::MAX) {
        prop_assert_eq!(parse_pid(format!("{pid}\n").as_bytes()), Some(pid));
    }

    #[test]
    fn whatever_a_pidfile_holds_only_digits_and_a_newline_are_a_pid(
        content in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            "[0-9 +-]{0,12}[\n\0x]{0,2}".prop_map(String::into_bytes),
        ]
    ) {
        if let Some(pid) = parse_pid(&content) {
            let text = String::from_utf8(content).unwrap();
            let digits = text.strip_suffix('\n').unwrap();
            prop_assert!(pid > 0 && digits.bytes().all(|b| b.is_ascii_digit()));
            prop_assert_eq!(digits.parse::<i32>(), Ok(pid));
        }
    }

    #[test]
    fn a_line_of_proc_stat_is_read_whatever_the_process_is_called(
        name in "\\PC{0,20}", state in "[RSDZTtXI]", ppid in any::<i32>(), session in any::<i32>(),
        ticks in any::<u64>()
    ) {
        let line = format!(
            "1 ({name}) {state} {ppid} 2 {session} 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 {ticks} 9 9\n"
        );
        let stat = Stat::parse(&line).unwrap();
        prop_assert_eq!(stat.state.to_string(), state);
        prop_assert_eq!((stat.ppid, stat.session, stat.start_ticks), (ppid, session, ticks));
    }

    #[test]
    fn no_line_of_proc_makes_it_panic(line in "(lock:|1 \\()?\\PC{0,60}") {
        let _ = Stat::parse(&line);
        let _ = is_flock_for_writing(&line);
    }

    #[test]
    fn a_frame_arrives_as_it_was_sent(
        kind in kinds(), payload in prop::collection::vec(any::<u8>(), 0..2000)
    ) {
        let (here, mut there) = UnixStream::pair().unwrap();
        send(&here, kind, &payload).unwrap();
        prop_assert_eq!(receive(&mut there).unwrap(), (kind, payload));
    }

    #[test]
    fn bytes_that_are_no_frame_are_an_error_and_never_waited_on(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
        letter in "[HRFXG]", claimed in any::<u32>()
    ) {
        let framed = [letter.as_bytes(), &claimed.to_ne_bytes(), &bytes].concat();
        for sent in [bytes, framed] {
            let (mut here, mut there) = UnixStream::pair().unwrap();
            here.write_all(&sent).unwrap();
            drop(here);
            if let Ok((_, payload)) = receive(&mut there) {
                prop_assert!(payload.len() + 5 <= sent.len());
            }
        }
    }

    #[test]
    fn no_message_can_forge_another(
        priority in any::<i32>(),
        text in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "(\\PC|[\n\r\0]){0,100}".prop_map(String::into_bytes),
        ],
        values in prop::collection::vec(("\\PC{0,10}", "(\\PC|[\n\"\\\\]){0,20}"), 0..3)
    ) {
        let packed = Fields::pack(values.iter().map(|(name, value)| (&**name, &**value)));
        let line = formatted(priority, &text, &packed);
        prop_assert!(!line.iter().any(u8::is_ascii_control), "{line:?}");
        let head = String::from_utf8_lossy(&line).into_owned();
        let number = head.strip_prefix('<').and_then(|l| l.split_once('>')).map(|(n, _)| n.parse::<u32>());
        prop_assert!(matches!(number, Some(Ok(0..=191))), "{head}");
        prop_assert!(std::str::from_utf8(&text).is_err() || std::str::from_utf8(&line).is_ok());
    }

    #[test]
    fn a_long_message_is_cut_between_characters(
        text in "(ä|\u{1d11e}|x|\n)", count in LONGEST / 8..LONGEST
    ) {
        let line = formatted(libc::LOG_INFO, text.repeat(count).as_bytes(), &[]);
        prop_assert!(line.len() <= LONGEST + 64);
        prop_assert!(std::str::from_utf8(&line).is_ok());
    }

    #[test]
    fn the_fields_of_a_message_come_out_as_they_went_in(
        values in prop::collection::vec(("[^\0]{1,20}", "(?s).{0,40}"), 0..5)
    ) {
        let packed = Fields::pack(values.iter().map(|(name, value)| (&**name, &**value)));
        let read: Vec<_> = Fields(&packed).collect();
        let written: Vec<_> = values.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        prop_assert_eq!(read, written);
    }

    #[test]
    fn bytes_that_are_no_fields_end_them(packed in prop::collection::vec(any::<u8>(), 0..80)) {
        let all: usize = Fields(&packed).map(|(name, value)| name.len() + value.len() + 5).sum();
        prop_assert!(all <= packed.len());
    }
}
