//! syslog(3), openlog(3) and what goes with them.

use std::cell::RefCell;
use std::path::PathBuf;

use napi::Env;
use napi::bindgen_prelude::{JsValue, Object, Unknown};
use napi_derive::napi;

use tsdaemonize_core::daemon;
use tsdaemonize_core::syslog::{self, Remote, Transport};

use crate::millis;
use crate::promise::in_thread;

/// The way to a logger: to the local one or to the journal, by its own socket or by this one, or to a remote
/// one, in datagrams or by a connection. `sdId` is the SD-ID of the fields.
#[napi(discriminant = "kind", discriminant_case = "lowercase", object_to_js = false)]
#[allow(missing_docs, reason = "napi writes a field's comment behind the field before")]
pub enum NativeTransport {
    Local { path: Option<String> },
    Journal { path: Option<String> },
    Udp { host: String, port: u16, sd_id: String },
    Tcp { host: String, port: u16, sd_id: String },
}

impl From<NativeTransport> for Transport {
    fn from(native: NativeTransport) -> Self {
        match native {
            NativeTransport::Local { path } => Self::local(path.map(PathBuf::from)),
            NativeTransport::Journal { path } => Self::journal(path.map(PathBuf::from)),
            NativeTransport::Udp { host, port, sd_id } => Self::Udp(Remote { host, port, sd_id }),
            NativeTransport::Tcp { host, port, sd_id } => Self::Tcp(Remote { host, port, sd_id }),
        }
    }
}

/// openlog(3). Without a transport: the journal, where it reads this process's output, else the local logger.
/// `attached`: messages go to standard error where there is no logger.
#[napi(catch_unwind)]
pub fn syslog_open(
    ident: String,
    options: i32,
    facility: i32,
    transport: Option<NativeTransport>,
    attached: bool,
) {
    let transport = transport.map_or_else(syslog::default_transport, Transport::from);
    daemon::open_log(syslog::Config { ident, options, facility, transport, attached });
}

/// Whether `syslogOpen` was called, in this thread or in another.
#[napi(catch_unwind)]
pub fn syslog_is_open() -> bool {
    syslog::is_open()
}

/// closelog(3).
#[napi(catch_unwind)]
pub fn syslog_close() {
    syslog::close();
}

/// setlogmask(3).
#[napi(catch_unwind)]
pub fn syslog_set_mask(mask: i32) -> i32 {
    syslog::set_mask(mask)
}

thread_local! {
    /// A message on its way from JavaScript to the queue.
    static MESSAGE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// syslog(3): puts a message into the queue.
#[napi(catch_unwind)]
pub fn syslog_log(priority: i32, #[napi(ts_arg_type = "string")] message: Unknown<'_>) {
    if syslog::is_let_through(priority) {
        with_text(message, syslog::longest(), |text| syslog::log(priority, text));
    }
}

/// The same for a message that standard error has already.
#[napi(catch_unwind)]
pub fn syslog_log_told(priority: i32, #[napi(ts_arg_type = "string")] message: Unknown<'_>) {
    syslog_log(priority | syslog::TOLD, message);
}

/// The same with fields: a name, its value, the next name, its value.
#[napi(catch_unwind)]
pub fn syslog_log_fields(
    priority: i32,
    #[napi(ts_arg_type = "string")] message: Unknown<'_>,
    fields: Vec<String>,
) {
    let pairs = fields.as_chunks::<2>().0.iter();
    let pairs = pairs.map(|[name, value]| (name.as_str(), value.as_str()));
    with_text(message, syslog::longest(), |text| syslog::log_fields(priority, text, pairs));
}

/// Calls with at most `longest` bytes of a JavaScript string, as UTF-8. A `String` would be allocated for
/// every message. The queue's lock is not held meanwhile: V8 may collect garbage here.
fn with_text(value: Unknown<'_>, longest: usize, f: impl FnOnce(&[u8])) {
    MESSAGE.with_borrow_mut(|buffer| {
        let mut room = longest.min(syslog::message::LONGEST);
        loop {
            // There must be room for a NUL as well. Where the next character does not fit, up to 3 bytes stay
            // unused.
            buffer.clear();
            buffer.reserve(room + 1);
            let mut length = 0;
            let given = value.value();
            // SAFETY: the environment and the value are of the call that we are in; the buffer has room for the
            // `room + 1` bytes that may be written, and `length` of them were.
            unsafe {
                let at = buffer.as_mut_ptr().cast();
                napi::sys::napi_get_value_string_utf8(
                    given.env,
                    given.value,
                    at,
                    room + 1,
                    &mut length,
                );
                buffer.set_len(length.min(room));
            }
            if length + 4 <= room || room >= longest {
                break;
            }
            room = longest.min(room.saturating_mul(16));
        }
        f(buffer);
        buffer.clear();
        buffer.shrink_to(64 << 10);
    });
}

/// Resolves with whether all was sent within `timeout` ms; at the end of a process it hardly waits
/// for a logger that was never reached.
#[napi(catch_unwind, ts_return_type = "Promise<boolean>")]
pub fn syslog_flush(env: &Env, timeout: f64, last: bool) -> napi::Result<Object<'_>> {
    in_thread(env, "flush", move || Ok(daemon::flush_log(millis(timeout), last)))
}

/// Whether `syslogFlush` at the end of a process has nothing to wait for.
#[napi(catch_unwind)]
pub fn syslog_is_settled() -> bool {
    syslog::is_settled()
}

/// The socket of the local logger, where messages go there and nobody listens.
#[napi(catch_unwind)]
pub fn syslog_missing() -> Option<String> {
    syslog::missing().map(|path| path.display().to_string())
}

/// Whether what is written to stderr goes where messages go: to the journal.
#[napi(catch_unwind)]
pub fn syslog_reaches_stderr() -> bool {
    syslog::reaches_stderr()
}

/// What the queue is doing.
#[napi(object)]
pub struct NativeSyslogStats {
    /// Whether the logger was reached when it was last tried.
    pub connected: bool,
    /// How many messages wait.
    pub queued: f64,
    /// How many bytes of text they have.
    pub queued_bytes: f64,
    /// How many messages were handed to the logger.
    pub sent: f64,
    /// How many messages the full queue did not take.
    pub dropped: f64,
}

/// What is sent, waits, and was dropped.
#[napi(catch_unwind)]
pub fn syslog_stats() -> NativeSyslogStats {
    let stats = syslog::stats();
    NativeSyslogStats {
        connected: stats.connected,
        queued: stats.queued as f64,
        queued_bytes: stats.queued_bytes as f64,
        sent: stats.sent as f64,
        dropped: stats.dropped as f64,
    }
}
