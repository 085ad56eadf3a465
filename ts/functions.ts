// Daemons without a class, as in hdaemonize.

import { Daemon } from './daemon.js'
import { invalidType } from './errors/index.js'
import { checkNames, type DaemonOptions } from './options/index.js'

/** The options of `daemonize`. */
export interface DaemonizeOptions extends DaemonOptions {
  /** Runs when the daemon ends. See {@link Daemon.shutdown}. */
  shutdown?: ((daemon: Daemon) => unknown) | undefined
}

/** The program that `serviced` gives a command line, and its options. */
export interface ServiceOptions<T> extends DaemonOptions {
  /**
   * The daemon's behaviour. It gets what `privilegedAction` has returned. A program that has the signal as a
   * parameter is waited for when the daemon ends.
   */
  program: (value: T, signal: AbortSignal, daemon: Daemon) => unknown
  /** Runs when the daemon ends. It gets what `privilegedAction` has returned. */
  shutdown?: ((value: T, daemon: Daemon) => unknown) | undefined
  /** Runs before privileges are dropped. */
  privilegedAction?: ((daemon: Daemon) => T | Promise<T>) | undefined
}

/**
 * Starts a daemon whose behaviour is `action`.
 *
 * @throws DaemonError as `Daemon.start`
 */
export async function daemonize(
  action: (signal: AbortSignal, daemon: Daemon) => unknown,
  options: DaemonizeOptions = {},
): Promise<{ pid: number }> {
  mustBeFunction('action', action)
  const { shutdown, ...rest } = checkedOptions(options, ['shutdown'])
  return new (class Acting extends Daemon {
    static {
      setLength(Acting.prototype.action, action.length)
    }
    protected override async action(signal: AbortSignal): Promise<unknown> {
      return action(signal, this)
    }
    protected override async shutdown(): Promise<void> {
      await shutdown?.(this)
    }
  })(rest).start()
}

/** The options of `serviced` that a Daemon does not have. */
const SERVICE = ['program', 'privilegedAction', 'shutdown']

/** Gives a program the command line of `Daemon.serviced`. */
export async function serviced<T = undefined>(service: ServiceOptions<T>): Promise<void> {
  const { program, privilegedAction, shutdown, ...options } = checkedOptions(service, SERVICE)
  mustBeFunction('program', program)
  if (privilegedAction !== undefined) mustBeFunction('privilegedAction', privilegedAction)
  let value: T
  await new (class Service extends Daemon {
    static {
      setLength(Service.prototype.action, program.length - 1)
    }
    protected override async setup(): Promise<void> {
      value = (await privilegedAction?.(this)) as T
    }
    protected override async action(signal: AbortSignal): Promise<unknown> {
      return program(value, signal, this)
    }
    protected override async shutdown(): Promise<void> {
      await shutdown?.(value, this)
    }
  })(options).serviced()
}

/** Whether an `action` has the signal as a parameter shows in its length: it is that of the function that it calls. */
function setLength(action: (signal: AbortSignal) => unknown, length: number): void {
  Object.defineProperty(action, 'length', { value: Math.max(length, 0) })
}

function checkedOptions<O extends { shutdown?: unknown }>(options: O, others: readonly string[]): O {
  if (typeof options !== 'object' || options === null) throw invalidType('options', options, 'an object')
  checkNames(options, others)
  if (options.shutdown !== undefined) mustBeFunction('shutdown', options.shutdown)
  return options
}

function mustBeFunction(name: string, value: unknown): void {
  if (typeof value !== 'function') throw invalidType(name, value, 'a function')
}
