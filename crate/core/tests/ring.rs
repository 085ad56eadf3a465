//! The ring of what was printed, with anything printed and at any pace: each line comes out once, in its order,
//! and nothing else, whenever the daemon dies.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use tsdaemonize_core::output::line::Line;
use tsdaemonize_core::output::ring::{GONE, Ring, is_sent};
use tsdaemonize_core::output::shared::{BYTES, MARKS, Shared};
use tsdaemonize_core::syslog::message::LONGEST;

/// Small, so that all of it is used many times over; a line and a chunk fit.
type Small = Ring<{ 32 << 10 }, 64>;

type Texts = Vec<Vec<u8>>;

/// A daemon: what stands in its pipes, its ring, its queue.
struct Daemon<'a, const BYTES: usize, const MARKS: usize> {
    ring: &'a Ring<BYTES, MARKS>,
    pipes: [VecDeque<u8>; 2],
    lines: [Line; 2],
    queue: Vec<(usize, Vec<u8>)>,
    sent: usize,
    /// What the messages of each pipe must be: by the same lines, and without the ring.
    expected: [Texts; 2],
    models: [Line; 2],
}

impl<'a, const BYTES: usize, const MARKS: usize> Daemon<'a, BYTES, MARKS> {
    fn new(ring: &'a Ring<BYTES, MARKS>) -> Self {
        Self {
            ring,
            pipes: Default::default(),
            lines: [Line::new(), Line::new()],
            queue: Vec::new(),
            sent: 0,
            expected: Default::default(),
            models: [Line::new(), Line::new()],
        }
    }

    fn print(&mut self, pipe: usize, bytes: &[u8]) {
        self.pipes[pipe].extend(bytes);
    }

    /// Reads as the daemon's thread does; `noted`: the daemon lives on.
    fn read(&mut self, pipe: usize, most: usize, noted: bool) -> usize {
        let from = &mut self.pipes[pipe];
        let model = &mut self.models[pipe];
        let expected = &mut self.expected[pipe];
        let mut got = Vec::new();
        let offsets = self.ring.read(pipe, most, |memory| {
            let mut count = memory.len().min(from.len());
            if !noted {
                // What is in no text is not seen where it comes last.
                while count > 0 && from[count - 1] == 0xff {
                    count -= 1;
                }
            }
            got.extend(from.drain(..count));
            memory[..count].copy_from_slice(&got);
            if noted { Ok(count) } else { Err(()) }
        });
        got.iter().for_each(|byte| model.push(*byte, &mut |text, _| expected.push(text.to_vec())));
        let Ok(offsets) = offsets else { return got.len() };
        assert_eq!((offsets.end - offsets.start) as usize, got.len());
        let (ring, line, queue) = (self.ring, &mut self.lines[pipe], &mut self.queue);
        for offset in offsets {
            line.push(ring.byte(pipe, offset), &mut |text, bytes| {
                hand_on(ring, queue, pipe, text, bytes);
            });
        }
        let empty = line.pass_over();
        if empty > 0 {
            ring.mark(pipe, empty).store(GONE, Ordering::SeqCst);
        }
        got.len()
    }

    fn end_line(&mut self, pipe: usize) {
        let (ring, queue) = (self.ring, &mut self.queue);
        self.lines[pipe].end(&mut |text, bytes| hand_on(ring, queue, pipe, text, bytes));
        self.models[pipe].end(&mut |text, _| self.expected[pipe].push(text.to_vec()));
    }

    /// So many more messages are sent, and freed if it is looked at.
    fn send(&mut self, count: usize, look: bool) {
        self.sent = (self.sent + count).min(self.queue.len());
        if look {
            let sent = self.sent as u64;
            self.ring.free(|ticket| is_sent(ticket, sent));
        }
    }

    /// The daemon is dead: of each pipe all that arrives, how many of it the daemon has sent, and what must
    /// arrive.
    fn die(mut self) -> [(Texts, usize, Texts); 2] {
        let mut kept: [Texts; 2] = Default::default();
        let (ring, sent) = (self.ring, self.sent as u64);
        let left = ring.left(
            |ticket| is_sent(ticket, sent),
            |pipe, offsets| {
                let mut line = Line::new();
                let send = &mut |text: &[u8], _: usize| kept[pipe].push(text.to_vec());
                offsets.for_each(|offset| line.push(ring.byte(pipe, offset), send));
                line.end(send);
            },
        );
        for (pipe, offsets) in left.into_iter().enumerate() {
            let mut line = Line::new();
            let send = &mut |text: &[u8], _: usize| kept[pipe].push(text.to_vec());
            offsets.for_each(|offset| line.push(ring.byte(pipe, offset), send));
            self.pipes[pipe].iter().for_each(|byte| line.push(*byte, send));
            line.end(send);
            let expected = &mut self.expected[pipe];
            let rest = std::mem::take(&mut self.pipes[pipe]);
            let model = &mut self.models[pipe];
            let push = &mut |text: &[u8], _: usize| expected.push(text.to_vec());
            rest.iter().for_each(|byte| model.push(*byte, push));
            model.end(push);
        }
        let [out, err] = kept;
        [(0, out), (1, err)].map(|(pipe, kept)| {
            let sent = self.queue.iter().take(self.sent).filter(|(of, _)| *of == pipe);
            let mut all: Vec<_> = sent.map(|(_, text)| text.clone()).collect();
            let by_daemon = all.len();
            all.extend(kept);
            (all, by_daemon, std::mem::take(&mut self.expected[pipe]))
        })
    }
}

fn hand_on<const BYTES: usize, const MARKS: usize>(
    ring: &Ring<BYTES, MARKS>,
    queue: &mut Vec<(usize, Vec<u8>)>,
    pipe: usize,
    text: &[u8],
    bytes: usize,
) {
    let ticket = ring.mark(pipe, bytes);
    queue.push((pipe, text.to_vec()));
    ticket.store(queue.len() as u64, Ordering::SeqCst);
}

#[derive(Debug, Clone)]
enum Step {
    Print(usize, Vec<u8>, usize),
    Read(usize, usize),
    EndLine(usize),
    Send(usize, bool),
}

/// Lines of all lengths, with and without their ends, of text, control bytes and anything.
fn printed() -> impl Strategy<Value = (Vec<u8>, usize)> {
    prop_oneof![
        4 => ("[a-z0-9]{0,3}\n", 1..800usize).prop_map(|(text, times)| (text.into_bytes(), times)),
        2 => ("(\\PC|[\t\n\u{85}]){0,40}", 1..60usize).prop_map(|(text, times)| (text.into_bytes(), times)),
        1 => (Just(b"\n".to_vec()), 1..20_000usize),
        1 => ("[a\t\u{20ac}]", 1..30_000usize).prop_map(|(text, times)| (text.into_bytes(), times)),
        1 => (prop::collection::vec(any::<u8>(), 0..300), 1..20usize),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..2usize, printed()).prop_map(|(pipe, (text, times))| Step::Print(pipe, text, times)),
        6 => (0..2usize, 1..20_000usize).prop_map(|(pipe, most)| Step::Read(pipe, most)),
        1 => (0..2usize).prop_map(Step::EndLine),
        3 => (0..3000usize, any::<bool>()).prop_map(|(count, look)| Step::Send(count, look)),
    ];
    prop::collection::vec(step, 0..40)
}

fn run<const BYTES: usize, const MARKS: usize>(
    daemon: &mut Daemon<'_, BYTES, MARKS>,
    steps: Vec<Step>,
    before_read: impl Fn(&mut Daemon<'_, BYTES, MARKS>),
) {
    for step in steps {
        match step {
            Step::Print(pipe, text, times) => daemon.print(pipe, &text.repeat(times)),
            Step::Read(pipe, most) => {
                before_read(daemon);
                daemon.read(pipe, most, true);
            }
            Step::EndLine(pipe) => {
                before_read(daemon);
                daemon.end_line(pipe);
            }
            Step::Send(count, look) => daemon.send(count, look),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Where nothing must be let go of, since the ring is as large as the real one.
    #[test]
    fn whatever_is_printed_and_whenever_the_daemon_dies_each_message_arrives_once(
        steps in steps(), in_read in any::<bool>(), most in 1..20_000usize
    ) {
        let shared = Shared::map("ring").unwrap();
        let mut daemon = Daemon::new(&shared.ring);
        run(&mut daemon, steps, |_| {});
        if in_read {
            daemon.read(0, most, false);
        }
        for (all, _, expected) in daemon.die() {
            prop_assert!(all == expected, "{} of {} messages", all.len(), expected.len());
        }
        // SAFETY: nobody uses it any more.
        unsafe { libc::munmap(std::ptr::from_ref(shared).cast_mut().cast(), size_of::<Shared>()) };
    }

    /// In a small ring the oldest of what was not sent are let go of, and those alone.
    #[test]
    fn what_does_not_fit_waits_in_the_queue_alone(
        steps in steps(), in_read in any::<bool>(), most in 1..20_000usize
    ) {
        let ring = Box::new(Small::new());
        let mut daemon = Daemon::new(&*ring);
        run(&mut daemon, steps, |_| {});
        if in_read {
            daemon.read(0, most, false);
        }
        for (all, by_daemon, expected) in daemon.die() {
            let (sent, kept) = all.split_at(by_daemon);
            prop_assert!(expected.starts_with(sent));
            prop_assert!(expected.get(by_daemon..).unwrap().ends_with(kept));
        }
    }

    /// The same with a logger that keeps up: the ring is begun anew, goes round, and loses nothing.
    #[test]
    fn a_small_ring_loses_nothing_while_the_logger_keeps_up(
        steps in steps(), in_read in any::<bool>(), most in 1..4_000usize
    ) {
        let ring = Box::new(Small::new());
        let mut daemon = Daemon::new(&*ring);
        let steps = steps.into_iter().flat_map(|step| match step {
            // A read makes no more messages than there are marks.
            Step::Read(pipe, most) => (0..most.div_ceil(60)).map(|_| Step::Read(pipe, 60)).collect(),
            step => vec![step],
        });
        run(&mut daemon, steps.collect(), |daemon| daemon.send(usize::MAX >> 1, true));
        if in_read {
            daemon.send(usize::MAX >> 1, true);
            daemon.read(0, most, false);
        }
        for (all, _, expected) in daemon.die() {
            prop_assert!(all == expected, "{} of {} messages", all.len(), expected.len());
        }
    }
}

/// Bursts, and all is sent before the next one.
#[test]
fn bursts_of_the_shortest_lines_go_round_and_round() {
    let shared = Shared::map("ring").unwrap();
    let mut daemon = Daemon::new(&shared.ring);
    for burst in 0..400 {
        let lines: String =
            (0..3000 + 50 * (burst % 12)).map(|n| format!("{}\n", n % 1000)).collect();
        daemon.print(burst % 2, lines.as_bytes());
        while daemon.read(burst % 2, 16 << 10, true) > 0 {}
        // Twice as much as fits waits for the logger for a while.
        if !(100..190).contains(&burst) {
            daemon.send(usize::MAX >> 1, true);
        }
    }
    for (all, _, expected) in daemon.die() {
        assert!(all == expected);
    }
}

/// What is left of a ring may be read while it is written, or be anything: nothing is read beyond it, and it
/// comes to an end.
#[test]
fn what_lies_in_a_ring_is_never_trusted() {
    let mut random = 1u64;
    for _ in 0..300 {
        let mut ring = Box::new(Ring::<64, 8>::new());
        let start: *mut u64 = std::ptr::from_mut(&mut *ring).cast();
        for word in 0..size_of_val(&*ring) / 8 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let value = match random >> 61 {
                0 => u64::MAX,
                1 => random >> 32,
                2 => random >> 55,
                3 => random >> 60,
                4 => random,
                _ => 0,
            };
            // SAFETY: within the ring, which is of integers alone.
            unsafe { start.add(word).write(value) };
        }
        let mut bytes = 0;
        let left = ring.left(
            |ticket| is_sent(ticket, 3),
            |pipe, offsets| {
                for offset in offsets {
                    ring.byte(pipe, offset);
                    bytes += 1;
                }
            },
        );
        for (pipe, offsets) in left.into_iter().enumerate() {
            for offset in offsets {
                ring.byte(pipe, offset);
                bytes += 1;
            }
        }
        assert!(bytes <= 2 * 64, "{bytes}");
    }
}

#[test]
fn a_line_and_a_chunk_always_find_room() {
    const { assert!(BYTES > 4 * LONGEST + (64 << 10) && MARKS > 1) };
}
