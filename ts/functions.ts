// The same without a class, as in hdaemonize.

import { Daemon } from './daemon.js'
import { invalidType } from './errors.js'
import type { DaemonOptions } from './options.js'

/** What `serviced` takes: a program with a command line. */
export interface ServiceOptions<T> extends DaemonOptions {
  /** The daemon's behaviour; gets what `privilegedAction` returned. */
  program: (value: T, signal: AbortSignal, daemon: Daemon) => unknown
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
  options: DaemonOptions = {},
): Promise<{ pid: number }> {
  mustBeFunction('action', action)
  return new (class extends Daemon {
    protected override async action(signal: AbortSignal): Promise<unknown> {
      return action(signal, this)
    }
  })(options).start()
}

/** A program with the command line of `Daemon.serviced`. */
export async function serviced<T = undefined>(service: ServiceOptions<T>): Promise<void> {
  if (typeof service !== 'object' || service === null) throw invalidType('options', service, 'an object')
  const { program, privilegedAction, ...options } = service
  mustBeFunction('program', program)
  if (privilegedAction !== undefined) mustBeFunction('privilegedAction', privilegedAction)
  let value: T
  await new (class extends Daemon {
    protected override async setup(): Promise<void> {
      value = (await privilegedAction?.(this)) as T
    }
    protected override async action(signal: AbortSignal): Promise<unknown> {
      return program(value, signal, this)
    }
  })(options).serviced()
}

function mustBeFunction(name: string, value: unknown): void {
  if (typeof value !== 'function') throw invalidType(name, value, 'a function')
}
