// The fields of a syslog message: what they may be called, and how a value of any kind becomes fields. Each bridge
// from another logger is bundled with a copy of this room, so no room with state may be imported here.

export { isFieldName, isReservedName } from './names.js'
export { asText, fieldsOf, type SyslogValue } from './values.js'
