// Node's flags and the environment, without what belongs to the launcher alone: its debugger, its test runner, its
// service manager.

/** What belongs to the launcher's own run, and is not handed on. */
const LAUNCHERS_OWN =
  /^--(?:no-)?(?:inspect|debug-port$|watch|test|experimental-test|cpu-prof|heap-prof|prof$|interactive$)/
/** Those of them whose value may be the next argument. */
const WITH_VALUE =
  /^--(?:inspect-port|debug-port|inspect-publish-uid|watch-path|watch-kill-signal|(?:cpu|heap)-prof-(?:dir|name|interval)|test-(?:concurrency|coverage-\w+|global-setup|isolation|name-pattern|random-seed|reporter|reporter-destination|rerun-failures|shard|skip-pattern|timeout))$/
/** Flags that give Node another program than a script. They are left out where a script is given. */
const OTHER_PROGRAM = /^(?:-e|-p|-pe|-c|--eval|--print|--check|--input-type)$/
const OTHER_PROGRAM_WITH_VALUE = /^(?:-e|-p|-pe|--eval|--print|--input-type)$/

/** Variables that speak of the launcher's own process, or hand something to it. */
const LAUNCHERS_VARIABLES = new Set([
  'NOTIFY_SOCKET',
  'LISTEN_FDS',
  'LISTEN_PID',
  'LISTEN_FDNAMES',
  'LISTEN_PIDFDID',
  'WATCHDOG_USEC',
  'WATCHDOG_PID',
  'SYSTEMD_EXEC_PID',
  'MAINPID',
  'MANAGERPID',
  'JOURNAL_STREAM',
  'NODE_CHANNEL_FD',
  'NODE_CHANNEL_SERIALIZATION_MODE',
  'NODE_UNIQUE_ID',
  'NODE_TEST_CONTEXT',
  'WATCH_REPORT_DEPENDENCIES',
])

/** Node options without those of the launcher's own run. */
export function withoutLaunchersOwn(flags: readonly string[], otherScript = false): string[] {
  const kept: string[] = []
  for (let i = 0; i < flags.length; i++) {
    const flag = flags[i] as string
    const [name = ''] = flag.split('=', 1)
    // To Node, --a_b is the same as --a-b.
    const plain = name.startsWith('--') ? name.replaceAll('_', '-') : name
    const apart = name === flag && flags[i + 1] !== undefined
    if (LAUNCHERS_OWN.test(plain) || plain === '-i') {
      if (apart && WITH_VALUE.test(plain)) i++
    } else if (otherScript && OTHER_PROGRAM.test(plain)) {
      if (apart && OTHER_PROGRAM_WITH_VALUE.test(plain)) i++
    } else {
      kept.push(flag)
    }
  }
  return kept
}

/** The variables of an environment without those of the launcher's own run: names and values. */
export function variables(env: Readonly<Record<string, string | undefined>>): [string, string][] {
  const kept: [string, string][] = []
  for (const name of Object.keys(env)) {
    const value = env[name]
    if (value === undefined || LAUNCHERS_VARIABLES.has(name) || name.startsWith('TSDAEMONIZE_')) continue
    if (name !== 'NODE_OPTIONS') {
      kept.push([name, value])
      continue
    }
    const flags = withoutLaunchersOwn(splitNodeOptions(value))
    if (flags.length > 0) kept.push([name, flags.map(quoted).join(' ')])
  }
  return kept
}

/** Splits NODE_OPTIONS as Node does: at spaces. Double quotes group, and a backslash within them escapes. */
export function splitNodeOptions(text: string): string[] {
  const found: string[] = []
  let current = ''
  let inQuotes = false
  let begun = false
  for (let i = 0; i < text.length; i++) {
    let char = text[i] as string
    if (char === '\\' && inQuotes && i + 1 < text.length) {
      char = text[++i] as string
    } else if (char === '"') {
      inQuotes = !inQuotes
      begun = true
      continue
    } else if (char === ' ' && !inQuotes) {
      if (begun) found.push(current)
      current = ''
      begun = false
      continue
    }
    current += char
    begun = true
  }
  if (begun) found.push(current)
  return found
}

/** A flag as it must be written in NODE_OPTIONS. */
export function quoted(flag: string): string {
  return /[\s"\\]/.test(flag) ? `"${flag.replace(/["\\]/g, '\\$&')}"` : flag
}
