// The numbers of syslog.h: they are written here and nowhere else.

// Priorities, the most urgent first.
/** The system is unusable. */
export const LOG_EMERG = 0
/** Action must be taken at once. */
export const LOG_ALERT = 1
/** Critical conditions. */
export const LOG_CRIT = 2
/** Errors. */
export const LOG_ERR = 3
/** Warnings. */
export const LOG_WARNING = 4
/** Normal, but significant. */
export const LOG_NOTICE = 5
/** Information: the default. */
export const LOG_INFO = 6
/** For debugging. */
export const LOG_DEBUG = 7

// Facilities.
/** The kernel. */
export const LOG_KERN = 0 << 3
/** Programs of users: the default of `openlog`. */
export const LOG_USER = 1 << 3
/** Mail. */
export const LOG_MAIL = 2 << 3
/** Daemons: the default of a `Daemon`. */
export const LOG_DAEMON = 3 << 3
/** Security and authorization. */
export const LOG_AUTH = 4 << 3
/** The logger itself. */
export const LOG_SYSLOG = 5 << 3
/** Printers. */
export const LOG_LPR = 6 << 3
/** Usenet news. */
export const LOG_NEWS = 7 << 3
/** UUCP. */
export const LOG_UUCP = 8 << 3
/** cron and at. */
export const LOG_CRON = 9 << 3
/** Security and authorization, for few to read. */
export const LOG_AUTHPRIV = 10 << 3
/** FTP. */
export const LOG_FTP = 11 << 3
/** For local use. */
export const LOG_LOCAL0 = 16 << 3
/** For local use. */
export const LOG_LOCAL1 = 17 << 3
/** For local use. */
export const LOG_LOCAL2 = 18 << 3
/** For local use. */
export const LOG_LOCAL3 = 19 << 3
/** For local use. */
export const LOG_LOCAL4 = 20 << 3
/** For local use. */
export const LOG_LOCAL5 = 21 << 3
/** For local use. */
export const LOG_LOCAL6 = 22 << 3
/** For local use. */
export const LOG_LOCAL7 = 23 << 3

// Options of `openlog`.
/** Every message has the process's id. */
export const LOG_PID = 0x01
/** Messages go to /dev/console as well, while the logger cannot be reached. */
export const LOG_CONS = 0x02
/** Connect with the first message (the default). */
export const LOG_ODELAY = 0x04
/** Connect at once. */
export const LOG_NDELAY = 0x08
/** Without effect, as in syslog(3) on Linux. */
export const LOG_NOWAIT = 0x10
/** Messages go to stderr as well. */
export const LOG_PERROR = 0x20

/** All options of openlog(3). */
export const LOG_OPTIONS: number = LOG_PID | LOG_CONS | LOG_ODELAY | LOG_NDELAY | LOG_NOWAIT | LOG_PERROR
/** The bits of a message's priority that are its facility. */
export const LOG_FACMASK = 0x3f8
/** The bits of a message's priority that are the priority alone. */
export const LOG_PRIMASK = 0x07
