// Writes docs/api.md from the doc comments, as the compiler left them in the declarations (dist/*.d.ts).
// With --check it only says whether the page is current.

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const PAGE = 'docs/api.md'
/** What has a heading of its own in the part of the page that is being written. */
let headings = new Set()

const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

/** Declarations, or the members of one: comments, and then text up to its end at the outermost level. */
function parse(text) {
  const found = []
  let docs = []
  let at = 0
  while (at < text.length) {
    const comment = text.slice(at).match(/^\/\*\*?(.*?)\*\//s)
    if (comment) {
      docs.push(words(comment[1]))
      at += comment[0].length
    } else if (/\s/.test(text[at])) {
      at++
    } else {
      const end = endOf(text, at)
      found.push({ docs, text: text.slice(at, end).trim() })
      docs = []
      at = end
    }
  }
  return found
}

/** Where a declaration ends: with its body, if it has one, else with its semicolon. */
function endOf(text, start) {
  const hasBody = /^(?:export )?(?:default )?(?:declare )?(?:abstract )?(?:class|interface) /.test(
    text.slice(start),
  )
  let depth = 0
  for (let at = start; at < text.length; at++) {
    const skipped = text.slice(at).match(/^(?:\/\*.*?\*\/|'[^'\n]*'|"[^"\n]*"|=>)/s)
    if (skipped) at += skipped[0].length - 1
    else if ('{([<'.includes(text[at])) depth++
    else if ('})]>'.includes(text[at])) {
      depth--
      if (hasBody && depth === 0 && text[at] === '}') return at + 1
    } else if (!hasBody && depth === 0 && text[at] === ';') return at + 1
  }
  return text.length
}

/** A comment without its stars. */
function words(comment) {
  return comment.replace(/^\s*\* ?/gm, '').trim()
}

/** A comment's parts: the text, and what its tags say. */
function partsOf(doc = '') {
  const [text, ...tags] = doc.split(/^@(?=\w)/m)
  const all = tags.map((tag) =>
    tag
      .match(/^(\w+)\s*(.*)/s)
      .slice(1)
      .map(flowing),
  )
  const tag = (name) => all.filter(([key]) => key === name).map(([, value]) => value)
  return {
    text: flowing(text),
    parameters: tag('param').map((param) => param.match(/^(\w+) - (.*)/s).slice(1)),
    returns: tag('returns'),
    throws: tag('throws'),
    defaultValue: tag('defaultValue')[0],
  }
}

/** One line for each paragraph; links lead to the page's own headings. */
function flowing(text) {
  return text
    .trim()
    .split(/\n{2,}/)
    .map((paragraph) => paragraph.replace(/\s*\n(?!- )\s*/g, ' '))
    .join('\n\n')
    .replace(/\{@link (\w+)\}/g, (_, name) => `[${name}](#${name.toLowerCase()})`)
}

/** The declarations of a file, by name. */
function declarationsOf(file) {
  const named = new Map()
  for (const { docs, text } of parse(readFileSync(file, 'utf8'))) {
    const name = text.match(
      /^(?:export )?(?:default )?(?:declare )?(?:class|interface|type|const|let|function) (\w+)/,
    )?.[1]
    if (name === undefined) continue
    const before = named.get(name)
    if (before) before.overloads.push(text)
    else
      named.set(name, {
        name,
        doc: docs.at(-1),
        text,
        file,
        overloads: [text],
        exported: /^export /.test(text),
      })
  }
  return named
}

/** What a module exports, in its order: declarations, or a namespace of them. */
function exportsOf(file) {
  const found = []
  for (const { text } of parse(readFileSync(file, 'utf8'))) {
    const from = text.match(/ from '(\.[^']+)\.js'/)?.[1]
    const source = from && join(dirname(file), `${from}.d.ts`)
    const namespace = text.match(/^export \* as (\w+) /)?.[1]
    const names = text.match(/^export (?:type )?\{([^}]*)\} from/)?.[1]
    if (namespace) found.push({ namespace, members: exportsOf(source) })
    else if (names) {
      const all = declarationsOf(source)
      for (const name of names.split(',')) found.push(all.get(name.trim().replace(/^type /, '')))
    }
  }
  if (found.length > 0) return found
  return [...declarationsOf(file).values()].filter((declaration) => declaration.exported)
}

/** The members of a class or an interface, and what it inherits from a type that has no heading of its own. */
function membersOf({ text, file }) {
  const [head] = text.split('{', 1)
  const base = nameOfBase(text)
  const inherited = base && !headings.has(base) && baseOf(base, file)
  return [...parse(text.slice(head.length + 1, -1)), ...(inherited ? membersOf(inherited) : [])]
}

function nameOfBase(text) {
  return text.split('{', 1)[0].match(/ extends (\w+)/)?.[1]
}

function baseOf(name, file) {
  const source = readFileSync(file, 'utf8').match(
    new RegExp(`\\b${name}\\b[^;]* from '(\\.[^']+)\\.js'`),
  )?.[1]
  return source && declarationsOf(join(dirname(file), `${source}.d.ts`)).get(name)
}

/** A declaration as a reader wants it: what only the compiler needs is left out. */
function signature(text) {
  return text
    .replace(/^(?:export )?(?:default )?(?:declare )?/, '')
    .replace(/^(?:protected |readonly |async )+/, '')
    .replace(/^get (\w+)\(\)/, 'readonly $1')
    .replace(/;\s*\}/g, ' }')
    .replace(/\s*\n\s*/g, ' ')
    .replace(/;$/, '')
    .replace(/^(\w+\?: .*) \| undefined$/, '$1')
}

const code = (text) => `\`\`\`typescript\n${text}\n\`\`\``

function details({ text, parameters, returns, throws, defaultValue }) {
  const lines = []
  if (text) lines.push(text)
  const list = [
    ...parameters.map(([name, what]) => `- \`${name}\`: ${what}`),
    ...returns.map((what) => `- returns ${what}`),
    ...throws.map((what) => `- throws ${what}`),
    ...(defaultValue ? [`- default: ${defaultValue}`] : []),
  ]
  if (list.length > 0) lines.push(list.join('\n'))
  return lines
}

function classOf(declaration) {
  const parts = membersOf(declaration)
    .filter(({ docs }) => docs.length > 0)
    .flatMap(({ docs, text }) => {
      const name = text.match(/^(?:(?:protected|readonly|declare|static|get) )*(\w+|\[[\w.]+\])/)[1]
      const title =
        name === 'constructor'
          ? `new ${declaration.name}()`
          : /^[^:=]*[\w\]]\(/.test(text) && !/^get /.test(text)
            ? `${name}()`
            : name
      const kind = /^protected /.test(text) ? ['For a subclass to override.'] : []
      return [`#### ${title}`, code(signature(text)), ...kind, ...details(partsOf(docs.at(-1)))]
    })
  return [`### ${declaration.name}`, ...details(partsOf(declaration.doc)), ...parts]
}

function interfaceOf(declaration) {
  const rows = membersOf(declaration).map(({ docs, text }) => {
    const { text: what, defaultValue } = partsOf(docs.at(-1))
    const fallback = defaultValue ? ` Default: ${defaultValue}.` : ''
    return `- \`${signature(text)}\`${what ? `\\\n  ${what.replace(/\n+/g, ' ')}` : ''}${fallback}`
  })
  const base = nameOfBase(declaration.text)
  const more = headings.has(base) ? [`All of [${base}](#${base.toLowerCase()}), and:`] : []
  return [`### ${declaration.name}`, ...details(partsOf(declaration.doc)), ...more, rows.join('\n')]
}

/** A type, with the comments in it. */
function typeOf(declaration) {
  const text = declaration.text
    .replace(/^export (?:declare )?/, '')
    .replace(/;$/, '')
    .replace(/(\?: [^;]*?) \| undefined(?=;)/g, '$1')
    .replace(/\(typeof (\w+)\)\[number\]/g, (_, list) => unionOf(list, declaration.file))
  return [`### ${declaration.name}`, ...details(partsOf(declaration.doc)), code(text)]
}

/** The values of a list that only the source knows by its name. */
function unionOf(list, file) {
  const values = [
    ...declarationsOf(file)
      .get(list)
      .text.matchAll(/"(\w+)"|'(\w+)'/g),
  ]
  return values.map(([, double, single]) => `'${double ?? single}'`).join(' | ')
}

function functionOf(declaration, level = '###') {
  const signatures = declaration.overloads.map(signature).join('\n')
  return [`${level} ${declaration.name}()`, code(signatures), ...details(partsOf(declaration.doc))]
}

/** What a reader looks for first. */
function rank({ text }) {
  const [head] = text.split(/[({=]/, 1)
  return [/ class /, / function /, / let /, /interface /].findIndex((kind) => kind.test(head)) >>> 0
}

function render(declaration) {
  const { text } = declaration
  if (/ class /.test(text.split('{', 1)[0])) return classOf(declaration)
  if (/^export interface /.test(text)) return interfaceOf(declaration)
  if (/^export type /.test(text)) return typeOf(declaration)
  if (/ function /.test(text.split('(', 1)[0])) return functionOf(declaration)
  return [`### ${declaration.name}`, code(signature(text)), ...details(partsOf(declaration.doc))]
}

/** A namespace: its functions, a table of its constants, its types. */
async function namespaceOf({ namespace, members }, file) {
  const values = (await import(file.replace('.d.ts', '.js')))[namespace]
  const constants = members.filter(({ text }) => / const /.test(text))
  const rows = constants.map(({ name, doc }) => `| \`${name}\` | ${values[name]} | ${flowing(doc ?? '')} |`)
  return [
    `## ${namespace}`,
    `In the package's main module: \`import { ${namespace} } from 'tsdaemonize'\`.`,
    ...members
      .filter(({ text }) => / function /.test(text.split('(', 1)[0]))
      .flatMap((member) => functionOf(member)),
    '### Constants',
    ['| name | value | meaning |', '|---|---|---|', ...rows].join('\n'),
    ...members.filter(({ text }) => /^export (?:interface|type) /.test(text)).flatMap(render),
  ]
}

async function page() {
  const parts = [
    '# API',
    '<!-- Written by `npm run docs` from the doc comments in ts/. -->',
    'Every name that the package exports. How they are used: [the pages by task](../README.md#documentation).',
  ]
  for (const [path, { types }] of Object.entries(exports)) {
    if (types === undefined) continue
    const file = join(root, types)
    parts.push(`## ${path.replace('.', 'tsdaemonize')}`)
    const found = exportsOf(file)
    const own = found.filter(({ namespace }) => !namespace).sort((a, b) => rank(a) - rank(b))
    headings = new Set(own.map(({ name }) => name))
    parts.push(...own.flatMap(render))
    for (const one of found.filter(({ namespace }) => namespace))
      parts.push(...(await namespaceOf(one, file)))
  }
  return `${parts.join('\n\n')}\n`
}

const wanted = await page()
const path = join(root, PAGE)
if (!process.argv.includes('--check')) writeFileSync(path, wanted)
else if (!existsSync(path) || readFileSync(path, 'utf8') !== wanted) {
  console.error(`${PAGE} is not current: run \`npm run docs\`.`)
  process.exitCode = 1
}
