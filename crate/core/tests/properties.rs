//! What is read from others, with anything in it: pidfiles, frames on the hand-over socket; and
//! what is written to the logger, whatever a program logs.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::SystemTime;

use ::syslog::LogFormat;
use proptest::prelude::*;
use tsdaemonize_core::output::line::Line;
use tsdaemonize_core::pidfile::parse_pid;
use tsdaemonize_core::start::frames::{Frame, receive, send};
use tsdaemonize_core::syslog::format::Formatter;
use tsdaemonize_core::syslog::message::{Fields, LONGEST, Record, facility, severity};
use tsdaemonize_core::syslog::{Config, Remote, Transport};

fn written(
    ident: &str,
    transport: Transport,
    priority: i32,
    text: &[u8],
    packed: &[u8],
) -> Vec<u8> {
    let mut formatter = Formatter::new(&Config {
        ident: ident.into(),
        options: 0,
        facility: libc::LOG_DAEMON,
        transport,
        attached: false,
    });
    let mut line = Vec::new();
    let time = SystemTime::UNIX_EPOCH;
    formatter.set_time(time);
    let record = Record { facility: facility(priority), time, text, fields: Fields(packed) };
    formatter.format(&mut line, severity(priority), record).unwrap();
    line
}

fn formatted(priority: i32, text: &[u8], packed: &[u8]) -> Vec<u8> {
    written("fuzz", Transport::Local("/dev/log".into()), priority, text, packed)
}

fn formatted_5424(ident: &str, text: &[u8], packed: &[u8]) -> Vec<u8> {
    let remote = Remote { host: "localhost".into(), port: 514, sd_id: "fields@32473".into() };
    written(ident, Transport::Udp(remote), libc::LOG_INFO, text, packed)
}

fn formatted_for_the_journal(ident: &str, text: &[u8], packed: &[u8]) -> Vec<u8> {
    written(ident, Transport::Journal("journal".into()), libc::LOG_INFO, text, packed)
}

/// Name and value.
type Field = (Vec<u8>, Vec<u8>);

/// What RFC 5424 (6) calls SD-ELEMENT and MSG, as a reader finds them; `None`: it is no message.
fn read_5424(line: &[u8]) -> Option<(Vec<Field>, &[u8])> {
    let mut rest = line;
    for _ in 0..6 {
        rest = rest.splitn(2, |byte| *byte == b' ').nth(1)?;
    }
    if let Some(text) = rest.strip_prefix(b"- ") {
        return Some((Vec::new(), text));
    }
    rest = rest.strip_prefix(b"[fields@32473")?;
    let mut fields = Vec::new();
    loop {
        if let Some(text) = rest.strip_prefix(b"] ") {
            return Some((fields, text));
        }
        rest = rest.strip_prefix(b" ")?;
        let name = rest.split(|byte| *byte == b'=').next()?;
        rest = rest.get(name.len()..)?.strip_prefix(b"=\"")?;
        let mut value = Vec::new();
        loop {
            let (byte, after) = rest.split_first()?;
            rest = after;
            match byte {
                b'"' => break,
                b']' => return None,
                b'\\' => {
                    let (escaped, after) = rest.split_first()?;
                    rest = after;
                    value.push(*escaped);
                }
                byte => value.push(*byte),
            }
        }
        fields.push((name.to_vec(), value));
    }
}

/// The fields of a message to the journal, as it reads them; `None`: it is no message.
fn read_journal(mut message: &[u8]) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let line = message.split(|byte| *byte == b'\n').next()?;
        message = message.get(line.len() + 1..)?;
        let (name, value) = if let Some(at) = line.iter().position(|byte| *byte == b'=') {
            (line.get(..at)?, line.get(at + 1..)?)
        } else {
            let (length, after) = message.split_first_chunk()?;
            let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
            let value = after.get(..length)?;
            message = after.get(length..)?.strip_prefix(b"\n")?;
            (line, value)
        };
        fields.push((name.to_vec(), value.to_vec()));
    }
    Some(fields)
}

/// Fields with the names that a program can give.
fn fields() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec(("[a-z][a-z0-9_]{0,40}", "(\\PC|[\n\r\0\"\\]\\\\\u{85}]){0,60}"), 0..4)
}

fn packed(fields: &[(String, String)]) -> Vec<u8> {
    Fields::pack(fields.iter().map(|(name, value)| (&**name, &**value)))
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
    fn no_field_and_no_ident_of_a_remote_message_can_forge_another(
        ident in "(\\PC|[\n\0 \"\\]]){0,80}",
        text in "(\\PC|[\n\r\0]){0,100}", fields in fields()
    ) {
        let line = formatted_5424(&ident, text.as_bytes(), &packed(&fields));
        prop_assert!(!line.iter().any(u8::is_ascii_control), "{line:?}");
        let read = read_5424(&line);
        prop_assert!(read.is_some(), "{:?}", String::from_utf8_lossy(&line));
        let (read, _) = read.unwrap();
        let names: Vec<_> = fields.iter().map(|(name, _)| &name.as_bytes()[..name.len().min(32)]).collect();
        let read: Vec<_> = read.iter().map(|(name, _)| &name[..]).collect();
        prop_assert_eq!(read, names);
    }

    #[test]
    fn a_remote_message_is_never_longer_than_its_receiver_takes(
        text in "(ä|x|\n)", name in "[a-z]{1,20}", value in "(ä|\"|\\\\|\n)",
        times in (0..LONGEST, 0..LONGEST)
    ) {
        let fields = [(name, value.repeat(times.0))];
        let line = formatted_5424("fuzz", text.repeat(times.1).as_bytes(), &packed(&fields));
        prop_assert!(line.len() <= 8096, "{}", line.len());
        prop_assert!(read_5424(&line).is_some());
        prop_assert!(std::str::from_utf8(&line).is_ok());
    }

    #[test]
    fn the_journal_reads_the_fields_that_were_written_and_no_others(
        ident in "(\\PC|[\n\0=]){0,80}",
        text in "(\\PC|[\n\r\0=]){0,100}", fields in fields()
    ) {
        let message = formatted_for_the_journal(&ident, text.as_bytes(), &packed(&fields));
        let read = read_journal(&message);
        prop_assert!(read.is_some(), "{:?}", String::from_utf8_lossy(&message));
        let read = read.unwrap();
        let own: Vec<_> = read.iter().rev().take(fields.len()).rev().cloned().collect();
        let given: Vec<_> = fields
            .iter()
            .map(|(name, value)| (name.to_uppercase().into_bytes(), value.clone().into_bytes()))
            .collect();
        prop_assert_eq!(own, given);
        let others: Vec<_> = read.iter().take(read.len() - fields.len()).map(|(n, _)| &n[..]).collect();
        let expected: [&[u8]; 5] = [
            b"PRIORITY", b"SYSLOG_FACILITY", b"SYSLOG_IDENTIFIER", b"SYSLOG_TIMESTAMP", b"MESSAGE",
        ];
        prop_assert_eq!(others, expected);
    }

    #[test]
    fn whatever_is_printed_each_message_is_one_line_of_text(
        printed in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "(\\PC|[\n\r\0\u{85}\u{9b}]){0,200}".prop_map(String::into_bytes),
        ],
        times in 1..200usize
    ) {
        let mut line = Line::new();
        let mut messages: Vec<Vec<u8>> = Vec::new();
        let mut out = |text: &[u8], _: usize| messages.push(text.to_vec());
        let all = printed.repeat(times);
        all.iter().for_each(|byte| line.push(*byte, &mut out));
        line.end(&mut out);
        prop_assert!(line.is_empty());
        for message in &messages {
            let text = std::str::from_utf8(message);
            prop_assert!(text.is_ok_and(|text| !text.is_empty() && !text.chars().any(char::is_control)));
            prop_assert!(message.len() <= LONGEST);
        }
        let newlines = all.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
        prop_assert!(messages.len() >= newlines);
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
