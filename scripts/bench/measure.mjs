// What the benchmarks share: the median, and what /proc says of the processes that they start.

import { readdirSync, readFileSync } from 'node:fs'

export const MIB = 2 ** 20

export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** Bytes, from proc_pid_smaps_rollup(5); in `pss` each shared page is divided among those that share it. */
export function memory(pid) {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
  const of = (name) => Number(text.match(new RegExp(`^${name}: +(\\d+) kB`, 'm'))[1]) * 1024
  return { rss: of('Rss'), pss: of('Pss'), own: of('Private_Clean') + of('Private_Dirty') }
}

/** The processes that were started with BENCH=dir in their environment. */
export function processesOf(dir) {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return false
    try {
      return readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`BENCH=${dir}\0`)
    } catch {
      return false
    }
  })
}
