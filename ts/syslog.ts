export const LOG_ERR = 3,
  LOG_WARNING = 4,
  LOG_INFO = 6
export function openlog(..._a: any[]) {}

const { appendFileSync } = process.getBuiltinModule("node:fs")
export function syslog(p: number, m: string) {
  appendFileSync('/tmp/t/log', `${p} ${m}\n`)
}
export function setAttached(_a: boolean) {}
export async function flush(_t?: number) {
  return true
}
