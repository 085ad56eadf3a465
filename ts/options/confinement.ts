// What a careful daemon gives up beside its user and group: the options, and what the native module
// gets of them.

import {
  type Check,
  checkAbsolute,
  checkEach,
  checkInteger,
  checkObject,
  invalidType,
  invalidValue,
  ofType,
  unknownName,
} from '../errors/index.js'
import type { NativeConfinement, NativeLandlock, NativeLimit } from '../native/index.js'

/** The capabilities of capabilities(7), in the order of their numbers. */
const CAPABILITIES = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_DAC_READ_SEARCH',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETPCAP',
  'CAP_LINUX_IMMUTABLE',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_BROADCAST',
  'CAP_NET_ADMIN',
  'CAP_NET_RAW',
  'CAP_IPC_LOCK',
  'CAP_IPC_OWNER',
  'CAP_SYS_MODULE',
  'CAP_SYS_RAWIO',
  'CAP_SYS_CHROOT',
  'CAP_SYS_PTRACE',
  'CAP_SYS_PACCT',
  'CAP_SYS_ADMIN',
  'CAP_SYS_BOOT',
  'CAP_SYS_NICE',
  'CAP_SYS_RESOURCE',
  'CAP_SYS_TIME',
  'CAP_SYS_TTY_CONFIG',
  'CAP_MKNOD',
  'CAP_LEASE',
  'CAP_AUDIT_WRITE',
  'CAP_AUDIT_CONTROL',
  'CAP_SETFCAP',
  'CAP_MAC_OVERRIDE',
  'CAP_MAC_ADMIN',
  'CAP_SYSLOG',
  'CAP_WAKE_ALARM',
  'CAP_BLOCK_SUSPEND',
  'CAP_AUDIT_READ',
  'CAP_PERFMON',
  'CAP_BPF',
  'CAP_CHECKPOINT_RESTORE',
] as const

/** The name of a capability. */
export type Capability = (typeof CAPABILITIES)[number]

/** The limits of setrlimit(2), in lower case and without `RLIMIT_`. */
const LIMITS = [
  'as',
  'core',
  'cpu',
  'data',
  'fsize',
  'locks',
  'memlock',
  'msgqueue',
  'nice',
  'nofile',
  'nproc',
  'rss',
  'rtprio',
  'rttime',
  'sigpending',
  'stack',
] as const

/** A limit in the units of setrlimit(2): bytes, seconds or a number of things. */
export type Limit = number | 'unlimited'

/** Limits by name. One value sets both limits. One of `soft` and `hard` that is left out stays as it is. */
export type Limits = {
  [K in (typeof LIMITS)[number]]?: Limit | { soft?: Limit | undefined; hard?: Limit | undefined } | undefined
}

/**
 * What the daemon can still reach (landlock(7)). Paths are absolute, and stand for all that is beneath them. A
 * list that is left out restricts nothing, and an empty one allows nothing. What is open already stays open.
 */
export interface Landlock {
  /** Files and directories that can be read. */
  read?: readonly string[] | undefined
  /** Files that can be written, and directories where files can be made and removed. */
  write?: readonly string[] | undefined
  /** Programs that can be executed, and therefore read. */
  execute?: readonly string[] | undefined
  /** TCP ports that can be bound; 0 stands for one that the kernel chooses. */
  bind?: readonly number[] | undefined
  /** TCP ports that can be connected to. */
  connect?: readonly number[] | undefined
  /**
   * Whether a restriction that this kernel does not know is a LOG_WARNING and not an error.
   * @defaultValue `false`
   */
  bestEffort?: boolean | undefined
}

/** The options of a Daemon about this. */
export interface ConfinementOptions {
  /**
   * The directory, an absolute path, that becomes the root directory (chroot(2)), and the working
   * directory. It and all above it must be writable by root alone.
   * @defaultValue none
   */
  chroot?: string | undefined
  /**
   * The capabilities that are kept, as permitted, effective, inheritable and ambient ones. All others
   * are removed from all sets, the bounding set included.
   * @defaultValue none is kept once privileges were dropped, and the bounding set stays as it is
   */
  capabilities?: readonly Capability[] | undefined
  /**
   * Whether programs that are executed give no privileges any more, by a set-user-ID bit for instance
   * (PR_SET_NO_NEW_PRIVS(2const)).
   * @defaultValue `true` once privileges were dropped, or with `capabilities` or `landlock`
   */
  noNewPrivileges?: boolean | undefined
  /**
   * Limits by name, such as `{ nofile: 4096, core: 0 }` (setrlimit(2)).
   * @defaultValue as they are
   */
  limits?: Limits | undefined
  /**
   * The nice value, `-20` to `19` (setpriority(2)).
   * @defaultValue as it is
   */
  nice?: number | undefined
  /**
   * `-1000` to `1000`: how likely the kernel is to end this process when memory runs out
   * (proc_pid_oom_score_adj(5)).
   * @defaultValue as it is
   */
  oomScoreAdjust?: number | undefined
  /**
   * The files and TCP ports that the daemon can still reach.
   * @defaultValue all
   */
  landlock?: Landlock | undefined
}

const PATHS = 'an array of absolute paths'
const PORTS = 'an array of TCP ports'
const LIMIT = "a whole number, 0 or more, or 'unlimited'"
const RULES = 'an object with at least one of read, write, execute, bind and connect'

const checkPaths: Check = (value, option) => checkEach(value, option, PATHS, checkAbsolute)
const checkPorts: Check = (value, option) =>
  checkEach(value, option, PORTS, (port, name) => checkInteger(port, name, 0, 65535, 'a TCP port'))

const LANDLOCK: Record<keyof Required<Landlock>, Check> = {
  read: checkPaths,
  write: checkPaths,
  execute: checkPaths,
  bind: checkPorts,
  connect: checkPorts,
  bestEffort: ofType('boolean'),
}

/** The check of each of these options. */
export const CONFINEMENT_CHECKS: Record<keyof Required<ConfinementOptions>, Check> = {
  chroot: checkAbsolute,
  capabilities: (value, option) =>
    checkEach(value, option, 'an array of names, such as CAP_NET_BIND_SERVICE', (name, at) => {
      const expected = 'a name of capabilities(7), such as CAP_NET_BIND_SERVICE'
      if (typeof name !== 'string') throw invalidType(at, name, expected)
      const known: readonly string[] = CAPABILITIES
      if (!known.includes(name)) throw unknownName(at, name, expected, known)
    }),
  noNewPrivileges: ofType('boolean'),
  limits: (value, option) =>
    checkObject(
      value,
      option,
      'an object, such as { nofile: 4096 }',
      Object.fromEntries(LIMITS.map((name) => [name, checkLimit])),
    ),
  nice: (value, option) => checkInteger(value, option, -20, 19, 'an integer from -20 to 19'),
  oomScoreAdjust: (value, option) =>
    checkInteger(value, option, -1000, 1000, 'an integer from -1000 to 1000'),
  landlock: (value, option) => {
    checkObject(value, option, RULES, LANDLOCK)
    const { bestEffort, ...lists } = value as Landlock
    if (Object.values(lists).every((list) => list === undefined)) throw invalidValue(option, value, RULES)
  },
}

function checkLimit(value: unknown, option: string): void {
  const one: Check = (limit, name) => {
    if (limit !== 'unlimited') checkInteger(limit, name, 0, Number.MAX_SAFE_INTEGER, LIMIT)
  }
  if (typeof value !== 'object' || value === null) {
    one(value, option)
    return
  }
  checkObject(value, option, `${LIMIT}, or an object of both`, { soft: one, hard: one })
  const { soft, hard } = value as { soft?: Limit; hard?: Limit }
  if (soft === undefined && hard === undefined) {
    throw invalidValue(option, value, 'an object with soft, hard or both')
  }
  if (soft !== undefined && hard !== undefined && toNumber(soft) > toNumber(hard)) {
    throw invalidValue(`${option}.soft`, soft, `at most ${hard}, which is \`hard\``)
  }
}

/** These options for the native module: those that were given, and no others. */
export function resolveConfinement(given: ConfinementOptions): NativeConfinement {
  const { chroot, capabilities, noNewPrivileges, limits, nice, oomScoreAdjust, landlock } = given
  if (landlock !== undefined && noNewPrivileges === false) {
    throw invalidValue('noNewPrivileges', false, 'left out or true where `landlock` is given, which needs it')
  }
  return onlyGiven<NativeConfinement>({
    chroot,
    capabilities:
      capabilities && [...new Set(capabilities)].map((name) => ({ name, bit: CAPABILITIES.indexOf(name) })),
    noNewPrivileges,
    limits: limits && toLimits(limits),
    nice,
    oomScoreAdjust,
    landlock: landlock && toLandlock(landlock),
  })
}

function toLimits(limits: Limits): NativeLimit[] {
  return Object.entries(limits).flatMap(([name, limit]) => {
    if (limit === undefined) return []
    const { soft, hard } = typeof limit === 'object' ? limit : { soft: limit, hard: limit }
    return [{ name, ...onlyGiven<Omit<NativeLimit, 'name'>>({ soft: toNumber(soft), hard: toNumber(hard) }) }]
  })
}

function toNumber(limit: Limit): number
function toNumber(limit: Limit | undefined): number | undefined
function toNumber(limit: Limit | undefined): number | undefined {
  return limit === 'unlimited' ? Number.POSITIVE_INFINITY : limit
}

function toLandlock({ read, write, execute, bind, connect, bestEffort = false }: Landlock): NativeLandlock {
  const copy = <T>(list: readonly T[] | undefined) => list && [...list]
  return {
    ...onlyGiven<Omit<NativeLandlock, 'bestEffort'>>({
      read: copy(read),
      write: copy(write),
      execute: copy(execute),
      bind: copy(bind),
      connect: copy(connect),
    }),
    bestEffort,
  }
}

/** Without the properties that are undefined: to the native module they would not be left out. */
function onlyGiven<T extends object>(object: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T
}
