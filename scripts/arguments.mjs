// The arguments of the scripts. A wrong one gets a sentence on standard error, without a stack, and status 2.

import { parseArgs } from 'node:util'

/** As parseArgs of `node:util`. */
export function parsed(config) {
  try {
    return parseArgs(config)
  } catch (error) {
    if (!error.code?.startsWith('ERR_PARSE_ARGS_')) throw error
    return refuse(error.message)
  }
}

export function refuse(message) {
  console.error(message)
  process.exit(2)
}
