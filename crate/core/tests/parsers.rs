//! What is read from files that others write: the pidfile, and /proc.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use tsdaemonize_core::pidfile::parse_pid;
use tsdaemonize_core::process::lock_holder::is_flock_for_writing;
use tsdaemonize_core::process::stat::Stat;

#[test]
fn a_pid_is_decimal_digits_and_a_newline_and_nothing_else() {
    assert_eq!(parse_pid(b"4711\n"), Some(4711));
    assert_eq!(parse_pid(b"2147483647\n"), Some(i32::MAX));
    for content in [
        &b""[..],
        b"\n",
        b"0\n",
        b"-1\n",
        b"+1\n",
        b" 1\n",
        b"1",
        b"1\n\n",
        b"1\n2\n",
        b"0x10\n",
        b"2147483648\n",
        b"99999999999999999999\n",
        b"\xff\xfe\n",
        b"12\x1c\n",
    ] {
        assert_eq!(parse_pid(content), None, "{content:?}");
    }
}

#[test]
fn the_name_in_proc_stat_may_hold_anything() {
    let rest = "S 1 2 3 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 777 0 0";
    // The last one is cut inside a character, as the kernel does it.
    let names: [&[u8]; 6] = [
        b"node",
        b"a b",
        b") S 9 9 9",
        b"((",
        "\u{e4})) R 1".as_bytes(),
        &"почтовый".as_bytes()[..15],
    ];
    for name in names {
        let stat = Stat::parse(&[b"42 (", name, b") ", rest.as_bytes()].concat()).unwrap();
        assert_eq!(
            (stat.state, stat.ppid, stat.is_ending, stat.start_ticks),
            ('S', 1, false, 777),
            "{name:?}"
        );
    }
    // As the kernel shows one that has called exit_group(2).
    let ending = Stat::parse(b"42 (node) R 1 2 3 0 -1 4194564 0 0 0 0 0 0 0 0 20 0 1 0 777 0 0");
    assert!(ending.unwrap().is_ending);
    assert_eq!(Stat::parse(b"42 (node"), None);
    assert_eq!(Stat::parse(b"42 (node) S 1"), None);
}

#[test]
fn only_a_flock_for_writing_makes_a_holder() {
    assert!(is_flock_for_writing(b"lock:\t1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF"));
    for line in [
        "lock:\t1: FLOCK  ADVISORY  READ 4711 fe:00:1234 0 EOF",
        "lock:\t1: OFDLCK ADVISORY  WRITE -1 fe:00:1234 5 5",
        "lock:\t1: POSIX  ADVISORY  WRITE 4711 fe:00:1234 0 EOF",
        "lock:\t1: -> FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF",
        "flags:\t0100002",
        "lock:",
        "",
    ] {
        assert!(!is_flock_for_writing(line.as_bytes()), "{line}");
    }
}
