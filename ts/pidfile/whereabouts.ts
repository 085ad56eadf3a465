// What is said of a daemon that does not run: where it was looked for, and which ones of its name run elsewhere.

import { type NativePlace, native } from '../native/index.js'
import { ofUser, pidFileIn } from './places.js'

/**
 * Sentences, without full stops: that `subject` is not running, and one for each daemon of that name which runs in
 * another place, root's or, for root, a user's.
 */
export async function notRunning(subject: string, name: string, places: NativePlace[]): Promise<string[]> {
  const looked = places.length === 0 ? '' : ` (looked for ${list(places.map(pathIn))})`
  const others = await elsewhere(name, places)
  return [
    `${subject} is not running${looked}`,
    ...others.map(({ user, pid, path }) => `${user}'s ${name} runs, with pid ${pid}: ${path}`),
  ]
}

async function elsewhere(name: string, looked: NativePlace[]) {
  try {
    return await native.elsewhere(name, looked, ofUser(name))
  } catch {
    // There is no thread to look with. The caller has not asked for this, so it is left out.
    return []
  }
}

function pathIn(place: NativePlace): string {
  return place.variable === undefined ? pidFileIn(place) : `${pidFileIn(place)}, from ${place.variable}`
}

function list(paths: string[]): string {
  const last = paths.at(-1) ?? ''
  if (paths.length === 1) return last
  const others = paths.slice(0, -1).join(', ')
  return `${others}${others.includes(', ') ? ',' : ''} and ${last}`
}
