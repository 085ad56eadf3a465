// What can be known of a daemon from outside: whether it runs, and as which process.

import { type NativePlace, native } from '../native/index.js'

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
    }
  /** It holds its pidfile and is not ready yet. */
  | { state: 'starting' }
  /** `stalePidFile`: a daemon that was killed has left its pidfile. */
  | { state: 'stopped'; stalePidFile: boolean }

/** Looks at the pidfiles, and at the process that holds one. */
export async function statusOf(places: NativePlace[]): Promise<Status> {
  const found = await native.status(places)
  if (found.state === 'starting') return { state: 'starting' }
  if (found.state === 'stopped') return { state: 'stopped', stalePidFile: found.stale }
  const { state, pid = 0, startedAt = Number.NaN, user = '', rss = Number.NaN } = found
  return { state, pid, startedAt: new Date(startedAt), user, rss }
}
