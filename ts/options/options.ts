// The options of a Daemon: what they mean, their checks, and their defaults.

import {
  type Check,
  checkAbsolute,
  checkEach,
  checkInteger,
  checkText,
  invalidType,
  invalidValue,
  ofType,
  unknownKey,
} from '../errors/index.js'
import { LOG_DAEMON, LOG_LOCAL7, LOG_OPTIONS } from '../logger/index.js'
import type { NativeConfinement, NativePlace } from '../native/index.js'
import { defaultPlaces } from '../pidfile/index.js'
import { defaultName, isName } from '../program/index.js'
import { isAbsolute, LARGEST_INT, resolve } from '../runtime/index.js'
import { CONFINEMENT_CHECKS, type ConfinementOptions, resolveConfinement } from './confinement.js'

/** The options of a Daemon. One that is `undefined` is left out. */
export interface DaemonOptions extends ConfinementOptions {
  /**
   * Whether the daemon goes into the background. `false` keeps the process attached, with every other step the same.
   * @defaultValue `true`; `false` where a service manager or a container's init started this process
   */
  detach?: boolean | undefined
  /**
   * The name of the pidfile, the syslog ident and the process title, and the user and group that the daemon becomes
   * where those that are named do not exist. It is one path component of 1 to 64 bytes without control characters.
   * @defaultValue the script's base name without its extension; where that is `index` or `main`, the name of
   * its package (package.json, without the scope), else that of its directory
   */
  name?: string | undefined
  /**
   * The directory in which `<name>.pid` is kept. Only its owner, who is root or the caller, may be able to
   * write there. Give an absolute path: a relative one depends on the working directory of whoever
   * starts the daemon or asks for it. With `null` there is no pidfile, and no guarantee of a single instance.
   * @defaultValue `$RUNTIME_DIRECTORY`, unless it is another service's; else `/var/run` for root; for
   * others the first of `$XDG_RUNTIME_DIR` and `/run/user/<uid>` that exists and is theirs, else
   * `/tmp/<name>-<uid>`. Whoever looks for a daemon looks in all of these
   */
  pidFilePath?: string | null | undefined
  /**
   * Options of syslog(3), OR'd: `LOG_PID`, `LOG_CONS`, `LOG_NDELAY`, `LOG_ODELAY`, `LOG_NOWAIT`, `LOG_PERROR`.
   * @defaultValue `0`
   */
  syslogOptions?: number | undefined
  /**
   * One of the facilities of syslog(3).
   * @defaultValue `LOG_DAEMON`
   */
  syslogFacility?: number | undefined
  /**
   * The user that the daemon becomes after `setup`, by name or number; see `dropPrivileges`. A number without
   * an entry has no group of its own: give `group` with it.
   * @defaultValue none: the user stays the same
   */
  user?: string | number | undefined
  /**
   * The group that the daemon gets after `setup`, by name or number; see `dropPrivileges`. Give `user` with it:
   * without one, the user is the one with the daemon's name, else `daemon`.
   * @defaultValue none: the user's own, where `user` is given
   */
  group?: string | number | undefined
  /**
   * The program that the daemon's Node runs, a path or `file:` URL, for a client that starts a background
   * server. That program starts the Daemon of the same name, whose own options count, except for the place of
   * the pidfile. It is always detached.
   * @defaultValue this program
   */
  script?: string | URL | undefined
  /**
   * The arguments of the daemon's program.
   * @defaultValue this program's own; `[]` where `script` is given
   */
  args?: readonly string[] | undefined
  /**
   * What runs the daemon's program in the background: the path of another Node, of a TypeScript runner that stays
   * in its own process (jiti, vite-node), or of an Electron, which then runs as Node; or a name that is looked for
   * in PATH. A relative path depends on the working directory of whoever starts the daemon.
   * @defaultValue `process.execPath`
   */
  execPath?: string | undefined
  /**
   * The flags of what runs the daemon's program: the arguments before the script. They are handed on as they are.
   * @defaultValue `process.execArgv`, without those of the launcher's own run (`--inspect`, `--watch`, `--test`, ...)
   */
  execArgv?: readonly string[] | undefined
  /**
   * The daemon's environment.
   * @defaultValue `process.env`
   */
  env?: Readonly<Record<string, string | undefined>> | undefined
  /**
   * The working directory, an absolute path.
   * @defaultValue `/`
   */
  cwd?: string | undefined
  /**
   * The file mode creation mask, `0` to `0o777` (umask(2)).
   * @defaultValue `0o022`
   */
  umask?: number | undefined
  /**
   * Where standard output goes once the daemon runs. That is the absolute path of a file, which is appended to,
   * is created with mode 0640 for `user`, and is never reached through a symbolic link. Or it is `'syslog'`: every
   * line is a message with `LOG_INFO`.
   * @defaultValue `/dev/null`; in an attached daemon it stays as it is
   */
  stdout?: string | undefined
  /**
   * Where standard error goes, in the same way; its lines are messages with `LOG_ERR`.
   * @defaultValue `/dev/null`; in an attached daemon it stays as it is
   */
  stderr?: string | undefined
  /**
   * Descriptors that stay open, each of them 3 or more. All others above 2 are closed.
   * @defaultValue `[]`
   */
  keepFds?: readonly number[] | undefined
  /**
   * Milliseconds within which the daemon must be ready. After that the start fails, and nothing is left of it.
   * @defaultValue `30_000`
   */
  startTimeout?: number | undefined
  /**
   * Milliseconds that the end (`shutdown`) may take. `stop` sends SIGKILL one second later.
   * @defaultValue `10_000`
   */
  stopTimeout?: number | undefined
  /**
   * Whether a supervisor stays beside the daemon: a process of less than a megabyte, which is its parent, and holds its
   * pidfile. It starts nothing again; it knows how the daemon has ended, and `status` tells that. It is the executable
   * of this package. An attached daemon has none: that is its manager's work.
   * @defaultValue `false`
   */
  supervise?: boolean | undefined
  /**
   * Milliseconds for which the event loop may be blocked at SIGTERM before a native thread ends the process.
   * @defaultValue `5_000`
   */
  blockedTimeout?: number | undefined
}

/** The options, checked, with their defaults. */
export interface ResolvedOptions {
  detach: boolean | undefined
  name: string
  /** The places in which the daemon may be, that of a start first; none without a pidfile. */
  places: NativePlace[]
  /** `pidFilePath` was not given. */
  placeIsDefault: boolean
  syslogOptions: number
  syslogFacility: number
  user: string | number | undefined
  group: string | number | undefined
  confinement: NativeConfinement
  script: string | undefined
  args: readonly string[] | undefined
  execPath: string | undefined
  execArgv: readonly string[] | undefined
  env: Readonly<Record<string, string | undefined>> | undefined
  cwd: string
  umask: number
  stdout: string | undefined
  stderr: string | undefined
  keepFds: readonly number[]
  startTimeout: number
  stopTimeout: number
  stopTimeoutIsDefault: boolean
  supervise: boolean
  blockedTimeout: number
}

/** The value of `stdout` and `stderr` with which lines become syslog messages. */
export const SYSLOG = 'syslog'
const NAME = 'one path component of 1 to 64 bytes without control characters'

/** The defaults of the options for which these do not depend on anything else. */
const DEFAULTS = {
  syslogOptions: 0,
  syslogFacility: LOG_DAEMON,
  cwd: '/',
  umask: 0o022,
  startTimeout: 30_000,
  stopTimeout: 10_000,
  supervise: false,
  blockedTimeout: 5_000,
}

/** The check of each option. */
const CHECKS: Record<keyof Required<DaemonOptions>, Check> = {
  detach: ofType('boolean'),
  name: checkName,
  pidFilePath: (value, option) => {
    if (value !== null) checkText(value, option, 'a directory or null')
  },
  syslogOptions: (value, option) =>
    checkInteger(value, option, 0, LOG_OPTIONS, 'OR’d LOG_* options of syslog(3)'),
  syslogFacility: (value, option) => {
    checkInteger(value, option, 0, LOG_LOCAL7, 'a facility of syslog(3), such as LOG_DAEMON')
    if ((value as number) % 8 !== 0)
      throw invalidValue(option, value, 'a facility of syslog(3), such as LOG_DAEMON')
  },
  user: checkAccount,
  group: checkAccount,
  ...CONFINEMENT_CHECKS,
  script: (value, option) => {
    const expected = 'a path or a file: URL'
    if (!(value instanceof URL)) checkText(value, option, expected)
    if (toPath(value as string | URL) === undefined) throw invalidValue(option, String(value), expected)
  },
  args: checkArguments,
  execPath: (value, option) => checkText(value, option, 'a path or a name in PATH'),
  execArgv: checkArguments,
  env: (value, option) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw invalidType(option, value, 'an object of strings')
    }
    for (const [key, entry] of Object.entries(value)) {
      if (key === '' || /[=\0]/.test(key))
        throw invalidValue(option, key, 'an object whose keys have no = and no NUL')
      if (entry !== undefined) checkText(entry, `${option}.${key}`, 'a string without NUL', true)
    }
  },
  cwd: checkAbsolute,
  umask: (value, option) =>
    checkInteger(value, option, 0, 0o777, 'an integer from 0 to 0o777, such as 0o022'),
  stdout: checkOutput,
  stderr: checkOutput,
  keepFds: (value, option) => {
    if (!Array.isArray(value)) throw invalidType(option, value, 'an array of descriptors')
    value.forEach((fd, i) => {
      checkInteger(fd, `${option}[${i}]`, 3, LARGEST_INT, 'a descriptor, 3 or more')
    })
  },
  startTimeout: checkTimeout,
  stopTimeout: checkTimeout,
  supervise: ofType('boolean'),
  blockedTimeout: checkTimeout,
}

/** Throws for a name that is neither an option of a Daemon nor one of the caller's `others`. */
export function checkNames(options: object, others: readonly string[] = []): void {
  const known = [...Object.keys(CHECKS), ...others]
  const unknown = Object.keys(options).find((option) => !known.includes(option))
  if (unknown === undefined) return
  throw unknownKey('options', unknown, 'made of known options', known)
}

/**
 * Checks the options and fills in the defaults, and changes nothing else. Those of the command line, with which the
 * program `tsdaemonize` was called, go before the script's own.
 *
 * @throws TypeError `ERR_INVALID_ARG_TYPE` or `ERR_INVALID_ARG_VALUE`, naming the option
 */
export function resolveOptions(options: unknown, commandLine?: object): ResolvedOptions {
  const own = checked(options, (option) => option)
  const given: DaemonOptions = commandLine ? { ...own, ...checked(commandLine, inKebabCase) } : own
  const script = given.script === undefined ? undefined : toPath(given.script)
  if (script !== undefined && given.detach === false) {
    throw invalidValue(
      'detach',
      false,
      'left out where `script` is given: another program cannot run in this process',
    )
  }
  const name = given.name ?? defaultName(script)
  return {
    detach: given.detach,
    name,
    places: places(given.pidFilePath, name, script !== undefined),
    placeIsDefault: given.pidFilePath === undefined,
    syslogOptions: given.syslogOptions ?? DEFAULTS.syslogOptions,
    syslogFacility: given.syslogFacility ?? DEFAULTS.syslogFacility,
    user: given.user,
    group: given.group,
    confinement: resolveConfinement(given),
    script,
    args: given.args ?? (script === undefined ? undefined : []),
    execPath: given.execPath,
    execArgv: given.execArgv,
    env: given.env,
    cwd: given.cwd ?? DEFAULTS.cwd,
    umask: given.umask ?? DEFAULTS.umask,
    stdout: given.stdout,
    stderr: given.stderr,
    keepFds: [...new Set(given.keepFds)],
    startTimeout: given.startTimeout ?? DEFAULTS.startTimeout,
    stopTimeout: given.stopTimeout ?? DEFAULTS.stopTimeout,
    stopTimeoutIsDefault: given.stopTimeout === undefined,
    supervise: given.supervise ?? DEFAULTS.supervise,
    blockedTimeout: given.blockedTimeout ?? DEFAULTS.blockedTimeout,
  }
}

/** A copy of the options, checked. `called` tells what the user calls one. */
function checked(options: unknown, called: (option: string) => string): DaemonOptions {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw invalidType('options', options, 'an object')
  }
  // Only own properties count, and each is read once, so that nothing is used that was not checked.
  const given: DaemonOptions = Object.assign(Object.create(null), options)
  checkNames(given)
  for (const [option, value] of Object.entries(given)) {
    if (value !== undefined) CHECKS[option as keyof DaemonOptions](value, called(option))
  }
  return given
}

/** An option as the command line has it: `--stop-timeout`. */
function inKebabCase(option: string): string {
  return `--${option.replace(/[A-Z]/g, (capital) => `-${capital.toLowerCase()}`)}`
}

/** The file that a path or a `file:` URL names; `undefined` for a URL that names no file here. */
function toPath(script: string | URL): string | undefined {
  const isUrl = script instanceof URL || script.startsWith('file:')
  try {
    const path = resolve(isUrl ? process.getBuiltinModule('node:url').fileURLToPath(script) : script)
    return path.includes('\0') ? undefined : path
  } catch {
    return undefined
  }
}

function places(asked: string | null | undefined, name: string, isClient: boolean): NativePlace[] {
  if (asked === null) return []
  if (asked === undefined) return defaultPlaces(name, isClient)
  return [{ dir: resolve(asked), name, private: false }]
}

function checkName(value: unknown, option: string): void {
  if (typeof value !== 'string') throw invalidType(option, value, NAME)
  if (!isName(value)) throw invalidValue(option, value, NAME)
}

function checkArguments(value: unknown, option: string): void {
  checkEach(value, option, 'an array of strings', (arg, name) =>
    checkText(arg, name, 'a string without NUL', true),
  )
}

function checkOutput(value: unknown, option: string): void {
  const expected = `an absolute path or '${SYSLOG}'`
  checkText(value, option, expected)
  if (value !== SYSLOG && !isAbsolute(value as string)) throw invalidValue(option, value, expected)
}

function checkAccount(value: unknown, option: string): void {
  const expected = 'a name or a number from 0 to 4294967294'
  if (typeof value === 'number') checkInteger(value, option, 0, 2 ** 32 - 2, expected)
  else checkText(value, option, expected)
}

function checkTimeout(value: unknown, option: string): void {
  const expected = `a number of milliseconds, more than 0 and at most ${LARGEST_INT}`
  if (typeof value !== 'number') throw invalidType(option, value, expected)
  if (!(value > 0 && value <= LARGEST_INT)) throw invalidValue(option, value, expected)
}
