// The licences of what is linked into a binary, as the file that its package carries: the crates by
// `cargo metadata`, each with the text that its source brings, and what the compiler adds.

import { readdirSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { run } from './debian.mjs'
import { root } from './targets.mjs'

/** What may be part of a program under the GPL, version 3; of what a crate offers, the first of these. */
const ACCEPTED = ['MIT', 'ISC', 'Zlib', 'BSD-2-Clause', 'BSD-3-Clause', 'Unicode-3.0', 'Apache-2.0']

/** What no crate's metadata tells of. */
const ADDED = [
  {
    name: "Rust's standard library",
    licence: 'MIT',
    repository: 'https://github.com/rust-lang/rust',
    text: mit('Copyright (c) The Rust Project Contributors'),
  },
  {
    name: "LLVM's libunwind, where the binary was linked by zig",
    licence: 'Apache-2.0 WITH LLVM-exception',
    repository: 'https://github.com/llvm/llvm-project',
    text: 'The exception allows a binary without a copy of the licence.',
  },
]

/** The crates that are linked in. */
export function linked(triple) {
  const args = ['metadata', '--format-version=1', '--locked', '--no-default-features']
  const metadata = JSON.parse(
    run('cargo', [...args, '--manifest-path=crate/node/Cargo.toml', `--filter-platform=${triple}`], {
      cwd: root,
    }),
  )
  const packages = new Map(metadata.packages.map((found) => [found.id, found]))
  const nodes = new Map(metadata.resolve.nodes.map((node) => [node.id, node]))
  const isMacro = (id) => packages.get(id).targets.some((target) => target.kind.includes('proc-macro'))
  const own = metadata.resolve.root
  const found = new Set([own])
  for (const id of found) {
    for (const { pkg, dep_kinds: kinds } of nodes.get(id).deps) {
      // A macro and a build script run when the module is built, and are no part of it.
      if (kinds.some(({ kind }) => kind === null) && !isMacro(pkg)) found.add(pkg)
    }
  }
  found.delete(own)
  return [...found]
    .map((id) => packages.get(id))
    .filter(({ source }) => source !== null)
    .sort((a, b) => a.name.localeCompare(b.name))
}

/** The licence by which we take a crate. */
export function choose({ name, license }) {
  const offers = (license ?? '').split(/\s+OR\s+|\//)
  const choice = ACCEPTED.find((accepted) => offers.includes(accepted))
  if (choice === undefined)
    throw new Error(`The crate ${name} is under ${license}, which nobody has agreed to`)
  return choice
}

/** The text that a crate brings for that licence. */
function textOf(crate, licence) {
  const dir = dirname(crate.manifest_path)
  const names = readdirSync(dir).filter((name) => /^(licen[cs]e|copying)/i.test(name))
  const name = names.find((name) => name.toUpperCase().includes(licence)) ?? (names.length === 1 && names[0])
  if (name) return readFileSync(`${dir}/${name}`, 'utf8').trim()
  if (licence === 'MIT')
    return mit(`Copyright (c) ${crate.authors.join(', ') || `the authors of ${crate.name}`}`)
  throw new Error(`The crate ${crate.name} brings no text of its licence, ${licence}`)
}

/** The file. A text that several have stands there once. */
export function licences(triple) {
  const crates = linked(triple).map((crate) => {
    const licence = choose(crate)
    return { ...crate, name: `${crate.name} ${crate.version}`, licence, text: textOf(crate, licence) }
  })
  const all = [...crates, ...ADDED]
  const texts = new Map()
  for (const one of all) texts.set(one.text, [...(texts.get(one.text) ?? []), one])
  const rule = '-'.repeat(78)
  return [
    'This binary is tsdaemonize, under the GPL, version 3 or later (LICENSE.txt). Linked into it are:',
    '',
    ...all.map(
      ({ name, licence, repository }) => `- ${name}: ${licence}${repository ? `, ${repository}` : ''}`,
    ),
    ...[...texts].flatMap(([text, of]) => ['', rule, ...of.map(({ name }) => name), rule, '', text]),
    '',
  ].join('\n')
}

function mit(copyright) {
  return `${copyright}

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction, including
without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the
following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial
portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT
LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO
EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER
IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR
THE USE OR OTHER DEALINGS IN THE SOFTWARE.`
}
