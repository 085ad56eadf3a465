#!/usr/bin/env node
// What `npx tsdaemonize`, and the link that package managers make, starts: the executable takes the place of this Node.

import type { DaemonError } from './errors/index.js'
import { execute } from './native/index.js'

// As a shell says it.
const NOT_EXECUTED = 126
const NOT_FOUND = 127

try {
  execute(process.argv.slice(2))
} catch (error) {
  const { message, errnoCode = 'ENOENT' } = error as DaemonError
  process.stderr.write(`tsdaemonize: ${message}\n`)
  process.exitCode = errnoCode === 'ENOENT' ? NOT_FOUND : NOT_EXECUTED
}
