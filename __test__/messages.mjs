// The messages for people in the sources: what an error, a log line or a hint says, with `…` for what is filled in.

import fs from 'node:fs'
import { join } from 'node:path'
import { root } from './kit.mjs'

/** What the executable says of itself when it is asked: that is documented by task. */
const HELP = /^verbs\/(?:completions|help|manual)\b/

const filesIn = (dir, suffix) =>
  fs
    .readdirSync(join(root, dir), { recursive: true })
    .filter((name) => name.endsWith(suffix) && !HELP.test(name) && !name.endsWith('.d.ts'))
    .map((name) => fs.readFileSync(join(root, dir, name), 'utf8'))

const RUST = ['core', 'node', 'program'].map((name) => `crate/${name}/src`)

/** String literals of Rust, without those in comments and in unit tests, and without tables of the command line: they
 * are its help, and stand in docs/command.md. */
function ofRust(source) {
  const code = source
    .replace(/^(?:pub )?const \w+: &\[(?:Opt|Verb|\(&str, &str\))\] =\s[\s\S]*?\];$/gm, '')
    .split(/#\[cfg\(test\)\]\n(?:#\[.*\]\n)*mod tests/)[0]
    .replace(/^\s*\/\/.*$/gm, '')
    .replace(/^\s*#!?\[(?:napi|allow|expect).*$/gm, '')
    .replace(/\b(?:unreachable|debug_assert)!\(.*"\)/g, '')
    .replaceAll(`'"'`, '')
  return [...code.matchAll(/([bc]?)"((?:[^"\\]|\\[\s\S])*)"/g)]
    .filter(([, bytes]) => bytes === '')
    .map(([, , text]) => text.replace(/\\\n\s*/g, '').replaceAll('\\"', '"'))
}

/** String literals of TypeScript. Literals that `+` joins count as one. */
function ofTypeScript(source) {
  const code = source
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/(^|\s)\/\/.*$/gm, '$1')
    .replace(/(['`]) \+\s*\1/g, '')
  const literals = code.matchAll(/'((?:[^'\\\n]|\\.)*)'|`((?:[^`\\]|\\.)*)`/g)
  return [...literals].map(([, single, template]) => (single ?? template).replace(/\\([`'])/g, '$1'))
}

/** A text with `…` in place of Rust's and TypeScript's placeholders. */
function filledIn(text) {
  let plain = text.replace(/^tsdaemonize: |(?:\\n)+\{\}$/g, '')
  for (let before; before !== plain; ) {
    before = plain
    plain = plain.replace(/\$?\{[^{}]*\}/g, '…')
  }
  return plain
}

/** Whole sentences, and parts that follow `The daemon …` or `Refusing the pidfile …`. */
const isMessage = (text) =>
  /^(?:[A-Z`'…]|: |\w+\(\) is |(?:was|did|exited|shutdown|its?|the|all|others|another|this|no|unknown|unexpected) )/.test(
    text,
  ) &&
  !/^(?:OR’d|Usage|…,|the types differ)|\$\{/.test(text) &&
  (words(text) >= 3 || /^(?:… is|no|unknown|unexpected|Cannot) /.test(text))
const words = (text) => text.split(/[\s…]+/).filter((word) => /[a-z]{2}/i.test(word)).length

export function messages() {
  const all = [
    ...RUST.flatMap((dir) => filesIn(dir, '.rs')).flatMap(ofRust),
    ...filesIn('ts', '.ts').flatMap(ofTypeScript),
  ]
  return [...new Set(all.map(filledIn).filter(isMessage))]
}
