// Which files of a Rust crate use names that others define, by the paths in their code. A door, which only hands
// names on, is no file that anybody depends on: whoever asks it depends on the file behind.

import fs from 'node:fs'
import { join } from 'node:path'

/** The files of a folder with their text. */
export function sourcesOf(folder) {
  const files = fs.readdirSync(folder, { recursive: true }).filter((name) => name.endsWith('.rs'))
  return new Map(files.map((file) => [file, fs.readFileSync(join(folder, file), 'utf8')]))
}

const COMMENT_OR_STRING =
  /\/\/.*|\/\*[\s\S]*?\*\/|\br(#*)"[\s\S]*?"\1|"(?:\\[\s\S]|[^"\\])*"|'(?:\\[^']+|[^'\\])'/g

/** The code of a file, without comments and what stands in strings. */
export const codeOf = (text) =>
  text.replace(COMMENT_OR_STRING, (found) => (found.startsWith('/') ? '' : '""'))

/** The same without the tests at its end. */
export const codeBeforeTests = (text) =>
  codeOf(text).replace(/\n#\[cfg\(test\)\]\n(?:#\[.*\]\n)*mod \w+ \{[\s\S]*/, '\n')

/** `privileges/target.rs` is the module `['privileges', 'target']`, `privileges/mod.rs` is `['privileges']`. */
const moduleOf = (file) => (file === 'lib.rs' ? [] : file.replace(/(\/mod)?\.rs$/, '').split('/'))

/** The paths of `a::{b, c::{self, d as e}}`, each with the name that it gets. */
function pathsOf(tree, before = []) {
  const [, head, group, alias] =
    /^((?:\w+::)*)(?:\{([\s\S]*)\}|[\w*]+(?:\s+as\s+(\w+))?)$/.exec(tree.trim()) ?? []
  if (head === undefined) return []
  const path = [...before, ...head.split('::').filter(Boolean)]
  if (group !== undefined) return partsOf(group).flatMap((part) => pathsOf(part, path))
  const last = tree.trim().slice(head.length).split(/\s/)[0]
  const whole = last === 'self' && path.length > 0 ? path : [...path, last]
  return [{ path: whole, name: alias ?? whole.at(-1) }]
}

/** Splits at the commas that are in no braces. */
function partsOf(group) {
  let depth = 0
  const parts = ['']
  for (const letter of group) {
    depth += { '{': 1, '}': -1 }[letter] ?? 0
    if (letter === ',' && depth === 0) parts.push('')
    else parts[parts.length - 1] += letter
  }
  return parts
}

/** For each file the files that define what it uses. */
export function importsOf(sources) {
  const modules = new Map()
  for (const [file, text] of sources) {
    const code = codeBeforeTests(text)
    const uses = [...code.matchAll(/\buse\s+([^;]+);/g)].flatMap(([, tree]) => pathsOf(tree))
    const rest = code.replace(/\buse\s+[^;]+;/g, '').replace(/\bpub\((?:in )?[\w:]+\)/g, '')
    modules.set(moduleOf(file).join('::'), { file, uses, rest })
  }
  /** From the root of the crate; `undefined` where a path leads elsewhere. */
  const absolute = ([first, ...rest], within) => {
    if (first === 'crate') return rest
    if (first === 'self') return [...within, ...rest]
    if (first === 'super')
      return absolute(rest[0] === 'super' ? rest : ['self', ...rest], within.slice(0, -1))
    return modules.has([...within, first].join('::')) ? [...within, first, ...rest] : undefined
  }
  /** The files that define what a path from the root names: none for a module, unless an item has its name too. */
  const definers = (path, seen = new Set()) => {
    const key = path.join('::')
    if (seen.has(key) || path.length === 0) return []
    seen.add(key)
    let depth = path.length - 1
    while (!modules.has(path.slice(0, depth).join('::'))) depth -= 1
    const within = path.slice(0, depth)
    const [item, ...more] = path.slice(depth)
    const { file, uses } = modules.get(within.join('::'))
    const handedOn = uses.filter((use) => use.name === item || use.name === '*')
    const behind = handedOn.flatMap((use) => {
      const target = absolute(use.name === '*' ? use.path.with(-1, item) : use.path, within)
      return target ? definers([...target, ...more], seen) : []
    })
    const named = handedOn.some((use) => use.name === item)
    return behind.length > 0 || named || !defines(modules.get(within.join('::')).rest, item) ? behind : [file]
  }
  return new Map(
    Array.from(modules.values(), ({ file, uses, rest }) => {
      const within = moduleOf(file)
      const paths = uses.map((use) => use.path)
      for (const [path] of rest.matchAll(/\b(?:crate|self|super)(?:::\w+)+/g)) paths.push(path.split('::'))
      // What is behind a name that is a module's: `use crate::accounts;`, then `accounts::user_by_uid`.
      const roots = new Map(uses.map((use) => [use.name, use.path]))
      for (const [path, name] of rest.matchAll(/(?<!::)\b(\w+)(?:::\w+)+/g)) {
        const [, ...more] = path.split('::')
        if (roots.has(name)) paths.push([...roots.get(name), ...more])
        else if (modules.has([...within, name].join('::'))) paths.push(['self', name, ...more])
      }
      const found = paths.flatMap((path) => {
        const target = absolute(path, within)
        if (!target) return []
        // All of a module's names.
        if (target.at(-1) === '*')
          return [modules.get(target.slice(0, -1).join('::'))?.file].filter((f) => f && !isDoor(f))
        return definers(target)
      })
      return [file, new Set(found.filter((target) => target !== file))]
    }),
  )

  function isDoor(file) {
    return !DEFINITION.test(modules.get(moduleOf(file).join('::')).rest)
  }
}

const DEFINITION = /\b(?:fn|struct|enum|const|static|type|trait|union|macro_rules!)\s+\w/

/** Whether code has an item of this name of its own. */
const defines = (code, name) =>
  new RegExp(`\\b(?:fn|struct|enum|const|static(?: mut)?|type|trait|union|macro_rules!)\\s+${name}\\b`).test(
    code,
  )

/** The sets of files each of which leads to all others of its set. */
export function circlesOf(imports) {
  const reach = (from) => {
    const seen = new Set()
    const visit = (file) =>
      [...(imports.get(file) ?? [])].forEach((target) => {
        if (seen.has(target)) return
        seen.add(target)
        visit(target)
      })
    visit(from)
    return seen
  }
  const reached = new Map(Array.from(imports.keys(), (file) => [file, reach(file)]))
  const circles = Array.from(imports.keys(), (file) =>
    [...reached.get(file)]
      .filter((other) => reached.get(other).has(file))
      .sort()
      .join(' '),
  )
  return [...new Set(circles)].filter(Boolean).sort()
}
