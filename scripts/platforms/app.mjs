// A program with the packages as npm would have installed them.

import { cpSync } from 'node:fs'
import { root } from './targets.mjs'

export function appOf(packages, platform, into) {
  const modules = `${into}/node_modules/`
  cpSync(`${packages}tsdaemonize`, `${modules}tsdaemonize`, { recursive: true })
  cpSync(`${packages}tsdaemonize/npm/${platform}`, `${modules}tsdaemonize-${platform}`, { recursive: true })
  cpSync(`${root}scripts/platforms/life.mjs`, `${into}/life.mjs`)
  return into
}
