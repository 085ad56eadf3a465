// A sample of the points: what is ours densely, what is Node's own sparsely. The same one each time.

/** Of the points of a role in a phase, one in so many; 0: one kill and one errno for every call. */
const STRIDES = {
  'start launcher/main': 0,
  'start child 1/main': 0,
  'start child 2/main': 0,
  'start daemon/main': 0,
  'start daemon/sent': 2,
  'start launcher/sent': 12,
  'start daemon/boot': 40,
  'drop daemon/main': 12,
  'command launcher/main': 8,
  'foreign launcher/main': 12,
  'foreign launcher/sent': 12,
  'foreign child 1/main': 5,
  'foreign child 2/main': 12,
  'foreign stage/boot': 12,
  'foreign stage/main': 5,
  'foreign supervisor/main': 5,
  'foreign supervisor/sent': 5,
  'stop stop/main': 5,
  'leave daemon/main': 5,
}
/** A call that one thread repeats is tried so often, and then once in so many. */
const REPEATED = 6

export function sampled(points) {
  const counts = new Map()
  return points.filter((point) => {
    const group = `${point.sweep} ${point.role}/${point.phase}`
    const index = counts.get(group) ?? 0
    counts.set(group, index + 1)
    const stride = STRIDES[group] ?? 10
    if (stride > 0) return index % stride === 0
    if (point.nth > REPEATED && point.nth % 16 !== 0) return false
    // Each call's errors follow its kill: one of them, another one from call to call.
    return point.fault === 'SIGKILL' || point.error === point.nth % point.errors
  })
}
