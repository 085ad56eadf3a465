// What a binary must be, by what stands in its file: stripped, small, without paths of the machine that
// built it, and in need of nothing that an old C library lacks.

import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { artifacts, binaryOf, GLIBC, programOf, root } from './targets.mjs'

/** Bytes: of the native module, and of the executable. */
const LARGEST = 900_000
const LARGEST_PROGRAM = 750_000
/** Symbols of C libraries newer than 2.17, which a linker may leave without a version and without a word. */
const TOO_NEW = [
  'memfd_create',
  'close_range',
  'pidfd_open',
  'pidfd_send_signal',
  'getrandom',
  'copy_file_range',
]

/** The sections of a 64-bit little-endian ELF file, and its dynamic symbols with their versions: elf(5). */
export function readElf(file) {
  const bytes = readFileSync(file)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  if (view.getUint32(0) !== 0x7f454c46 || bytes[4] !== 2 || bytes[5] !== 1) {
    throw new Error(`${file} is no 64-bit little-endian ELF file`)
  }
  const u16 = (at) => view.getUint16(at, true)
  const u32 = (at) => view.getUint32(at, true)
  const u64 = (at) => Number(view.getBigUint64(at, true))
  const string = (at) => bytes.toString('latin1', at, bytes.indexOf(0, at))

  const sections = Array.from({ length: u16(60) }, (_, index) => {
    const at = u64(40) + index * u16(58)
    return {
      nameAt: u32(at),
      type: u32(at + 4),
      offset: u64(at + 24),
      size: u64(at + 32),
      link: u32(at + 40),
      count: u32(at + 44),
    }
  })
  const names = sections[u16(62)].offset
  for (const section of sections) section.name = string(names + section.nameAt)

  const [DYNSYM, VERSYM, VERNEED] = [11, 0x6fffffff, 0x6ffffffe]
  const of = (type) => sections.find((section) => section.type === type)
  const versions = new Map()
  const needed = of(VERNEED)
  for (let at = needed?.offset, left = needed?.count ?? 0; left > 0; left -= 1, at += u32(at + 12)) {
    let aux = at + u32(at + 8)
    for (let more = u16(at + 2); more > 0; more -= 1, aux += u32(aux + 12)) {
      versions.set(u16(aux + 6) & 0x7fff, string(sections[needed.link].offset + u32(aux + 8)))
    }
  }
  // A static executable may have none.
  const { offset, size, link } = of(DYNSYM) ?? { size: 0 }
  const symbols = Array.from({ length: size / 24 }, (_, index) => {
    const at = offset + index * 24
    return {
      name: string(sections[link].offset + u32(at)),
      isWeak: bytes[at + 4] >> 4 === 2,
      isUndefined: u16(at + 6) === 0,
      version: versions.get(u16((of(VERSYM)?.offset ?? 0) + index * 2) & 0x7fff),
    }
  }).filter(({ name }) => name !== '')
  return { bytes, sections: sections.map(({ name }) => name), symbols }
}

const isNewer = (version, than) => version.localeCompare(than, 'en', { numeric: true }) > 0

/** What is wrong with the symbols that a gnu binary needs. */
export function wrongSymbols({ symbols }, newest = GLIBC) {
  return symbols
    .filter(({ isUndefined, isWeak, name }) => isUndefined && !isWeak && !/^(napi|node_api)_/.test(name))
    .map(({ name, version }) => {
      if (TOO_NEW.includes(name)) return `needs ${name}, which glibc ${GLIBC} lacks`
      if (version === undefined) return `needs ${name}, of no version`
      const [, glibc] = /^GLIBC_([\d.]+)$/.exec(version) ?? []
      return glibc && isNewer(glibc, newest) ? `needs ${name} of glibc ${glibc}` : undefined
    })
    .filter((found) => found !== undefined)
}

/** What is wrong with the file itself. */
export function wrongFile({ bytes, sections }, largest = LARGEST) {
  const wrong = sections
    .filter((name) => /^\.(symtab|debug)/.test(name))
    .map((name) => `is not stripped: ${name}`)
  if (bytes.length >= largest) wrong.push(`has ${bytes.length} bytes, ${largest} or more`)
  return [...wrong, ...wrongPaths(bytes)]
}

/** What is wrong with the executable for Linux. One that needs a loader needs the libraries of one system. */
export function wrongProgram(elf) {
  const wrong = wrongFile(elf, LARGEST_PROGRAM)
  if (elf.sections.includes('.interp')) wrong.push('is not static')
  // e_type of elf(5): ET_DYN is 3.
  if (elf.bytes.readUInt16LE(16) !== 3) wrong.push('lies at a fixed address')
  return wrong
}

/** What tells of the machine that built it. */
function wrongPaths(bytes) {
  const paths = [root.slice(0, -1), process.env.CARGO_HOME ?? `${homedir()}/.cargo`, `${homedir()}/.rustup`]
  return [...paths, '/.cargo/', '/usr/src/rust']
    .filter((path) => bytes.includes(path))
    .map((path) => `names ${path}`)
}

/** What is wrong with the module and the executable that were built for a platform. */
export function wrongBinaries(target) {
  const files = [artifacts + binaryOf(target), artifacts + programOf(target)]
  if (target.os !== 'linux') return files.flatMap((file) => wrongPaths(readFileSync(file)))
  const [module, program] = files.map(readElf)
  // On musl no symbol has a version, and the oldest that Node runs on has all that std needs.
  const symbols = target.libc === 'gnu' ? wrongSymbols(module) : []
  return [...wrongFile(module), ...symbols, ...wrongProgram(program)]
}

/** Throws where a binary that is to be published is not as it must be. */
export function check(target) {
  const wrong = wrongBinaries(target)
  if (wrong.length > 0) throw new Error(`${target.name}:\n  ${wrong.join('\n  ')}`)
}
