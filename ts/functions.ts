// The same without a class, as in hdaemonize.

import { Daemon } from './daemon.js'
import { invalidType } from './errors/index.js'
import { checkNames, type DaemonOptions } from './options/index.js'

/** What `daemonize` takes beside the action. */
export interface DaemonizeOptions extends DaemonOptions {
  /** Runs on the way out, beside an action that takes the signal. See {@link Daemon.shutdown}. */
  shutdown?: ((daemon: Daemon) => unknown) | undefined
}

/** What `serviced` takes: a program with a command line. */
export interface ServiceOptions<T> extends DaemonOptions {
  /**
   * The daemon's behaviour; gets what `privilegedAction` returned. One that takes the signal is waited for on
   * the way out.
   */
  program: (value: T, signal: AbortSignal, daemon: Daemon) => unknown
  /** Runs on the way out, beside a program that takes the signal; gets what `privilegedAction` returned. */
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
  const { shutdown, ...rest } = takeOptions(options, ['shutdown'])
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

/** What `serviced` takes beside a Daemon's options. */
const SERVICE = ['program', 'privilegedAction', 'shutdown']

/** A program with the command line of `Daemon.serviced`. */
export async function serviced<T = undefined>(service: ServiceOptions<T>): Promise<void> {
  const { program, privilegedAction, shutdown, ...options } = takeOptions(service, SERVICE)
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

/** An `action` is waited for as what it calls can end. */
function setLength(action: (signal: AbortSignal) => unknown, length: number): void {
  Object.defineProperty(action, 'length', { value: Math.max(length, 0) })
}

function takeOptions<O extends { shutdown?: unknown }>(options: O, others: readonly string[]): O {
  if (typeof options !== 'object' || options === null) throw invalidType('options', options, 'an object')
  checkNames(options, others)
  if (options.shutdown !== undefined) mustBeFunction('shutdown', options.shutdown)
  return options
}

function mustBeFunction(name: string, value: unknown): void {
  if (typeof value !== 'function') throw invalidType(name, value, 'a function')
}
