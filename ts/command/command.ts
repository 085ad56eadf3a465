// The command line: which verb was given, whether its arguments fit, and what to say of it.

import { type DaemonError, nearest } from '../errors/index.js'
import { writeSync } from '../runtime/index.js'
import { exitStatus, type Service, USAGE_ERROR, VERBS } from './verbs.js'
import type { Terminal } from './waiting.js'
import { printFailure } from './words.js'

const HELP = '--help'
const SHORT_HELP = '-h'
/** What stands before the program's own arguments. */
const OWN = '--'

/** Runs one verb and sets `process.exitCode`. */
export async function runCommand(
  args: readonly string[],
  service: Service,
  terminal: Terminal,
): Promise<void> {
  const end = args.includes(OWN) ? args.indexOf(OWN) : args.length
  const [name, ...rest] = args.slice(0, end)
  const own = end < args.length ? args.slice(end + 1) : undefined
  if (args.slice(0, end).some((arg) => arg === HELP || arg === SHORT_HELP)) {
    process.stdout.write(usage())
    process.exitCode = 0
    return
  }
  if (name === undefined) return misuse('no command')
  const verb = Object.hasOwn(VERBS, name) ? VERBS[name] : undefined
  if (verb === undefined) {
    return misuse(`unknown command '${name}'`, nearest(name, [...Object.keys(VERBS), HELP]))
  }
  const known = Object.keys(verb.options)
  const options = known.filter((option) => rest.includes(option))
  const surplus = rest.find((arg, i) => !known.includes(arg) || rest.indexOf(arg) !== i)
  if (surplus !== undefined && verb.starts) return misplaced(name, rest)
  if (surplus !== undefined) return misuse(`unexpected argument '${surplus}'`, nearest(surplus, known))
  if (own !== undefined && !verb.starts) return misuse(`unexpected argument '${OWN}'`)
  try {
    const { status, lines } = await verb.run(service, { own, options })
    if (lines.length > 0) say(lines.map((line) => `${line}\n`).join(''))
    process.exitCode = status
  } catch (error) {
    printFailure(service.name, error as DaemonError)
    process.exitCode = exitStatus(name, error)
    terminal.dieIfInterrupted()
  }
}

function program(): string {
  return process.argv[1]?.split('/').pop() ?? 'program'
}

function usage(): string {
  const verbs = Object.entries(VERBS)
  const width = Math.max(...verbs.map(([name]) => name.length)) + 2
  const calls = verbs.map(([name, { options }]) =>
    [name, ...Object.keys(options).map((option) => `[${option}]`)].join(' '),
  )
  const lines = verbs.map(([name, { does, options }]) => {
    const more = Object.entries(options).map(([option, what]) => `; ${option} ${what}`)
    return `  ${name.padEnd(width)}${does}${more.join('')}\n`
  })
  const starting = verbs.flatMap(([name, { starts }]) => (starts ? [name] : []))
  const list = `${starting.slice(0, -1).join(', ')} or ${starting.at(-1)}`
  return `Usage: ${program()} ${calls.join(' | ')}

${lines.join('')}
What comes after ${OWN} with ${list} is for the program itself.
`
}

function misuse(what: string, meant?: string): void {
  const hint = meant === undefined ? '' : `: did you mean '${meant}'?`
  process.stderr.write(`${program()}: ${what}${hint}\n\n${usage()}`)
  process.exitCode = USAGE_ERROR
}

/** Says where the program's own arguments belong. */
function misplaced(verb: string, rest: readonly string[]): void {
  misuse(
    `unexpected argument '${rest[0]}'. The program's own arguments come after ${OWN}: ` +
      `${program()} ${verb} ${OWN} ${rest.join(' ')}`,
  )
}

/** Writes to standard output. Making process.stdout would take as long as all the rest of `status`. */
function say(text: string): void {
  try {
    writeSync(1, text)
  } catch (error) {
    // A reader that is gone is no error; one that is slow is waited for.
    if ((error as NodeJS.ErrnoException).code !== 'EPIPE') process.stdout.write(text)
  }
}
