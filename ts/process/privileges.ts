// What the daemon gives up: its user and group, and what the options say beside them.

import { native } from '../native/index.js'
import type { ResolvedOptions } from '../options/index.js'
import type { Outputs } from './outputs.js'

/** Who the process is after `dropPrivileges`. */
export interface Identity {
  user: string
  uid: number
  group: string
  gid: number
  /** The supplementary groups. */
  groups: number[]
}

/** The user and the group that `dropPrivileges` was called with. */
interface Names {
  user: string | undefined
  group: string | undefined
}

/** What the rest of the daemon does meanwhile. */
interface Surroundings {
  warn(message: string): void
  /** The root directory is about to become another. */
  rootChanges(): void
  /** Tells of the error and ends the process. */
  fail(error: unknown): void
}

export class Privileges {
  readonly #options: ResolvedOptions
  readonly #outputs: Outputs
  readonly #around: Surroundings
  /** What `drop` was called with, and what came of it. */
  #dropped: (Names & { identity: Identity }) | undefined
  /** What the options say beside user and group is done. */
  #isConfined = false

  constructor(options: ResolvedOptions, outputs: Outputs, around: Surroundings) {
    this.#options = options
    this.#outputs = outputs
    this.#around = around
  }

  /** After `setup`: gives up what the options say. */
  asOptionsSay(): void {
    const { user, group, confinement } = this.#options
    if (user !== undefined || group !== undefined) this.drop(user, group)
    else if (!this.#isConfined && Object.keys(confinement).length > 0) this.#giveUp()
  }

  /** `dropPrivileges` of the daemon. Any failure ends it. */
  drop(user?: string | number | null, group?: string | number | null): Identity {
    const names = { user: asText(user), group: asText(group) }
    const before = this.#dropped
    // Proven already, and in a chroot it could not be proven again.
    if (before?.user === names.user && before?.group === names.group && before !== undefined) {
      return structuredClone(before.identity)
    }
    const found = this.#giveUp(names)
    if (found === undefined) throw new Error('unreachable')
    const { home, shell, ...identity } = found
    this.#outputs.belongToAnother()
    setEnvironment('HOME', home ?? '/')
    setEnvironment('USER', home === undefined ? undefined : identity.user)
    setEnvironment('LOGNAME', home === undefined ? undefined : identity.user)
    setEnvironment('SHELL', shell)
    this.#dropped = { ...names, identity }
    return structuredClone(identity)
  }

  /** Gives up what the options say, once, and, where names are given, becomes another user. */
  #giveUp(names?: Names) {
    const { confinement, name } = this.#options
    const { capabilities, noNewPrivileges, chroot } = confinement
    const kept = {
      ...(capabilities !== undefined && { capabilities }),
      ...(noNewPrivileges !== undefined && { noNewPrivileges }),
    }
    const whom = names && {
      daemonName: name,
      files: this.#outputs.madeLogs(),
      ...(names.user !== undefined && { user: names.user }),
      ...(names.group !== undefined && { group: names.group }),
    }
    try {
      if (chroot !== undefined && !this.#isConfined) {
        // Loads the time zone that JavaScript has of its own.
        new Date().getTimezoneOffset()
        this.#around.rootChanges()
      }
      const done = native.dropPrivileges(whom, this.#isConfined ? kept : confinement)
      this.#isConfined = true
      for (const warning of done.warnings) this.#around.warn(warning)
      return done.identity
    } catch (error) {
      // Not by an exception alone: the program could catch it, and go on with too much.
      try {
        this.#around.fail(error)
      } finally {
        // A listener of `exit` has thrown, or the program has put something else in the place of process.exit.
        exitNow(1)
      }
    }
  }
}

/** Ends the process at once: the pidfile is removed, nothing else happens. */
export function exitNow(code: number): never {
  native.exitNow(code)
  throw new Error('unreachable')
}

function asText(name: string | number | null | undefined): string | undefined {
  return name === null || name === undefined ? undefined : String(name)
}

function setEnvironment(name: string, value: string | undefined | null): void {
  if (value === undefined || value === null) delete process.env[name]
  else process.env[name] = value
}
