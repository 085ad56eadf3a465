// What can be known of a daemon from outside: whether it runs, and as which process.

import { type NativePlace, native } from '../native/index.js'
import { type LastExit, parseState } from './state.js'

/**
 * What is known of a daemon. Where the caller cannot see all of one that runs, for instance since /proc is mounted
 * with `hidepid`, the rest is an invalid Date, NaN and `''`; in JSON the first two are `null`.
 */
export type Status =
  | {
      state: 'running'
      pid: number
      /** When the process was started. */
      startedAt: Date
      /** The name of the user as whom it runs, or the number of a user without an entry. */
      user: string
      /** Resident memory, in bytes. */
      rss: number
      /**
       * The process that stays beside it, where there is one: its pid, how often it has started the daemon again, and why
       * the daemon ended the last time. `null`: it was killed.
       */
      supervisor?: { pid: number; restarts: number; lastExit: LastExit | null } | null
      /** Its supervisor was killed. */
      unsupervised?: true
    }
  /** It holds its pidfile and is not ready yet. */
  | { state: 'starting' }
  /** `stalePidFile`: a daemon that was killed has left its pidfile. `lastExit`: how it ended, if its supervisor saw that. */
  | { state: 'stopped'; stalePidFile: boolean; lastExit?: LastExit }

/** Looks at the pidfiles, and at the processes that hold one. */
export async function statusOf(places: NativePlace[]): Promise<Status> {
  const found = await native.status(places)
  if (found.state === 'starting') return { state: 'starting' }
  const { lastExit, restarts, pid: said } = parseState(found.stateFile)
  if (found.state === 'stopped') {
    return { state: 'stopped', stalePidFile: found.stale, ...(lastExit && { lastExit }) }
  }
  const { state, pid = said ?? 0, startedAt = Number.NaN, user = '', rss = Number.NaN } = found
  const status = { state, pid, startedAt: new Date(startedAt), user, rss }
  if (found.unsupervised) return { ...status, supervisor: null, unsupervised: true }
  if (found.supervisor === undefined) return status
  return { ...status, supervisor: { pid: found.supervisor, restarts, lastExit } }
}

/** How long the end of the daemon that runs may take, as it has said itself, in milliseconds. */
export function stopTimeoutOf(places: NativePlace[]): number | undefined {
  return parseState(native.stateFile(places) ?? undefined).stopTimeout
}
