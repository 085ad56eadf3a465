// Waits for what no event tells.

import { setTimeout as sleep } from 'node:timers/promises'

const LOOK_MS = 10

/**
 * Waits until `condition` returns something true, and returns that.
 *
 * @param what - the words for what is waited for, in the error
 * @param timeout - milliseconds, 20 000 by default
 * @throws Error when the time is up; what `condition` throws
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  what = 'the condition',
  timeout = 20_000,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + timeout
  for (;;) {
    const value = await condition()
    if (value) return value
    if (performance.now() > deadline) throw new Error(`Waited ${timeout} ms in vain for ${what}`)
    await sleep(LOOK_MS)
  }
}
