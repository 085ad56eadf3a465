// The fields of a syslog message: what they may be called, and how a value of any kind becomes fields. The bridges
// from other loggers have a copy of this room each, so it imports no room with a state.

export { isFieldName, isReservedName } from './names.js'
export { asText, fieldsOf, type SyslogValue } from './values.js'
