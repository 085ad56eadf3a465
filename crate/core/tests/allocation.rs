//! The relay is a fork of a process with many threads, where an allocation may wait for ever for a lock that
//! nobody holds any more. What it writes its messages with allocates nothing.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::SystemTime;

use ::syslog::Severity;
use tsdaemonize_core::output::line::Line;
use tsdaemonize_core::syslog::format::header::{Header, Stamp, Text};
use tsdaemonize_core::syslog::format::{journal, rfc3164};
use tsdaemonize_core::syslog::message::{Fields, LONGEST, Record};
use tsdaemonize_core::syslog::{Config, Transport};
use tsdaemonize_core::zone::Zone;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: the system's allocator, which is given what is asked for.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's part.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's part.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(act: impl FnOnce()) -> usize {
    let before = COUNT.get();
    act();
    COUNT.get() - before
}

#[test]
fn an_allocation_is_noticed() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![0u8; 64]))), 1);
}

#[test]
fn a_message_is_written_without_an_allocation() {
    let config = Config {
        ident: "clö\nck".repeat(100),
        options: libc::LOG_PID,
        facility: libc::LOG_DAEMON,
        transport: Transport::local(None),
        attached: false,
    };
    let zone = Zone::fixed(3600);
    let packed = Fields::pack([("user.name", "a\n\"b\""), ("n", "1")]);
    let texts = [&b"tick"[..], "ä\n\u{85}\"".as_bytes(), &[b'\n'; 2 * LONGEST]];
    let mut buffer = [0u8; LONGEST + 1024];
    for text in texts {
        let mut line = Line::new();
        let count = allocations(|| {
            text.iter().for_each(|byte| line.push(*byte, &mut |_, _| {}));
            line.end(&mut |_, _| {});
            let time = SystemTime::UNIX_EPOCH;
            let record = Record { facility: 0, time, text, fields: Fields(&packed) };
            let facility = config.facility;
            let mut header = Header { tag: Text::<512>::EMPTY, facility, stamp: Stamp::UNSET };
            let _ = rfc3164::write_tag(&mut header.tag, &config);
            header.stamp.set(0, || zone);
            let _ = rfc3164::write(&mut &mut buffer[..], &header, Severity::LOG_ERR, &record);
            header.tag = Text::EMPTY;
            let _ = journal::write_tag(&mut header.tag, &config);
            let _ = journal::write(&mut &mut buffer[..], &header, Severity::LOG_ERR, &record);
        });
        assert_eq!(count, 0);
    }
}
