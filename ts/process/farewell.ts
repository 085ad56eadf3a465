// The last line in the log of a daemon that ends: how long it ran, with which status, and why.

import { finishLast, native } from '../native/index.js'

let why: string | undefined

/** Why the daemon is about to end. The first reason counts. */
export function because(reason: string): void {
  why ??= reason
}

/** The line comes after the listeners that there are by now: one of them may change the status. */
export function sayWhenItEnds(): void {
  process.off('exit', say).on('exit', say)
  finishLast()
}

function say(code: number): void {
  native.farewell(Number(process.exitCode ?? code), why ?? 'process.exit()')
}
