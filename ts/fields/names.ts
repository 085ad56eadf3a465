// The names of fields.

/** The longest name of a field, as RFC 5424 has it for structured data. */
export const LONGEST_NAME = 32

/** Whether a text is letters, digits, `_`, `-` and `.`, the first a letter, and not too long. */
export function isFieldName(name: string): boolean {
  return name.length <= LONGEST_NAME && /^[A-Za-z][\w.-]*$/.test(name)
}

/** Whether the message itself has a field of this name: in the journal, one of the program's could pass for it. */
export function isReservedName(name: string): boolean {
  const inJournal = name.toLowerCase().replace(/[.-]/g, '_')
  return /^(?:message|priority|syslog_(?:facility|identifier|pid|timestamp|raw))$/.test(inJournal)
}
