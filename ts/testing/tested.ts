// A daemon that a test has started.

import type { Daemon, Status } from '../index.js'
import type { Execution, Exit } from './execution.js'
import { isAlive, type Proc, proc } from './proc.js'

/** A daemon in a place, which is ready when `Place.start` gives it. */
export class TestDaemon {
  /** Its name, pid, and the path of its pidfile. */
  readonly name: string
  readonly pid: number
  readonly pidFile: string
  /**
   * How the program that was run has ended. For a detached daemon that is its launcher, which has ended already; an
   * attached daemon is that program itself.
   */
  readonly exit: Promise<Exit>
  readonly #daemon: Daemon
  readonly #execution: Execution
  readonly #starttime: number | undefined

  /** @internal */
  constructor(daemon: Daemon, pid: number, execution: Execution) {
    this.name = daemon.name
    this.pid = pid
    this.pidFile = daemon.pidFile as string
    this.exit = execution.exit
    this.#daemon = daemon
    this.#execution = execution
    this.#starttime = proc(pid)?.starttime
  }

  /** What the program has printed to standard output: the launcher, and the daemon while it started. */
  get stdout(): string {
    return this.#execution.stdout
  }

  /** What the program has printed to standard error. */
  get stderr(): string {
    return this.#execution.stderr
  }

  /** What /proc says of its process; `undefined` when it has ended. */
  get proc(): Proc | undefined {
    return isAlive(this.pid, this.#starttime) ? proc(this.pid) : undefined
  }

  /** Its status, as `Daemon.status` gives it. */
  status(): Promise<Status> {
    return this.#daemon.status()
  }

  /**
   * Sends it a signal.
   *
   * @throws DaemonError as `Daemon.kill`
   */
  kill(signal: NodeJS.Signals): Promise<void> {
    return this.#daemon.kill(signal)
  }

  /**
   * Ends it as `Daemon.stop` does: by SIGTERM, and by SIGKILL after 11 seconds. Resolves when the process has
   * ended and its pidfile is gone, with the signal that has ended it, or with `null` where it had ended before.
   *
   * @throws DaemonError as `Daemon.stop`
   */
  stop(): Promise<{ pid: number; signal: 'SIGTERM' | 'SIGKILL' } | null> {
    return this.#daemon.stop()
  }
}
